// Package faults runs a publisher, a Redis and subscribers as processes of
// their own through random faults, and checks from what these processes wrote
// down that no message was lost, none came out of order and none twice without
// a reason. Nothing imports it.
//
// # Running it
//
//	go test -count=1 ./internal/faults
//
// runs six seeds, three of them sending seeds, as the continuous integration
// does, and the tests of the checker. The long form
//
//	go test -count=1 -timeout 0 -run '^TestSeeds$' -v ./internal/faults -args -seeds 1-200
//
// runs those seeds, appends a line of JSON for each to results.jsonl in this
// folder (-results names another file) and prints a table of what happened.
// `go test -count=1 -run '^TestResults$' -v ./internal/faults` prints the table
// of all that stands in the file. A seed fixes what is published, what handlers
// do and which faults come when; what the machine makes of it differs from run
// to run. -keep names a folder for the journal and the logs of every seed.
//
// # A seed
//
// A publisher process publishes 2 000 messages of three types in some ten
// seconds, through publisher.Publisher with durable mode, an outbox file and the
// HTTP fallback, which leads to one of the subscribers. It dies now and then
// between two steps: its Dialer, its Fallback and its Outbox are wrapped, count
// what passes, and end the process at a number that the seed gives. A redis-server with --appendonly yes
// --appendfsync always has its wall clock from libfaketime. Two or three
// subscriber processes form a group. Between all of them lie proxies of
// internal/faultnet. After the faults everything is made whole, the outbox is
// drained, and what was promised must come true within a minute.
//
// Retention is off, so that no stream may have a gap. Every tenth seed is
// marked trim (the stream holds few messages and few dead letters) and another
// tenth flush (FLUSHALL in the middle): they may lose what a gap reports, and
// are counted apart.
//
// # Sending seeds
//
// Seeds 401 to 500 hurt what a publisher leans on. The file of its outbox is
// removed, cut or changed in one record, while the publisher runs or between two
// runs; what the file held is read first, while the publisher stands still. The
// receiver hangs, and refuses single messages for good (422, 413). The address
// of Redis moves to another master, in good order (FAILOVER), while connections to
// the old one live. Redis refuses to write because its snapshots fail (MISCONF).
// And the publisher is started in other modes, with streams, without, disabled,
// auto; the last one has streams. In half of the seeds an operator puts back at
// the end what was set aside.
//
// A message that was not handled is not lost there, and is counted apart, when
//
//   - the outbox, or a file of it that was set aside, has it at the end (kept);
//   - it was only in a file that was hurt, in the part that was, and an error of
//     Publish or Open, the log or File.Problems told of the outbox before the
//     next thing befell it. When the file was removed or emptied while no
//     publisher ran, or its publisher was killed at once, nobody can tell. A
//     message that Publish was not to send (route none) is counted with them
//     (told);
//   - pub/sub had it, without streams (unheard).
//
// Order is judged between messages that were sent by publishers with streams
// alone and whose outbox was whole. What the receiver refuses for good comes late,
// by the stream; what was posted meanwhile and is newer must come again behind it,
// so that the newest is the last. A message that came by pub/sub may be handled by
// two processes, and the gap of a takeover may tell of one.
//
// # What is checked
//
// All processes append to one journal, a line a write, so that the order of the
// lines is the order of what happened. A handler writes before it begins and
// before it returns, and waits until the line is synced; the publisher writes
// before it calls Publish and after.
//
//   - Lost: Publish returned nil, and the message was neither handled without
//     an error nor lies among the dead letters.
//   - Twice: a message handled without an error is handled so again only where
//     the first process was killed, had lost its lease or stopped while Redis
//     could not be told, each at a time when the acknowledgement may not have
//     got through, or where one of the two came by HTTP and another process got
//     the other.
//   - At once: no two processes are in handlers of one type for what came by
//     the stream, unless the first ignores its context. A message that came by
//     HTTP may be handled while another process has it from the stream.
//   - Order: messages of a type are first handled in the order in which they
//     were published, over the stream and over HTTP. Where Publish did not
//     return nil nothing was promised, and disorder is counted and not judged;
//     nor is that between HTTP and a stream that FLUSHALL began anew.
//   - Gaps: none is reported of a stream, but that of a group's first start. After
//     FLUSHALL each type that lost messages has one that was reported later.
//
// The longest recovery is the longest time for which messages of a type waited
// while no handler of it ran and no fault was at work.
package faults

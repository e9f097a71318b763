// Package bench compares the SDK with go-redis code written by hand for one
// purpose, and measures how fast it returns after a kill and how much memory it
// holds. It consists of tests; nothing imports it.
//
// # Running it
//
//	go test -count=1 -run '^TestRatios$' -v ./internal/bench -args -pairs=15
//
// prints a table as text, the same as Markdown for docs/benchmarks.md, the machine, and
// how many rows hold. -row takes a regular expression of row names, -update
// rewrites baseline.txt, whose medians stand in the column "was". The ratios are
// reported and judged, and never fail the test: only what does not work fails
// it. With fewer than 15 pairs, as in a plain go test, each row runs with few
// messages, to show that it works, and nothing is judged.
//
// Other programs on the machine widen the spread. The load is printed with the
// machine; a ratio measured under load says little.
//
// # How a ratio is measured
//
// Both sides run in this process against one redis-server and send or read the
// same bytes. A pair measures each side twice, in the order SDK, hand, hand, SDK
// and in every second pair the other way round, so that a drift of the machine
// meets both; where a slice must be short, a pair does so several times. Garbage
// of one slice is collected before the next begins. A pair's ratio is the SDK's
// rate by that of the other side, so more is better for the SDK; a row holds if
// the 75th percentile of the pairs reaches what is wanted. Allocations and CPU
// time are those of the whole process, by operation, over all pairs; a bound on
// more CPU time holds for the median of the pairs' differences.
//
//   - Publishing: one goroutine publishes and waits for the answer, again and
//     again. Nobody listens, so that no reader's time is shared out to both.
//     Both sides have the same options of go-redis.
//   - Receiving: the connection's reads are held back until Redis has taken all
//     of a slice's messages, at most 16 MiB, which is below the server's limit
//     for a pub/sub client. The clock runs from the release to the last message,
//     and nobody publishes meanwhile: what is measured is the reader, by rate
//     and by CPU time.
//   - Latency: from before the publish call to within the handler, one status
//     each millisecond, for a second at a time or four: the CPU time of shorter
//     slices varies by more than the bound. A row compares the handler with a bare
//     loop, both fed by a bare PUBLISH; another one with a loop that reads the
//     status by encoding/json; a third both halves of the SDK with PUBLISH and a
//     bare loop. The ratio is that of the inverse medians.
//   - Return: from before CLIENT KILL to the handling of a message published
//     after it, under a stream of statuses.
//   - Durable: a stream is filled while the reader is held back, and the clock
//     runs until the group has nothing pending. Writing begins with an empty
//     stream. The comparison with another library is a module of its own, in
//     the folder watermill.
//   - Heap: live objects after collection. Idle is what a client adds that has
//     handlers for all types and has sent and handled two messages; growth begins
//     after 20 000 messages, when the memory of handled IDs is full.
//
// The bodies are a snapshot of twelve matches with all 85 keys of FOGIS, in the
// spelling of the Python publisher, and a status. The people in them are
// invented.
package bench

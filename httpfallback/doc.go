// Package httpfallback carries messages over HTTP when Redis did not take
// them: [Client] posts, [Handler] receives.
//
// # What is promised
//
// At least once: [Client.Notify] returns nil when the receiver has answered
// 200 with "success":true to everything, and an [*Error] otherwise. A request
// whose answer was lost is sent again, so a receiver may see it twice, with
// the same Idempotency-Key.
//
// # Two kinds of receiver
//
// A receiver made with [Handler] says of itself, in the answer to OPTIONS,
// that it takes whole envelopes (Accept-Post:
// application/vnd.fogis.envelope+json). It gets one POST with the message as
// it was published.
//
// Every other receiver is taken for the Python calendar's POST /manual-sync.
// That one answers 200 as soon as a single match of many was written, so it
// gets the matches in parts of [Options].BatchSize, one by default, and each
// part's answer counts for itself. The parts follow each other in the order of
// the snapshot. A part that was accepted is not sent again.
//
// The older /sync of the Python calendar never took matches: what is posted
// there is ignored and only starts a run of its own.
//
// # The receiving server
//
// The handler cannot bound how slowly a body arrives. Set ReadHeaderTimeout
// (5 s) and ReadTimeout (30 s) on the [net/http.Server]; WriteTimeout, which
// counts from the end of the headers, must leave room for the handling: 60 s.
package httpfallback

package publisher

import "time"

// Route is the way that a message took.
type Route string

// The routes of a publisher.
const (
	// RoutePubSub: Redis took the message and found enough listeners.
	RoutePubSub Route = "pubsub"
	// RouteStream: Redis keeps the message in the channel's stream, and has
	// published it.
	RouteStream Route = "stream"
	// RouteFallback: the fallback's receiver accepted the message.
	RouteFallback Route = "fallback"
	// RouteOutbox: the message is on disk and will be sent, in its turn, by Run or
	// by a later Publish.
	RouteOutbox Route = "outbox"
	// RouteNone: publishing is disabled and the type has no fallback; the message
	// went nowhere.
	RouteNone Route = "none"
)

// AtRedis reports whether Redis holds or has published a message that took this
// route.
func (r Route) AtRedis() bool { return r == RoutePubSub || r == RouteStream }

// FallbackOutcome is what the fallback did with a message.
type FallbackOutcome string

// The outcomes.
const (
	FallbackNone     FallbackOutcome = "none" // it was not asked
	FallbackAccepted FallbackOutcome = "accepted"
	FallbackFailed   FallbackOutcome = "failed"
	// FallbackPending: Run posts the message, which the stream has already. A
	// newer message may take its place first.
	FallbackPending FallbackOutcome = "pending"
)

// Receipt tells how a message left. It holds nothing of its content.
type Receipt struct {
	// ID is the message's ID on every route.
	ID string
	// Route is the one that took the message.
	Route Route
	// Receivers is how many listeners Redis handed the message to. It says
	// nothing about their having read it. With RouteFallback it is what Redis
	// answered before, mostly zero.
	Receivers int64
	// StreamID is the message's place in its stream; "" when it is in none.
	StreamID string
	// Fallback is what the fallback did. With RouteStream fewer listeners than
	// Options.RequireReceivers heard the message: it is FallbackPending while Run
	// runs, and a failure loses nothing. With RouteOutbox the message waits for
	// Redis even if the fallback accepted it.
	Fallback FallbackOutcome
	// FallbackErr is why the fallback failed; nil if it did not.
	FallbackErr error
	// Attempts is how often Redis was asked to take the message; zero when it
	// was not.
	Attempts int
	// Elapsed is the time that Publish took, with its wait for earlier
	// messages of the type.
	Elapsed time.Duration
}

package publisher

import "time"

// Route is the way that a message took.
type Route string

// The routes of a publisher.
const (
	// RoutePubSub: Redis took the message and found enough listeners.
	RoutePubSub Route = "pubsub"
	// RouteFallback: the fallback's receiver accepted the message.
	RouteFallback Route = "fallback"
	// RouteNone: publishing is disabled, the message went nowhere.
	RouteNone Route = "none"
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
	// Attempts is how often PUBLISH was tried; zero when Redis was not asked.
	Attempts int
	// Elapsed is the time that Publish took, with its wait for earlier
	// messages of the type.
	Elapsed time.Duration
}

package httpadmin

import (
	"context"
	"time"

	"github.com/PitchConnect/fogispubsub/health"
)

// Source is the service that is shown. Its methods may be called by several
// goroutines at once.
type Source interface {
	// Status is a snapshot. It does not block.
	Status() Status
	// Test sends a message through Redis and the lanes, until ctx ends.
	Test(ctx context.Context) TestResult
	// Restart subscribes again and returns when every channel is confirmed.
	Restart(ctx context.Context) error
	// Health asks Redis and the fallback.
	Health(ctx context.Context) health.Report
}

// The states of [Status] and [Subscription].
const (
	StateConnected  = "connected"  // every channel is confirmed
	StateConnecting = "connecting" // not yet
	StateDegraded   = "degraded"   // was connected, and is not wholly now
	StateDisabled   = "disabled"   // nothing is subscribed
	StateStopped    = "stopped"    // nothing runs
)

// Status is what a service knows about itself. Times are zero for what has not
// happened.
type Status struct {
	State string
	// Ended tells that the service ran and does not any more.
	Ended bool
	// Fresh is how old the last proof may be that a subscription's connection
	// lives. Zero is that none is asked for.
	Fresh         time.Duration
	Subscriptions []Subscription
	Queued        int // messages before their handler
	Outbox        int // messages that wait for Redis
	Counters      Counters
	Publishing    PublishCounters
	// Refusals are the messages that came by HTTP and were refused, by reason.
	Refusals      map[string]uint64
	LastMessage   time.Time
	LastPublished time.Time
	Started       time.Time
}

// Subscription is one connection with its channels.
type Subscription struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Channels    []string  `json:"channels"`
	Confirmed   []string  `json:"confirmed"`
	LastProof   time.Time `json:"last_proof,omitzero"` // that Redis delivers to it, or answers it
	LastMessage time.Time `json:"last_message,omitzero"`
	Probe       string    `json:"probe"`
	LatencyMS   float64   `json:"latency_ms"` // of the last probe, or else of the last PING
	Problem     string    `json:"problem,omitempty"`
}

// TestResult is the outcome of a self-test. A nil error is success; the first
// one that is not explains those after it.
type TestResult struct {
	Connection, Subscription, Handling             error
	ConnectionTook, SubscriptionTook, HandlingTook time.Duration
}

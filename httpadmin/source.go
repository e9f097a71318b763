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
	// Restart subscribes anew and returns when every channel is confirmed.
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
	LastMessage   time.Time
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

// Counters count since the start.
type Counters struct {
	Received     uint64 `json:"total_messages_received"`
	Successful   uint64 `json:"successful_messages"`
	Failed       uint64 `json:"failed_messages"`
	Invalid      uint64 `json:"invalid_messages"`
	Duplicate    uint64 `json:"duplicate_messages"`
	DeadLettered uint64 `json:"dead_lettered_messages"`
	Gaps         uint64 `json:"gaps"`
	Reconnects   uint64 `json:"reconnects"`
}

// TestResult is the outcome of a self-test. A nil error is success; the first
// one that is not explains those after it.
type TestResult struct {
	Connection, Subscription, Handling             error
	ConnectionTook, SubscriptionTook, HandlingTook time.Duration
}

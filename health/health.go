// Package health asks a Redis server the questions of an operator: does it
// answer, and does a published message really come back. Each question is
// asked once, when its function is called; nothing runs in the background.
package health

import (
	"context"
	"time"
)

// State is the answer of a check, in the words of the FOGIS health monitor.
type State string

// The states, best first.
const (
	Healthy   State = "healthy"
	Degraded  State = "degraded"
	Unhealthy State = "unhealthy"
	Unknown   State = "unknown"
)

// Check is the outcome of one question.
type Check struct {
	Status State
	// Elapsed is how long the answer took; zero when there was none.
	Elapsed time.Duration
	// Err is why the state is not healthy, with the cure where there is one;
	// nil when healthy. It holds no password.
	Err error
}

// DefaultTimeout bounds a check whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

package subscriber

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// fullJitter returns waits that are random between zero and a bound that
// starts at first and doubles up to most.
func fullJitter(first, most time.Duration) *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval:     first / 2,
		RandomizationFactor: 1,
		Multiplier:          2,
		MaxInterval:         max(most, first) / 2,
	}
	b.Reset()
	return b
}

// sleep waits for d, for a token of wake, or for ctx to end.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

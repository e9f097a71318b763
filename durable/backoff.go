package durable

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives pauses that are random between zero and a bound, which starts
// at 100 ms and doubles.
type backoff struct{ n int }

func (b *backoff) next(most time.Duration) time.Duration {
	bound := min(100*time.Millisecond<<min(b.n, 10), most)
	b.n++
	return rand.N(bound) + time.Millisecond
}

// sleep waits for d or the end of a context.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

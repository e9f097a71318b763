package subscriber

import (
	"sync"
	"time"
)

// bucket grants a burst, and after it one in each period.
type bucket struct {
	burst  int
	period time.Duration

	mu      sync.Mutex
	used    float64
	last    time.Time
	refused int
}

// take asks for one. When it is granted, refused is how many were not since
// the last grant.
func (b *bucket) take(now time.Time) (refused int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = max(0, b.used-float64(now.Sub(b.last))/float64(b.period))
	b.last = now
	if b.used > float64(b.burst-1) {
		b.refused++
		return 0, false
	}
	b.used++
	refused, b.refused = b.refused, 0
	return refused, true
}

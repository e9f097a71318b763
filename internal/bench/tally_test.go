package bench_test

import (
	"sync/atomic"
	"testing"
	"time"
)

// tally counts messages down to the last one that is expected.
type tally struct {
	left atomic.Int64
	zero chan struct{}
}

func newTally() *tally { return &tally{zero: make(chan struct{}, 1)} }

func (c *tally) expect(n int) { c.left.Store(int64(n)) }

// one counts a message.
func (c *tally) one() {
	if c.left.Add(-1) == 0 {
		c.zero <- struct{}{}
	}
}

// wait returns when the last expected message was counted.
func (c *tally) wait(t *testing.T) {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case <-c.zero:
	case <-bound.C:
		t.Fatalf("%d messages are missing", c.left.Load())
	}
}

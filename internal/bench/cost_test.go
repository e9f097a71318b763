package bench_test

import (
	"runtime"
	"testing"
	"time"
)

// contender is one of the two sides of a comparison.
type contender struct {
	// prepare makes n operations ready, outside of the clock; nil if there is
	// nothing to prepare.
	prepare func(t *testing.T, n int)
	// work does n operations.
	work func(t *testing.T, n int)
}

// cost is what a number of operations took.
type cost struct {
	ops    int
	wall   time.Duration
	cpu    time.Duration // of the whole process
	allocs uint64
	bytes  uint64 // allocated
}

// measure has c do n operations.
func measure(t *testing.T, c contender, n int) cost {
	t.Helper()
	if c.prepare != nil {
		c.prepare(t, n)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	c.work(t, n)
	wall := time.Since(start)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return cost{ops: n, wall: wall, cpu: cpu, allocs: after.Mallocs - before.Mallocs, bytes: after.TotalAlloc - before.TotalAlloc}
}

func (c cost) plus(other cost) cost {
	return cost{
		ops: c.ops + other.ops, wall: c.wall + other.wall, cpu: c.cpu + other.cpu,
		allocs: c.allocs + other.allocs, bytes: c.bytes + other.bytes,
	}
}

// rate is in operations per second.
func (c cost) rate() float64 { return float64(c.ops) / c.wall.Seconds() }

func (c cost) allocsPerOp() float64 { return float64(c.allocs) / float64(max(c.ops, 1)) }

// cpuPerOp is in microseconds.
func (c cost) cpuPerOp() float64 {
	return float64(c.cpu) / float64(time.Microsecond) / float64(max(c.ops, 1))
}

// pairOf measures both sides twice, in mirrored order, and that as many times
// as there are rounds. odd pairs begin with the hand-written side.
func pairOf(t *testing.T, sdk, hand contender, n, rounds int, odd bool) (sdkCost, handCost cost) {
	t.Helper()
	for range rounds {
		for _, sdksTurn := range [4]bool{!odd, odd, odd, !odd} {
			if sdksTurn {
				sdkCost = sdkCost.plus(measure(t, sdk, n))
			} else {
				handCost = handCost.plus(measure(t, hand, n))
			}
		}
	}
	return sdkCost, handCost
}

// compare measures as many pairs as asked for, after a slice of each side to
// warm up, with n operations in a slice. Rounds make up for slices that must be
// short.
func compare(t *testing.T, sdk, hand contender, n, rounds int) *result {
	t.Helper()
	measure(t, sdk, n)
	measure(t, hand, n)
	r := &result{compared: true}
	for pair := range *pairs {
		a, b := pairOf(t, sdk, hand, n, rounds, pair%2 == 1)
		r.add(a.rate()/b.rate(), a, b)
	}
	return r
}

package durable_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/PitchConnect/fogispubsub/durable"
)

// fault is something that happens to an instance.
type fault struct {
	After  time.Duration // since the one before
	Who    int
	What   string // "cut" for a moment, "outage", "hole", "stop"
	For    time.Duration
	Append int // messages appended before
}

var faults = rapid.Custom(func(t *rapid.T) fault {
	return fault{
		After:  time.Duration(rapid.IntRange(0, 4000).Draw(t, "after")) * time.Millisecond,
		Who:    rapid.IntRange(0, 1).Draw(t, "who"),
		What:   rapid.SampledFrom([]string{"cut", "cut", "outage", "hole", "stop"}).Draw(t, "what"),
		For:    time.Duration(rapid.IntRange(0, 12_000).Draw(t, "for")) * time.Millisecond,
		Append: rapid.IntRange(0, 8).Draw(t, "append"),
	}
})

// handling is one run of a handler.
type handling struct {
	who        int
	id         string
	redeliver  bool
	begin, end time.Time
	lost       bool // its lease was lost before it was acknowledged
}

// field is two instances of a group on one Redis.
type field struct {
	t     *testing.T
	links [2]*link
	mu    sync.Mutex
	runs  []handling
}

// instance handles entries until ctx ends, and starts again when stop does.
func (f *field) instance(ctx context.Context, who int, stops <-chan struct{}) {
	r, err := durable.NewReader(f.links[who].client(f.t), channel, group, durable.ReaderOptions{})
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		running, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-stops:
				stop()
			case <-running.Done():
			}
		}()
		l, err := r.Acquire(running)
		if err == nil {
			f.hold(running, who, l)
			release, cancel := context.WithTimeout(context.Background(), time.Second)
			_ = l.Release(release)
			cancel()
		}
		stop()
	}
}

func (f *field) hold(ctx context.Context, who int, l *durable.Lease) {
	for {
		batch, err := l.Read(ctx)
		if err != nil {
			return
		}
		for _, e := range batch {
			if ctx.Err() != nil || l.Context().Err() != nil {
				return
			}
			h := handling{who: who, id: e.ID, redeliver: e.Redelivered, begin: time.Now()}
			select {
			case <-time.After(40 * time.Millisecond):
			case <-l.Context().Done():
			}
			h.end = time.Now()
			// The caller drains: it acknowledges what was handled.
			err := l.Ack(context.WithoutCancel(ctx), e)
			h.lost = err != nil
			f.mu.Lock()
			f.runs = append(f.runs, h)
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

// verdict checks what the handlers have seen.
func (f *field) verdict(messages int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := 0
	done := map[string]handling{}
	for i, h := range f.runs {
		for _, other := range f.runs[:i] {
			if h.begin.Before(other.end) && other.begin.Before(h.end) {
				return fmt.Errorf("two handlers at the same time: %+v and %+v", other, h)
			}
		}
		if before, again := done[h.id]; again {
			if !before.lost {
				return fmt.Errorf("%s handled again though its lease was held: %+v", h.id, before)
			}
			done[h.id] = h
			continue
		}
		if h.id != outgoing(next).ID {
			return fmt.Errorf("%s handled in the place of %s", h.id, outgoing(next).ID)
		}
		done[h.id] = h
		next++
	}
	if next != messages {
		return fmt.Errorf("%d of %d messages handled", next, messages)
	}
	for id, h := range done {
		if h.lost {
			return fmt.Errorf("%s handled and never acknowledged", id)
		}
	}
	return nil
}

// Whatever happens to two instances: every message is handled, first in the
// order of publishing, by one of them at a time, and again only after the loss
// of the lease.
func TestLease_groupOfTwo(t *testing.T) {
	t.Parallel()
	schedules := rapid.SliceOfN(faults, 1, 8)
	rapid.Check(t, func(rt *rapid.T) {
		schedule := schedules.Draw(rt, "schedule")
		var err error
		synctest.Test(t, func(t *testing.T) { err = play(t, schedule) })
		require.NoError(rt, err)
	})
}

func play(t *testing.T, schedule []fault) error {
	m := newEmbedded(t)
	f := &field{t: t, links: [2]*link{{redis: m}, {redis: m}}}
	w := newWriter(t, (&link{redis: m}).client(t), durable.WriterOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	stops := [2]chan struct{}{make(chan struct{}, 100), make(chan struct{}, 100)}
	for who := range 2 {
		running.Go(func() { f.instance(ctx, who, stops[who]) })
	}
	var repairs sync.WaitGroup
	n := 0
	for _, fault := range schedule {
		publish(t, w, n, n+fault.Append-1)
		n += fault.Append
		time.Sleep(fault.After)
		network := f.links[fault.Who]
		repair := func(change func(*link)) {
			repairs.Go(func() {
				time.Sleep(fault.For)
				network.set(change)
			})
		}
		switch fault.What {
		case "cut":
			network.cut()
			network.set(func(l *link) { l.down = false })
		case "outage":
			network.cut()
			repair(func(l *link) { l.down = false })
		case "hole":
			network.set(func(l *link) { l.hole = true })
			repair(func(l *link) { l.hole = false })
		case "stop":
			stops[fault.Who] <- struct{}{}
		}
	}
	repairs.Wait()
	time.Sleep(25 * time.Second)
	cancel()
	running.Wait()
	return f.verdict(n)
}

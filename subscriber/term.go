package subscriber

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// Entries that were handled are acknowledged when so many are, when the first
// of them was for so long, or when no other one waits.
const (
	ackCount = 100
	ackDelay = 20 * time.Millisecond
)

// term is the time for which this instance holds a lease.
type term struct {
	f     *follower
	lease *durable.Lease

	// ctx is the context of the handlers: it ends with the lease, and as that
	// of the run does.
	ctx    context.Context
	cancel context.CancelCauseFunc
	unhook func() bool

	// settling is the context of acknowledgements.
	settling     context.Context
	stopSettling context.CancelFunc
	acks         sync.WaitGroup
	wake         chan struct{} // of the goroutine that acknowledges

	mu       sync.Mutex
	running  int  // messages that have entered and not left
	closed   bool // none enters any more
	left     bool // an entry goes back to the group, and so do those after it
	ending   bool // all that will be handled is
	untrying bool // Run ends: no try is to stay
	tried    []durable.Entry
	handled  []durable.Entry
	spare    []durable.Entry // room for handled, when it is acknowledged next
	since    time.Time       // of the first in handled
	idle     chan struct{}
	idleOnce sync.Once
}

func newTerm(f *follower, lease *durable.Lease) *term {
	t := &term{f: f, lease: lease, wake: make(chan struct{}, 1), idle: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancelCause(f.run.handlers)
	t.unhook = context.AfterFunc(lease.Context(), func() { t.cancel(context.Cause(lease.Context())) })
	t.settling, t.stopSettling = context.WithCancel(context.WithoutCancel(f.run.handlers))
	t.acks.Go(t.acknowledge)
	return t
}

// batch is what one read of the stream brought.
type batch struct {
	entries  []durable.Entry
	caughtUp time.Time
}

// read brings entries to their lanes until ctx or the lease ends, which is no
// error, or Redis refuses. The next batch is read meanwhile.
func (t *term) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch)
	ended := make(chan error, 1)
	go func() {
		defer close(batches)
		ended <- t.fetch(ctx, batches)
	}()
	defer func() {
		cancel()
		for range batches { // until fetch has returned
		}
	}()
	for b := range batches {
		if !t.enter(len(b.entries)) {
			return nil
		}
		for i := range b.entries {
			if !t.take(ctx, &b.entries[i]) {
				t.f.run.s.counts.returned.Add(uint64(len(b.entries) - i))
				t.leave(len(b.entries) - i)
				return nil
			}
		}
		t.f.overdue(ctx, t, b.caughtUp)
		t.f.noteCaughtUp(t, b.caughtUp)
	}
	return <-ended
}

// fetch reads batches until read does not want them any more. A batch that it
// does not take goes back to the group.
func (t *term) fetch(ctx context.Context, batches chan<- batch) error {
	for {
		entries, err := t.lease.Read(ctx)
		if ctx.Err() != nil || t.ctx.Err() != nil || errors.Is(err, durable.ErrLeaseLost) {
			return nil
		}
		if err != nil {
			if !t.f.worked {
				return err
			}
			t.f.noteFault(err)
			sleep(ctx, reconnectDelayMax, nil)
			continue
		}
		t.f.worked = true
		t.f.noteWork()
		select {
		case batches <- batch{entries, t.lease.CaughtUp()}:
		case <-t.ctx.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take brings one entry to its lane, or settles it if it has none. It returns
// false when the entry goes back to the group.
func (t *term) take(ctx context.Context, e *durable.Entry) bool {
	r := t.f.run
	if e.Redelivered {
		r.s.counts.redelivered.Add(1)
	}
	l, env, err := r.decode(e.Body, e.Type, t.f.channel, message.ViaStream)
	switch {
	case l != nil:
		env.StreamID = e.StreamID
		t.f.saw(env)
		return t.enqueue(ctx, l, deliveryOf(e, env, t))
	case isInvalid(err):
		if t.bury(e, durable.Failure{Err: err}) != nil {
			return false
		}
		r.s.counts.buried.Add(1)
		t.leave(1)
		return true
	}
	t.done(e)
	return true
}

func (t *term) enqueue(ctx context.Context, l *lane, d *delivery) bool {
	for {
		wait, ok := l.queue.offer(d)
		if ok {
			return true
		}
		if wait == nil {
			return false
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return false
		case <-t.ctx.Done():
			return false
		}
	}
}

// enter counts messages in, unless the term is closed.
func (t *term) enter(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running += n
	return true
}

// leave counts messages out.
func (t *term) leave(n int) {
	t.mu.Lock()
	t.running -= n
	idle := t.running == 0
	over := idle && t.closed
	t.mu.Unlock()
	if idle {
		t.signal()
	}
	if over {
		t.idleOnce.Do(func() { close(t.idle) })
	}
}

// done counts out an entry that is to be acknowledged.
func (t *term) done(e *durable.Entry) {
	t.f.noteSettled(e.StreamID)
	e.Body = nil // not needed for the acknowledgement, and the batch lives on
	t.mu.Lock()
	if len(t.handled) == 0 {
		t.since = time.Now()
	}
	t.handled = append(t.handled, *e)
	n := len(t.handled)
	t.mu.Unlock()
	if n == 1 || n == ackCount {
		t.signal()
	}
	t.leave(1)
}

// giveBack has all entries that are not handled yet go back to the group, so
// that none overtakes the one that does.
func (t *term) giveBack() {
	t.mu.Lock()
	t.left = true
	t.mu.Unlock()
}

// over tells whether entries are not to be handled any more.
func (t *term) over() bool {
	if t.ctx.Err() != nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left
}

func (t *term) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running + len(t.handled)
}

func (t *term) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// acknowledge settles what was handled, until the lease is lost or the term
// ends.
func (t *term) acknowledge() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait, ending := t.due()
		if len(due) > 0 {
			if t.insist(t.settling, func() error { return t.lease.Ack(t.settling, due...) }) != nil {
				return
			}
			clear(due)
			t.mu.Lock()
			t.spare = due[:0]
			t.mu.Unlock()
			continue
		}
		if ending {
			return
		}
		timer.Reset(wait)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-t.lease.Context().Done():
			return
		}
	}
}

// due takes what is to be acknowledged now, or tells for how long to wait.
func (t *term) due() (due []durable.Entry, wait time.Duration, ending bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.handled) == 0 {
		return nil, time.Hour, t.ending
	}
	wait = ackDelay - time.Since(t.since)
	if len(t.handled) < ackCount && t.running > 0 && wait > 0 && !t.ending {
		return nil, wait, false
	}
	due, t.handled, t.spare = t.handled, t.spare, nil
	return due, 0, t.ending
}

// insist repeats what Redis refuses until ctx or the lease ends: somebody may
// change a right. What fails otherwise, the lease repeats.
func (t *term) insist(ctx context.Context, do func() error) error {
	waits := fullJitter(time.Second, entryRetryMax)
	for {
		err := do()
		if err == nil || ctx.Err() != nil || t.lease.Context().Err() != nil {
			return err
		}
		t.f.noteFault(err)
		pause, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(t.lease.Context(), cancel)
		sleep(pause, waits.NextBackOff(), nil)
		stop()
		cancel()
	}
}

// bury makes a dead letter of an entry. An error means that it goes back to the
// group.
func (t *term) bury(e *durable.Entry, f durable.Failure) error {
	err := t.insist(t.ctx, func() error { return t.lease.Bury(t.ctx, *e, f) })
	if err == nil {
		t.f.noteSettled(e.StreamID)
	}
	return err
}

// close lets no further message enter.
func (t *term) close() {
	t.mu.Lock()
	t.closed = true
	idle := t.running == 0
	t.mu.Unlock()
	if idle {
		t.idleOnce.Do(func() { close(t.idle) })
	}
}

// wait waits until the handlers of a lost lease have returned. It returns false
// when ctx ends first.
func (t *term) wait(ctx context.Context) bool {
	t.close()
	select {
	case <-t.idle:
		return true
	case <-ctx.Done():
		return false
	}
}

// end acknowledges what was handled and releases the lease; with keep it is
// left to end by itself.
func (t *term) end(keep bool) {
	t.mu.Lock()
	t.ending = true
	t.mu.Unlock()
	t.signal()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), releaseTime)
	defer cancel()
	// Half of it, so that something is left for the release.
	bound := time.AfterFunc(releaseTime/2, t.stopSettling)
	t.acks.Wait()
	bound.Stop()
	t.stopSettling()
	if keep {
		cancel()
	}
	if err := t.lease.Release(ctx); err != nil && !keep {
		t.f.noteFault(err)
	}
	t.unhook()
	t.cancel(nil)
}

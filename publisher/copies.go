package publisher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

const (
	// lastCopy is how long Run goes on for copies that wait when it ends.
	lastCopy = time.Second
	// copyBudget bounds the copy that a Publish posts itself, because Run does not
	// run: the stream has the message, so nobody has to wait longer for it.
	copyBudget = 5 * time.Second
	// copyEnd is how long a newer message waits for a copy that was cancelled.
	copyEnd = time.Second
)

// errSlow is the cause of a context that copyBudget ended.
var errSlow = errors.New("the copy took too long")

// errBusy is a failure that passes: what is posted beside an older message could
// arrive before it.
var errBusy = errors.New("the fallback is still busy with an older message though that was cancelled; let Fallback.Notify return when its context ends")

// copies is what a lane posts of messages that the stream has but too few
// listeners heard, so that a service without streams gets them too. Run posts
// them outside of the lane, so that no Publish waits. Only the newest one is kept:
// a snapshot replaces those before it.
type copies struct {
	token chan struct{} // held while one is posted

	mu     sync.Mutex
	next   *message.Outgoing
	cancel context.CancelFunc // ends the one that is posted now
	last   posted
}

// posted is a copy that was posted, and what the fallback said.
type posted struct {
	id      string
	outcome FallbackOutcome
	err     error
}

func newCopies() *copies { return &copies{token: make(chan struct{}, 1)} }

func (c *copies) put(m *message.Outgoing) {
	c.mu.Lock()
	c.next = m
	c.mu.Unlock()
}

// begin takes the copy that waits, or nil; with one, done ends its posting.
func (c *copies) begin(ctx context.Context) (m *message.Outgoing, bounded context.Context, done func()) {
	select {
	case c.token <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil
	}
	bounded, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	m, c.next = c.next, nil
	c.cancel = cancel
	c.mu.Unlock()
	done = func() {
		c.mu.Lock()
		c.cancel = nil
		c.mu.Unlock()
		cancel()
		<-c.token
	}
	if m == nil {
		done()
		return nil, nil, nil
	}
	return m, bounded, done
}

func (c *copies) note(p posted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = p
}

// outcome is what became of a copy for which a Publish had the time of ctx, since Run
// does not run. The one before it may have had all of that, and nobody would post it
// then: it is taken back. It is still pending if somebody posts it now, or a newer one.
func (c *copies) outcome(ctx context.Context, id string) (FallbackOutcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.next != nil && c.next.ID == id:
		c.next = nil
		return FallbackFailed, context.Cause(ctx)
	case c.last.id == id:
		return c.last.outcome, c.last.err
	}
	return FallbackPending, nil
}

// stop gives up the copy that waits and the one that is being posted, because a
// newer message goes by the fallback itself. It waits until none is on its way, for
// at most copyEnd.
func (c *copies) stop(ctx context.Context) error {
	c.mu.Lock()
	c.next = nil
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	select {
	case c.token <- struct{}{}:
		<-c.token
		return nil
	default:
	}
	timer := time.NewTimer(copyEnd)
	defer timer.Stop()
	select {
	case c.token <- struct{}{}:
		<-c.token
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errBusy
	}
}

// copyToFallback leaves a message for the fallback that the stream has but too
// few listeners heard. It reports whether it did.
func (p *Publisher) copyToFallback(l *lane, m *parcel, r redisPart) bool {
	if r.streamID == "" || !r.tooFew || m.posted || m.refused != "" || !p.hasFallback(m.Type) {
		return false
	}
	too := m.WithStream()
	too.StreamID = r.streamID
	l.copies.put(&too)
	select {
	case p.copied <- struct{}{}:
	default:
	}
	return true
}

// postCopies is the part of Run that posts copies.
func (p *Publisher) postCopies(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCopy)
			defer cancel()
			for _, l := range p.all {
				p.postCopy(last, l)
			}
			return
		case <-p.copied:
		}
		for _, l := range p.all {
			p.postCopy(ctx, l)
		}
	}
}

// postCopy posts the copy that waits, if there is one.
func (p *Publisher) postCopy(ctx context.Context, l *lane) {
	m, ctx, done := l.copies.begin(ctx)
	if m == nil {
		return
	}
	defer done()
	outcome, err := p.notify(ctx, *m)
	l.copies.note(posted{m.ID, outcome, err})
	if !gaveUp(ctx) {
		p.logFallback(ctx, err)
	}
}

// gaveUp reports that a context ended for a reason that says nothing about the
// fallback.
func gaveUp(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow)
}

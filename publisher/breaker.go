package publisher

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

const (
	// openFor is how long Redis is left alone after a failure.
	openFor = time.Second
	// pingInCall bounds the PING that a Publish pays when Run did not come
	// before it: the fallback must begin within 50 ms.
	pingInCall = 40 * time.Millisecond
	// pingInRun bounds the PING of Run, and that of a Publish for which nobody
	// waits; see patience.
	pingInRun = time.Second
)

// breaker keeps a Redis that does not work out of the way of messages. One
// Publish whose Redis part failed opens it; only a PING closes it again, never
// a message, which would pay for finding out.
//
// What opens it is an outage: no connection, no answer, a server that says that
// it cannot work now (LOADING, MASTERDOWN). A server that refuses (NOPERM,
// OOM) or knows too few listeners answers at once, so that asking again costs
// nothing and lets the next message through as soon as the cause is gone.
type breaker struct {
	p      *Publisher
	state  *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened chan struct{} // wakes Run
	// recovered wakes the part of Run that empties the outbox.
	recovered chan struct{}
	closed    atomic.Uint64 // how often it closed

	watched atomic.Bool  // by Run
	slow    atomic.Int32 // PINGs in a row without an answer in time

	mu      sync.Mutex
	pending func(error) // reports the outcome of a PING that goes on in finish
	cause   error       // why it opened last
	since   time.Time
	channel string // whose node to ask
}

func newBreaker(p *Publisher) *breaker {
	b := &breaker{p: p, opened: make(chan struct{}, 1), recovered: make(chan struct{}, 1)}
	b.state = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		// gobreaker waits for longer than Timeout; a second is to be enough.
		Timeout:     openFor - time.Nanosecond,
		MaxRequests: 1,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				select {
				case b.opened <- struct{}{}:
				default:
				}
			case gobreaker.StateClosed:
				b.closed.Add(1)
				select {
				case b.recovered <- struct{}{}:
				default:
				}
			}
		},
	})
	return b
}

// admit tells whether a message may go to Redis. The period is for trip. A message
// that another route can take does not wait for a distant Redis; call finish when
// it has been taken.
func (b *breaker) admit(ctx context.Context, otherRoute bool) (period uint64, ok bool) {
	// Asking for the state alone, instead of gobreaker's Allow for each
	// message, saves the happy path an allocation and a lock.
	period = b.closed.Load()
	switch b.state.State() {
	case gobreaker.StateClosed:
		return period, true
	case gobreaker.StateOpen:
		return period, false
	}
	ok = b.probe(ctx, otherRoute)
	return b.closed.Load(), ok
}

// trip opens the breaker, unless it was closed since the message was admitted:
// then the failure is older than the recovery.
func (b *breaker) trip(period uint64, channel string, cause error) {
	if b.closed.Load() != period {
		return
	}
	done, err := b.state.Allow()
	if err != nil {
		return // open already
	}
	b.mu.Lock()
	b.cause, b.since, b.channel = cause, time.Now(), channel
	b.mu.Unlock()
	done(cause)
}

// probe asks Redis whether it works, unless somebody else does that just now
// or did within the last second.
func (b *breaker) probe(ctx context.Context, hasty bool) bool {
	done, err := b.state.Allow()
	if err != nil {
		return false
	}
	if !hasty {
		return b.ask(ctx, b.patience(), done) == nil
	}
	report := func(err error) {
		if isLate(err) && ctx.Err() == nil && !b.watched.Load() {
			b.mu.Lock()
			b.pending = done
			b.mu.Unlock()
			return
		}
		done(err)
	}
	return b.ask(ctx, pingInCall, report) == nil
}

// finish asks once more, with patience, if admit gave up too early: dialing, HELLO
// and PING take several round trips.
func (b *breaker) finish(ctx context.Context) {
	if b.state.State() == gobreaker.StateClosed {
		return
	}
	b.mu.Lock()
	done := b.pending
	b.pending = nil
	b.mu.Unlock()
	if done != nil {
		_ = b.ask(ctx, b.patience(), done)
	}
}

// patience is how long to wait for an answer: from a second up to the budget, since
// a PING that came too late begins again with dialing.
func (b *breaker) patience() time.Duration {
	limit := pingInRun << min(b.slow.Load(), 4)
	return max(min(limit, b.p.opts.Budget), pingInRun)
}

// ask sends one PING and reports its outcome, also when a hook of go-redis panics.
func (b *breaker) ask(ctx context.Context, limit time.Duration, done func(error)) (err error) {
	err = errPanic
	defer func() { done(err) }()
	b.mu.Lock()
	channel := b.channel
	b.mu.Unlock()
	err = b.p.probe(ctx, channel, limit)
	b.p.trust.judge(ctx, channel, err)
	switch {
	case err == nil:
	case classify(err) == refused, redis.HasErrorPrefix(err, "MISCONF") && !b.p.streams.on():
		err = nil // a living server; after MISCONF it still publishes
	case isLate(err):
		if limit >= pingInRun {
			b.slow.Add(1)
		}
		return err
	default:
		return err
	}
	b.slow.Store(0)
	return nil
}

// errPanic is the outcome of a PING that ended in a panic.
var errPanic = errors.New("the PING panicked")

// isLate tells whether an attempt ended because its time was over.
func isLate(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// openSince tells since when Redis is left out.
func (b *breaker) openSince() (time.Time, bool) {
	if b.state.State() == gobreaker.StateClosed {
		return time.Time{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, true
}

// why tells what opened the breaker.
func (b *breaker) why() (since time.Time, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.cause
}

// watch sends a PING a second after Redis was found not to work, waits for the
// answer for a second at most, and so on: the first answer lets messages
// through again.
func (b *breaker) watch(ctx context.Context) {
	b.watched.Store(true)
	defer b.watched.Store(false)
	for {
		if b.state.State() == gobreaker.StateClosed {
			select {
			case <-ctx.Done():
				return
			case <-b.opened:
				continue
			}
		}
		if !b.probe(ctx, false) && !pause(ctx, openFor) {
			return
		}
	}
}

// pause waits and tells whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

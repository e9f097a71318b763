package publisher

import (
	"context"
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
	// pingInRun bounds the PING of Run.
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
	conn   redis.UniversalClient
	state  *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened chan struct{} // wakes Run
	// recovered wakes the part of Run that empties the outbox.
	recovered chan struct{}
	closed    atomic.Uint64 // how often it closed

	mu    sync.Mutex
	cause error // why it opened last
	since time.Time
}

func newBreaker(conn redis.UniversalClient) *breaker {
	b := &breaker{conn: conn, opened: make(chan struct{}, 1), recovered: make(chan struct{}, 1)}
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

// admit tells whether a message may go to Redis. The period is for trip.
func (b *breaker) admit(ctx context.Context) (period uint64, ok bool) {
	// Asking for the state alone, instead of gobreaker's Allow for each
	// message, saves the happy path an allocation and a lock.
	period = b.closed.Load()
	switch b.state.State() {
	case gobreaker.StateClosed:
		return period, true
	case gobreaker.StateOpen:
		return period, false
	}
	ok = b.probe(ctx, pingInCall)
	return b.closed.Load(), ok
}

// trip opens the breaker, unless it was closed since the message was admitted:
// then the failure is older than the recovery.
func (b *breaker) trip(period uint64, cause error) {
	if b.closed.Load() != period {
		return
	}
	done, err := b.state.Allow()
	if err != nil {
		return // open already
	}
	b.mu.Lock()
	b.cause, b.since = cause, time.Now()
	b.mu.Unlock()
	done(cause)
}

// probe asks Redis whether it works, unless somebody else does that just now
// or did within the last second.
func (b *breaker) probe(ctx context.Context, limit time.Duration) bool {
	done, err := b.state.Allow()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := b.conn.Ping(ctx).Err(); err != nil && classify(err) != refused {
		done(err)
		return false
	}
	done(nil)
	return true
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
	for {
		if b.state.State() == gobreaker.StateClosed {
			select {
			case <-ctx.Done():
				return
			case <-b.opened:
				continue
			}
		}
		if !b.probe(ctx, pingInRun) && !pause(ctx, openFor) {
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

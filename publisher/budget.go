package publisher

import (
	"context"
	"reflect"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// sharedPart of a budget is the time in which later messages share the deadline
// of the first.
const sharedPart = 50

// budget bounds the Redis part of a lane's messages.
//
// A context with a deadline costs a timer and five allocations, one part in
// twenty of what a short message costs in all. So the messages that come one
// after the other with the same context share one, and lose at most one part in
// fifty of their time.
type budget struct {
	of     context.Context // the caller's; nil when none may be shared
	ctx    context.Context
	cancel context.CancelFunc
	begun  time.Time
}

// begin gives the context of a message that begins now, and what to call when
// its Redis part is over.
func (b *budget) begin(ctx context.Context, now time.Time, limit time.Duration) (context.Context, context.CancelFunc) {
	if b.of != nil && b.of == ctx {
		if since := now.Sub(b.begun); since >= 0 && since <= limit/sharedPart {
			return b.ctx, func() {}
		}
	}
	b.end()
	bounded, cancel := context.WithDeadline(ctx, now.Add(limit))
	if !canCompare(ctx) {
		return bounded, cancel
	}
	*b = budget{of: ctx, ctx: bounded, cancel: cancel, begun: now}
	return bounded, func() {}
}

// end gives the shared context up. One that no message follows ends by itself,
// with its deadline.
func (b *budget) end() {
	if b.of != nil {
		b.cancel()
		*b = budget{}
	}
}

// canCompare tells whether a context can be compared without a panic.
func canCompare(ctx context.Context) bool {
	return ctx == context.Background() || reflect.TypeOf(ctx).Kind() == reflect.Pointer
}

// withBudget bounds the Redis part. The lane's lock is held.
func (p *Publisher) withBudget(ctx context.Context, l *lane, typ message.Type, now time.Time) (context.Context, context.CancelFunc) {
	d, ok := ctx.Deadline()
	switch {
	case !ok && p.opts.Budget > 0:
		return l.budget.begin(ctx, now, p.opts.Budget)
	case !ok:
		return ctx, func() {}
	}
	if p.hasFallback(typ) {
		d = now.Add(d.Sub(now) / 2)
	}
	if p.opts.Budget > 0 && now.Add(p.opts.Budget).Before(d) {
		d = now.Add(p.opts.Budget)
	}
	return context.WithDeadline(ctx, d)
}

// ended is ctx.Err, but knows that a deadline has passed at once: a socket may end
// by it before the context's timer has run.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return nil
}

// attemptOf gives the context of one attempt. The first one has a quarter of the
// budget, a later one half of what is left, so that a connection which died without
// a sign leaves time for a new one; the last one has it all.
//
// It is no timer: go-redis takes the deadline for its sockets, which is all that an
// attempt waits on once it has a connection.
func attemptOf(budget context.Context, delay time.Duration, first, last bool) context.Context {
	end, ok := budget.Deadline()
	if !ok || last {
		return budget
	}
	now := time.Now()
	left := end.Sub(now)
	part := left / 2
	if first {
		part /= 2
	}
	if max(part, delay) >= left {
		return budget // there is no time for another one
	}
	return &attempt{budget, now.Add(part)}
}

type attempt struct {
	context.Context
	end time.Time
}

func (a *attempt) Deadline() (time.Time, bool) { return a.end, true }

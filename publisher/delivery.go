package publisher

import (
	"context"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// delivery is what became of a message.
type delivery struct {
	route       Route // "" when no route took it
	redis       redisPart
	fallback    FallbackOutcome
	fallbackErr error
	outboxErr   error
}

func (d *delivery) posted(outcome FallbackOutcome, err error) {
	d.fallback, d.fallbackErr = outcome, err
}

// deliver finds the route of a message. The lane's lock is held.
func (p *Publisher) deliver(ctx context.Context, l *lane, m *parcel, now time.Time) (d delivery) {
	d.fallback = FallbackNone
	budget, cancel := p.withBudget(ctx, l, m.Type, now)
	defer cancel()
	retries := p.opts.MaxRetries
	if p.opts.Outbox != nil {
		retries = 0 // it is on disk before the second attempt
	}
	behindOthers := p.waiting(l)
	if !behindOthers {
		d.redis = p.toRedis(ctx, budget, l, m, retries)
	}
	switch {
	case d.redis.delivered:
		d.posted(p.postToo(ctx, m, d.redis))
	case p.opts.Outbox != nil && p.record(l, m, &d):
		p.work(ctx, budget, l, m, &d)
	case p.hasFallback(m.Type) && !behindOthers && ended(ctx) == nil:
		d.posted(p.post(ctx, p.behind(l, m.Outgoing)))
	}
	d.route = p.routeOf(l, m, &d)
	if d.redis.delivered && len(d.redis.failures) == 0 && !m.queued && d.fallback == FallbackNone {
		// The only attempt was answered: nobody reads body any more.
		l.reuse(m.Body)
	}
	return d
}

// record puts a message into the outbox, if that takes it.
func (p *Publisher) record(l *lane, m *parcel, d *delivery) bool {
	after := m.mark
	if !m.tried {
		after = l.seen // known now, it need not be written before the first attempt
	}
	d.outboxErr = p.opts.Outbox.Put(m.WithoutStream(), after)
	m.queued = d.outboxErr == nil
	return m.queued
}

// work moves what waits in the lane's outbox, m last, while the budget lasts:
// one step at least, so that a fallback has its turn.
func (p *Publisher) work(ctx, budget context.Context, l *lane, m *parcel, d *delivery) {
	for p.step(ctx, budget, l, m.ID, d) && ended(budget) == nil {
	}
	if p.waiting(l) {
		p.remind()
	}
}

// add puts earlier attempts in front.
func (r *redisPart) add(earlier redisPart) {
	r.attempts += earlier.attempts
	r.unknown += earlier.unknown
	r.failures = append(earlier.failures, r.failures...)
}

func (p *Publisher) routeOf(l *lane, m *parcel, d *delivery) Route {
	switch {
	case d.redis.delivered && d.redis.streamID != "":
		return RouteStream
	case d.redis.delivered:
		return RoutePubSub
	case m.queued && (d.fallback != FallbackAccepted || p.streams.on()):
		return RouteOutbox
	case d.fallback == FallbackAccepted:
		l.behind = true
		return RouteFallback
	}
	return ""
}

// behind is a message for the fallback. With streams it names the entry that it
// follows, as far as that is known, so that a receiver can keep the order.
func (p *Publisher) behind(l *lane, m message.Outgoing) message.Outgoing {
	switch {
	case !p.streams.on():
	case l.seen != "":
		return m.WithAfter(l.seen)
	case p.opts.Outbox != nil: // refused, it is not lost
		return m.WithAfter(message.AfterUnknown)
	}
	return m.WithoutStream()
}

// post sends a message by the fallback.
func (p *Publisher) post(ctx context.Context, m message.Outgoing) (FallbackOutcome, error) {
	if err := p.opts.Fallback.Notify(ctx, m); err != nil {
		return FallbackFailed, err
	}
	return FallbackAccepted, nil
}

// postToo sends a message by the fallback that the stream has but too few
// listeners heard: a service without streams may still be reached.
func (p *Publisher) postToo(ctx context.Context, m *parcel, r redisPart) (FallbackOutcome, error) {
	if r.streamID == "" || !r.tooFew || m.posted || !p.hasFallback(m.Type) || ended(ctx) != nil {
		return FallbackNone, nil
	}
	too := m.WithStream()
	too.StreamID = r.streamID
	return p.post(ctx, too)
}

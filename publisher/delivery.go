package publisher

import (
	"context"
	"log/slog"
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
	aside       bool // the outbox keeps it for an operator
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
	if behindOthers {
		p.logQueue(ctx, l)
	} else {
		d.redis = p.toRedis(ctx, budget, l, m, retries)
	}
	switch {
	case d.redis.delivered:
		if p.copyToFallback(l, m, d.redis) {
			d.fallback = FallbackPending
		}
	case p.opts.Outbox != nil && p.record(ctx, l, m, &d):
		if d.redis.refusal != nil { // it is alone in the queue, and is not asked for again
			(&stepping{p: p, l: l, own: m, d: &d}).refused(ctx, m, d.redis.refusal)
		}
		p.work(ctx, budget, l, m, &d)
	case p.hasFallback(m.Type) && !behindOthers && ended(ctx) == nil:
		d.posted(p.post(ctx, l, p.behind(l, m.Outgoing, false)))
	}
	d.route = p.routeOf(l, m, &d)
	if d.redis.delivered && len(d.redis.failures) == 0 && !m.queued && d.fallback == FallbackNone {
		// The only attempt was answered: nobody reads body any more.
		l.reuse(m.Body)
	}
	return d
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
	case m.queued:
		return RouteOutbox
	case d.fallback == FallbackAccepted:
		l.behind = true
		return RouteFallback
	}
	return ""
}

// behind is a message for the fallback. With streams it names the entry that it
// follows, as far as that is known, so that a receiver can keep the order; owing
// tells that older messages, which the fallback does not have, are still to come
// into the stream.
func (p *Publisher) behind(l *lane, m message.Outgoing, owing bool) message.Outgoing {
	after := l.seen
	if after == "" && p.opts.Outbox != nil { // refused, it is not lost
		after = message.AfterUnknown
	}
	if !p.streams.on() || after == "" {
		return m.WithoutStream()
	}
	if owing {
		after += message.AfterOwing
	}
	return m.WithAfter(after)
}

// post sends a message by the fallback, ahead of older copies.
func (p *Publisher) post(ctx context.Context, l *lane, m message.Outgoing) (FallbackOutcome, error) {
	if err := l.copies.stop(ctx); err != nil {
		return p.answered(ctx, err)
	}
	return p.notify(ctx, m)
}

// notify asks the fallback.
func (p *Publisher) notify(ctx context.Context, m message.Outgoing) (FallbackOutcome, error) {
	return p.answered(ctx, p.opts.Fallback.Notify(ctx, m))
}

// answered counts an answer of the fallback.
func (p *Publisher) answered(ctx context.Context, err error) (FallbackOutcome, error) {
	if !gaveUp(ctx) { // else the answer says nothing about the fallback
		p.countFallback(err)
	}
	if err != nil {
		return FallbackFailed, err
	}
	return FallbackAccepted, nil
}

// logFallback logs that the fallback fails, or works again, where no caller gets
// the error: because another route took the message, or in Run.
func (p *Publisher) logFallback(ctx context.Context, err error) {
	state, level, text := "", slog.LevelInfo, "fallback restored"
	if err != nil {
		state, level, text = err.Error(), slog.LevelWarn, "fallback failed"
	}
	p.mu.Lock()
	changed := p.fallbackLog.changed(state, time.Now())
	p.mu.Unlock()
	if changed {
		p.opts.Logger.LogAttrs(ctx, level, text, slog.String("err", state))
	}
}

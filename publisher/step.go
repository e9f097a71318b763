package publisher

import (
	"context"
	"log/slog"

	"github.com/PitchConnect/fogispubsub/message"
)

// step moves one message of the lane's queue, by the first way that is open:
// records that a change of mode settled, then Redis, then the fallback. It
// reports whether something moved; what it learns of the message own goes into
// d. budget bounds the attempts at Redis. Publish and Run both work by it. The
// lane's lock is held.
//
// A message leaves the queue when Redis has it, or refuses it for good, then mostly
// to those set aside; without streams also when the fallback has it or refuses it
// for good. With streams the word of the fallback is not enough: the message stays
// until the stream has it too.
func (p *Publisher) step(ctx, budget context.Context, l *lane, own *parcel, d *delivery) (moved bool) {
	s := stepping{p: p, l: l, own: own, d: d}
	if !p.streams.on() {
		if moved, failed := s.settle(ctx); moved || failed {
			return moved
		}
	}
	moved, failed := s.toRedis(ctx, budget)
	if moved || failed || len(l.postable) == 0 || ended(ctx) != nil {
		return moved
	}
	return s.toFallback(ctx)
}

// stepping is one step.
type stepping struct {
	p   *Publisher
	l   *lane
	own *parcel // the message that is being published now; nil in Run
	d   *delivery
}

// is reports whether a record is the message that is being published.
func (s *stepping) is(id string) bool { return s.own != nil && s.own.ID == id }

// first returns the oldest record that match accepts.
func (s *stepping) first(ctx context.Context, types []message.Type, match func(message.Queued) bool) (m *parcel, failed bool) {
	q, err := s.p.opts.Outbox.First(match, types...)
	if s.p.outboxFailed(ctx, s.l, err) {
		return nil, true
	}
	if q.ID == "" {
		return nil, false
	}
	return unpack(q), false
}

func every(message.Queued) bool      { return true }
func unheard(q message.Queued) bool  { return !q.Heard }
func answered(q message.Queued) bool { return q.Posted || q.Refused != "" }

// settle ends what the fallback answered while streams were on: nothing else is
// to come for these records now.
func (s *stepping) settle(ctx context.Context) (moved, failed bool) {
	m, failed := s.first(ctx, s.l.types, answered)
	switch {
	case m == nil:
		return false, failed
	case m.posted:
		return s.remove(ctx, m), false
	}
	return s.setAside(ctx, m, m.refused), false
}

// toRedis sends the next record to Redis.
func (s *stepping) toRedis(ctx, budget context.Context) (moved, failed bool) {
	p, l := s.p, s.l
	if p.opts.Disabled {
		return false, false
	}
	m, failed := s.first(ctx, l.types, every)
	if m == nil {
		return false, failed
	}
	behind := false // older records are owed to listeners that are missing
	if m.heard && !p.streams.on() {
		if !p.enough(budget, l) {
			if m, failed = s.first(ctx, l.types, unheard); m == nil {
				return false, failed
			}
			behind = true
		}
	}
	r := p.toRedis(ctx, budget, l, m, p.opts.MaxRetries)
	if r.delivered && behind && r.streamID == "" {
		// The missing listeners are back since: they get it after what is older.
		r.delivered, r.tooFew = false, true
	}
	if s.is(m.ID) {
		r.add(s.d.redis)
		s.d.redis = r
	}
	switch {
	case r.refusal != nil:
		return s.refused(ctx, m, r.refusal), true
	case r.delivered:
		p.copyToFallback(l, m, r)
		return s.remove(ctx, m), false
	case r.tooFew && !m.heard:
		m.heard = true
		return s.mark(ctx, m), false
	}
	return false, false
}

// refused ends a record, the oldest one, that Redis will never take. The fallback is
// asked once, if it was not yet; later would be behind what follows now. Without
// streams its word is enough, with them the record is set aside all the same, since
// whoever has only the stream will miss it.
func (s *stepping) refused(ctx context.Context, m *parcel, refusal error) (moved bool) {
	p, l := s.p, s.l
	why := refusal.Error()
	if p.hasFallback(m.Type) && !m.posted && m.refused == "" {
		if l.seen == "" {
			l.seen = m.mark
		}
		err := s.post(ctx, m, false)
		if err != nil && gaveUp(ctx) {
			return false
		}
		m.posted = err == nil
		if err != nil {
			m.refused = err.Error()
		}
	}
	switch {
	case m.posted && !p.streams.on():
		return s.remove(ctx, m)
	case m.posted:
		l.behind = true
		why += "; the fallback took it"
	case m.refused != "":
		why += "; fallback: " + m.refused
	}
	return s.setAside(ctx, m, why)
}

// enough reports whether as many listeners are there as are required.
func (p *Publisher) enough(ctx context.Context, l *lane) bool {
	if _, open := p.breaker.openSince(); open {
		return false
	}
	n, err := p.listeners(ctx, l.channel)
	return err == nil && n >= int64(p.opts.RequireReceivers)
}

// toFallback posts the next record.
func (s *stepping) toFallback(ctx context.Context) (moved bool) {
	p, l := s.p, s.l
	match := every
	if p.streams.on() {
		match = func(q message.Queued) bool { return !answered(q) }
	}
	m, failed := s.first(ctx, l.postable, match)
	if failed || m == nil {
		return false
	}
	if l.seen == "" { // since this process began; an earlier one knew that
		if oldest, _ := s.first(ctx, l.types, every); oldest != nil {
			l.seen = oldest.mark
		}
	}
	owing := false
	if p.streams.on() {
		oldest, failed := s.first(ctx, []message.Type{m.Type}, func(q message.Queued) bool { return !q.Posted })
		if failed {
			return false
		}
		owing = oldest != nil && oldest.ID != m.ID
	}
	err := s.post(ctx, m, owing)
	switch {
	case err == nil && p.streams.on():
		m.posted = true
		return s.mark(ctx, m)
	case err == nil:
		return s.remove(ctx, m)
	case isFinal(err) && p.streams.on():
		m.refused = err.Error()
		p.opts.Logger.LogAttrs(ctx, slog.LevelError, "fallback refused a message, it waits for the stream", logged(l, m, err)...)
		return s.mark(ctx, m)
	case isFinal(err):
		return s.setAside(ctx, m, err.Error())
	}
	return false
}

// post gives a record to the fallback.
func (s *stepping) post(ctx context.Context, m *parcel, owing bool) error {
	outcome, err := s.p.post(ctx, s.l, s.p.behind(s.l, m.Outgoing, owing))
	if s.is(m.ID) {
		s.d.posted(outcome, err)
	} else if ctx.Err() == nil {
		s.p.logFallback(ctx, err)
	}
	return err
}

func (s *stepping) mark(ctx context.Context, m *parcel) (moved bool) {
	return !s.p.outboxFailed(ctx, s.l, s.p.opts.Outbox.Mark(m.record()))
}

func (s *stepping) remove(ctx context.Context, m *parcel) (moved bool) {
	if s.p.outboxFailed(ctx, s.l, s.p.opts.Outbox.Remove(m.Type, m.ID)) {
		return false
	}
	if s.is(m.ID) {
		s.own.queued = false
	}
	s.p.countDrained()
	return true
}

func (s *stepping) setAside(ctx context.Context, m *parcel, why string) (moved bool) {
	if s.p.outboxFailed(ctx, s.l, s.p.opts.Outbox.SetAside(m.Type, m.ID, why)) {
		return false
	}
	if s.is(m.ID) {
		s.own.queued, s.d.aside = false, true
	}
	s.p.countAside()
	s.p.opts.Logger.LogAttrs(ctx, slog.LevelError, "message set aside in the outbox: see fogis-pubsub outbox list",
		append(logged(s.l, m, nil), slog.String("err", why))...)
	return true
}

// logged names a message in a log line.
func logged(l *lane, m *parcel, err error) []slog.Attr {
	attrs := []slog.Attr{slog.String("type", string(m.Type)), slog.String("message_id", m.ID), slog.String("channel", l.channel)}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	return attrs
}

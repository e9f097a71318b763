package publisher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Outbox keeps messages on disk that Redis did not take at once. outbox.File is
// one. It has one queue for each type and keeps the order of several queues
// together. A change is on disk when its method returns nil.
type Outbox interface {
	// Claim makes the caller the only sender of what the outbox holds. It fails if
	// the outbox was claimed before.
	Claim() error
	// Put appends a message; one whose ID the queue has is not put again. after
	// is a place in the stream that lies before its first attempt, "" if the
	// stream cannot have it. It keeps nothing of m.
	Put(m message.Outgoing, after string) error
	// First returns the oldest message of the types' queues that match accepts;
	// its ID is "" if there is none. match sees messages without Body, the oldest
	// first, and must not call the outbox.
	First(match func(message.Queued) bool, types ...message.Type) (message.Queued, error)
	// Mark writes what m says of After, Posted, Refused and Heard.
	Mark(m message.Queued) error
	// Remove takes a message off its queue, wherever it lies.
	Remove(t message.Type, id string) error
	// SetAside takes a message out of its queue and keeps it for an operator.
	SetAside(t message.Type, id, why string) error
	// Len counts the messages of the types' queues, or of all. It does not block.
	Len(types ...message.Type) int
}

// outboxError is a failure of the outbox in the middle of an attempt at Redis.
type outboxError struct{ error }

func (e *outboxError) Unwrap() error { return e.error }

// Pauses of Run between two looks at a queue that does not move.
const (
	queuePause    = time.Second
	queuePauseMax = 30 * time.Second
)

// waiting reports whether messages of the lane are in the outbox.
func (p *Publisher) waiting(l *lane) bool {
	return p.opts.Outbox != nil && p.opts.Outbox.Len(l.types...) > 0
}

// record puts a message into the outbox, if that takes it.
func (p *Publisher) record(ctx context.Context, l *lane, m *parcel, d *delivery) bool {
	after := m.mark
	if !m.tried {
		after = l.seen // known now, it need not be written before the first attempt
	}
	d.outboxErr = p.opts.Outbox.Put(m.WithoutStream(), after)
	m.queued = d.outboxErr == nil
	if m.queued && d.redis.tooFew {
		m.heard = true
		// Without the mark it is published once more, which loses nothing.
		p.outboxFailed(ctx, l, p.opts.Outbox.Mark(m.record()))
	}
	return m.queued
}

// record is the parcel as the outbox keeps it.
func (m *parcel) record() message.Queued {
	return message.Queued{Outgoing: m.Outgoing, After: m.mark, Posted: m.posted, Refused: m.refused, Heard: m.heard}
}

// unpack is a message from the outbox on its way.
func unpack(q message.Queued) *parcel {
	return &parcel{
		Outgoing: q.Outgoing, mark: q.After, tried: q.After != "", queued: true,
		posted: q.Posted, refused: q.Refused, heard: q.Heard,
	}
}

// work moves what waits in the lane's outbox, m last, while the budget lasts:
// one step at least, so that a fallback has its turn.
func (p *Publisher) work(ctx, budget context.Context, l *lane, m *parcel, d *delivery) {
	for p.step(ctx, budget, l, m, d) && ended(budget) == nil {
	}
	if p.waiting(l) {
		p.remind()
	}
	p.logQueue(ctx, l)
}

// logQueue logs that messages begin to wait in the lane's outbox, or that none is
// left. The lane's lock is held.
func (p *Publisher) logQueue(ctx context.Context, l *lane) {
	n := p.opts.Outbox.Len(l.types...)
	state, text := "", "outbox drained"
	if n > 0 {
		state, text = "waiting", "messages wait in the outbox"
	}
	if l.queue.changed(state, time.Now()) {
		p.opts.Logger.LogAttrs(ctx, slog.LevelInfo, text, slog.String("channel", l.channel), slog.Int("messages", n))
	}
}

// drain is the part of Run that empties the outbox.
func (p *Publisher) drain(ctx context.Context) {
	pause := queuePause
	for {
		left := false
		for _, l := range p.all {
			for p.waiting(l) {
				left = true
				if !p.moveOne(ctx, l) {
					break
				}
				pause = queuePause
			}
		}
		var again <-chan time.Time
		var timer *time.Timer
		if left {
			timer = time.NewTimer(pause)
			again = timer.C
			pause = min(2*pause, queuePauseMax)
		}
		select {
		case <-ctx.Done():
		case <-p.breaker.recovered:
			pause = queuePause
		case <-p.queued:
		case <-again:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// moveOne is one step with a budget of its own, between two calls of Publish.
func (p *Publisher) moveOne(ctx context.Context, l *lane) (moved bool) {
	if _, err := l.lock(ctx); err != nil {
		return false
	}
	defer l.unlock()
	budget, cancel := ctx, context.CancelFunc(func() {})
	if p.opts.Budget > 0 {
		budget, cancel = context.WithTimeout(ctx, p.opts.Budget)
	}
	defer cancel()
	p.logQueue(ctx, l) // an earlier process may have left it
	defer p.logQueue(ctx, l)
	return p.step(ctx, budget, l, nil, nil)
}

// remind wakes Run because something was left in the outbox.
func (p *Publisher) remind() {
	select {
	case p.queued <- struct{}{}:
	default:
	}
}

// outboxFailed logs a failure of the outbox, which keeps what it has, and
// reports whether err is one.
func (p *Publisher) outboxFailed(ctx context.Context, l *lane, err error) bool {
	if err == nil {
		return false
	}
	if l.faults.changed(err.Error(), time.Now()) {
		p.opts.Logger.LogAttrs(ctx, slog.LevelError, "outbox failed", slog.String("channel", l.channel), slog.Any("err", err))
	}
	return true
}

// reportStranded logs that the outbox holds messages without a route.
func (p *Publisher) reportStranded() {
	if n := p.stranded(); n > 0 {
		p.opts.Logger.Error("messages in the outbox have no route: give their types a channel, or use fogis-pubsub outbox list",
			slog.Int("messages", n))
	}
}

// stranded counts the messages of the outbox that have no route: their
// type has no channel, or Redis is disabled and their type has no fallback.
func (p *Publisher) stranded() int {
	if p.opts.Outbox == nil {
		return 0
	}
	var routed []message.Type
	for _, l := range p.all {
		if p.opts.Disabled {
			routed = append(routed, l.postable...)
		} else {
			routed = append(routed, l.types...)
		}
	}
	n := p.opts.Outbox.Len()
	if len(routed) > 0 { // Len of no types is that of all
		n -= p.opts.Outbox.Len(routed...)
	}
	return n
}

// isFinal reports whether a failure of the fallback holds for ever.
func isFinal(err error) bool { return errors.Is(err, message.ErrRefused) }

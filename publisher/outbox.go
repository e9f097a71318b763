package publisher

import (
	"context"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Outbox keeps messages on disk that Redis did not take at once, as
// outbox.File does, of which these methods are. It has one queue for each type
// and keeps the order of several queues together. A change is on disk when its
// method returns nil.
type Outbox interface {
	// Put appends a message; one whose ID the queue has is not put again. after
	// is the place in the stream that its first attempt lies behind, "" if the
	// stream cannot have it. It keeps nothing of m.
	Put(m message.Outgoing, after string) error
	// Head returns the oldest message of the types' queues, its ID "" when there
	// is none, and whether MarkHTTP was called for it.
	Head(types ...message.Type) (m message.Outgoing, after string, http bool, err error)
	// Unposted returns the oldest one for which MarkHTTP was not called.
	Unposted(types ...message.Type) (m message.Outgoing, err error)
	MarkHTTP(t message.Type, id string) error
	SetAfter(t message.Type, id, after string) error
	// Remove takes the head off its queue.
	Remove(t message.Type, id string) error
	// Len counts the messages of the types' queues. It does not block.
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

// waiting tells whether messages of the lane are in the outbox.
func (p *Publisher) waiting(l *lane) bool {
	return p.opts.Outbox != nil && p.opts.Outbox.Len(l.types...) > 0
}

// step moves one message of the lane's queue: the oldest one to Redis, or else
// the oldest one that the fallback does not have to the fallback. budget bounds
// the attempts at Redis. What it learns of the message own goes into d. The
// lane's lock is held.
//
// A message leaves the queue when Redis has it, without streams also when the
// fallback has it. With streams the fallback's word is not enough: the message
// stays until the stream has it too.
func (p *Publisher) step(ctx, budget context.Context, l *lane, own string, d *delivery) (moved bool) {
	box := p.opts.Outbox
	head, after, posted, err := box.Head(l.types...)
	if err != nil || head.ID == "" {
		p.logOutbox(ctx, l, err)
		return false
	}
	m := &parcel{Outgoing: head, mark: after, tried: after != "", queued: true, posted: posted}
	r := p.toRedis(ctx, budget, l, m, p.opts.MaxRetries)
	if m.ID == own {
		r.add(d.redis)
		d.redis = r
	}
	if r.delivered {
		outcome, err := p.postToo(ctx, m, r)
		if m.ID == own {
			d.posted(outcome, err)
		}
		if err := box.Remove(m.Type, m.ID); err != nil {
			p.logOutbox(ctx, l, err)
			return false
		}
		p.countDrained()
		return true
	}
	if len(l.postable) == 0 || ended(ctx) != nil {
		return false
	}
	next, err := box.Unposted(l.postable...)
	if err != nil || next.ID == "" {
		p.logOutbox(ctx, l, err)
		return false
	}
	// Without streams it is the head: all that the fallback took are gone. It is
	// not when a type without a fallback shares the channel: that one waits for
	// Redis, and the others for it.
	if !p.streams.on() && next.ID != m.ID {
		return false
	}
	if l.seen == "" { // since this process began; an earlier one knew that
		l.seen = after
	}
	outcome, err := p.post(ctx, p.behind(l, next))
	if next.ID == own {
		d.posted(outcome, err)
	}
	if err != nil {
		return false
	}
	if p.streams.on() {
		err = box.MarkHTTP(next.Type, next.ID)
	} else if err = box.Remove(next.Type, next.ID); err == nil {
		p.countDrained()
	}
	p.logOutbox(ctx, l, err)
	return err == nil
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
	return p.step(ctx, budget, l, "", nil)
}

// remind wakes Run because something was left in the outbox.
func (p *Publisher) remind() {
	select {
	case p.queued <- struct{}{}:
	default:
	}
}

// logOutbox tells of a failure of the outbox, which keeps what it has.
func (p *Publisher) logOutbox(ctx context.Context, l *lane, err error) {
	if err != nil && l.faults.changed(err.Error(), time.Now()) {
		p.opts.Logger.LogAttrs(ctx, slog.LevelError, "the outbox failed", slog.String("channel", l.channel), slog.Any("err", err))
	}
}

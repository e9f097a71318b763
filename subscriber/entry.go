package subscriber

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// entry is what a lane knows of an entry of a stream.
type entry struct {
	*durable.Entry           // in the list of its batch; without Body when it is done
	tried          bool      // noted by Lease.Try
	first, last    time.Time // when the handler was called
}

// deliveryOf is the delivery of an entry; both lie in one allocation.
func deliveryOf(e *durable.Entry, env *message.Envelope, t *term) *delivery {
	both := &struct {
		delivery
		source entry
	}{delivery{env: env, size: len(e.Body), term: t}, entry{Entry: e}}
	both.entry = &both.source
	return &both.delivery
}

// context is that of the handler: what came by pub/sub or from a stream is
// handled only while the lease is held.
func (l *lane) context(d *delivery) context.Context {
	if d.term != nil {
		return d.term.ctx
	}
	return l.run.handlers
}

// given tells whether the entry goes back to the group.
func (d *delivery) given() bool { return d.entry != nil && d.term.over() }

// try notes that a redelivered entry is about to enter its handler. An error
// is either errTooOften, or the entry goes back to the group.
func (d *delivery) try() error {
	tries, err := d.term.try(d.entry.Entry)
	if err == nil && tries > durable.MaxTries {
		return errTooOften
	}
	d.entry.tried = err == nil
	return err
}

// again tells whether an entry whose handler has failed is given to it again,
// after a wait of at most so long.
func (l *lane) again(d *delivery) (most time.Duration, again bool) {
	most = l.run.opts.Durable.RetryFor - time.Since(d.entry.first)
	return most, most > 0
}

// waits are those between the attempts of one message.
func (l *lane) waits(d *delivery) *backoff.ExponentialBackOff {
	if d.entry != nil {
		return fullJitter(l.run.opts.RetryDelay, entryRetryMax)
	}
	return fullJitter(l.run.opts.RetryDelay, l.run.opts.RetryDelayMax)
}

// pause waits before another attempt. It returns false when Run ends: the
// entry then goes back to the group, where another instance may handle it
// sooner.
func (d *delivery) pause(wait time.Duration) bool {
	t := d.term
	t.f.retrying.Add(1)
	defer t.f.retrying.Add(-1)
	sleep(t.ctx, wait, t.f.run.draining)
	select {
	case <-t.f.run.draining:
		return false
	default:
		return true
	}
}

// settleEntry brings an entry to its end: acknowledged, buried, or left to the
// next holder.
func (l *lane) settleEntry(d *delivery, attempts int, err error) {
	t := d.term
	if d.entry.tried {
		t.leftHandler(d.entry.StreamID)
	}
	switch {
	case attempts > 0 && err == nil:
		l.counts.handled.Add(1)
		t.done(d.entry.Entry)
	case l.leaves(d, err), l.bury(d, attempts, err) != nil:
		l.giveBack(d)
	default:
		l.fail(d, attempts, err)
		l.counts.buried.Add(1)
		t.leave(1)
	}
}

// leaves tells whether an entry that was not handled goes back to the group. A
// handler that failed because its context ended says nothing of the message.
func (l *lane) leaves(d *delivery, err error) bool {
	return d.term.ctx.Err() != nil || err == nil || errors.Is(err, errLeft)
}

func (l *lane) bury(d *delivery, attempts int, err error) error {
	if payload, ok := errors.AsType[*payloadError](err); ok {
		attempts, err = 0, payload.err
	}
	return d.term.bury(d.entry.Entry, durable.Failure{Err: err, Attempts: attempts, First: d.entry.first, Last: d.entry.last})
}

func (l *lane) giveBack(d *delivery) {
	t := d.term
	t.giveBack()
	l.run.s.counts.returned.Add(1)
	logs := &l.run.s.logs
	logs.message(t.ctx, logs.duplicate, slog.LevelDebug, "message left to the next holder of the lease", &d.env.Header, d.size, 0, nil)
	if d.entry.tried {
		t.untry(*d.entry.Entry)
	}
	t.leave(1)
}

func isInvalid(err error) bool { return errors.Is(err, message.ErrInvalid) }

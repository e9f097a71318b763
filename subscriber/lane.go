package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/PitchConnect/fogispubsub/message"
)

// A handler is quick when its last calls all took less than quickCall.
const (
	quickCalls = 8
	quickCall  = 2 * time.Millisecond
)

// lane handles the messages of one type, in the order of its queue. A message
// that arrives while the lane of a quick handler has nothing to do is handled
// by the goroutine that read it (see session.handOver): to wake another one
// takes longer than to handle most messages.
type lane struct {
	*route
	run   *run
	queue *queue
	quick atomic.Int32 // quick calls in a row, up to quickCalls
}

// delivery is a message on its way through a lane.
type delivery struct {
	env  *message.Envelope
	size int
	// sum is that of the bytes of what may come from the stream as well, by
	// another way; 0 for an entry and without Options.Durable.
	sum uint64
	// test is set for a message of [Subscriber.Test], which has nothing else.
	test *selfTest
	// The goroutine that handles the delivery sets the following. key is what
	// it has claimed in the window, if claimed.
	key              windowKey
	claimed, settled bool
	// early tells that the stream may hold what comes before the message.
	early bool
	// outcome tells the waiting Dispatch; nil for pub/sub. It has room for the
	// one value that is ever sent.
	outcome chan outcome

	// term is that of the lease under which the message is handled, nil without
	// Options.Durable and for Dispatch. entry is its place in the stream, nil
	// for pub/sub.
	term  *term
	entry *entry
}

type outcome struct {
	duplicate bool
	err       error
}

// work is the goroutine of a lane. It ends when the queue is closed and empty.
func (l *lane) work() {
	ended := false
	defer func() {
		if !ended { // a handler did, by runtime.Goexit
			l.run.workers.Go(l.work)
		}
	}()
	for {
		d := l.queue.next()
		if d == nil {
			ended = true
			return
		}
		l.handle(d)
	}
}

// handle brings a message that the queue has counted in to its outcome.
func (l *lane) handle(d *delivery) {
	defer func() {
		if !d.settled { // the handler ended the goroutine
			l.settle(d, 1, &PanicError{Stack: debug.Stack()})
		}
		l.queue.leave()
	}()
	l.process(d)
}

// process brings one message to its outcome.
func (l *lane) process(d *delivery) {
	if d.test != nil {
		d.settled = true
		d.test.handled <- time.Now()
		return
	}
	ctx := l.context(d)
	key, dedupe := l.window.key(&d.env.Header)
	for {
		if ctx.Err() != nil || d.given() {
			l.settle(d, 0, nil)
			return
		}
		if !dedupe {
			break
		}
		if d.entry != nil && !l.window.settles(key, d.entry.Body) {
			logs := &l.run.s.logs
			logs.message(ctx, logs.stray, slog.LevelWarn, "another message had this entry's ID, and does not count as it", &d.env.Header, d.size, 0, nil)
			l.window.forget(key)
		}
		wait, duplicate := l.window.claim(key)
		if duplicate {
			if d.entry != nil {
				l.window.passed(key)
			}
			l.duplicate(d)
			return
		}
		if wait == nil {
			d.key, d.claimed = key, true
			break
		}
		select { // another goroutine of this lane handles a copy
		case <-wait:
		case <-ctx.Done():
		}
	}
	if d.entry != nil && d.entry.Redelivered {
		if err := d.try(); err != nil {
			l.settle(d, 0, err)
			return
		}
	}
	attempts, err := l.attempt(ctx, d)
	l.settle(d, attempts, err)
}

// attempt calls the handler until it succeeds or is given up.
func (l *lane) attempt(ctx context.Context, d *delivery) (attempts int, err error) {
	var waits *backoff.ExponentialBackOff
	for attempts = 1; ; attempts++ {
		began := time.Now()
		if d.entry != nil {
			d.entry.last = began
			if attempts == 1 {
				d.entry.first = began
			}
		}
		err = l.call(ctx, d.env)
		if time.Since(began) >= quickCall {
			l.quick.Store(0)
		} else if l.quick.Load() < quickCalls {
			l.quick.Add(1)
		}
		if err == nil || ctx.Err() != nil || final(err) {
			return attempts, err
		}
		most, again := time.Duration(math.MaxInt64), attempts <= l.run.opts.MaxRetries
		if d.entry != nil {
			most, again = l.again(d)
		}
		if !again {
			return attempts, err
		}
		logs := &l.run.s.logs
		logs.message(ctx, logs.retry, slog.LevelWarn, "handler failed and will be called again", &d.env.Header, d.size, attempts, err)
		if waits == nil {
			waits = l.waits(d)
		}
		if d.entry != nil {
			if !d.pause(min(waits.NextBackOff(), most)) {
				return attempts, fmt.Errorf("%w: %w", errLeft, err)
			}
		} else {
			sleep(ctx, waits.NextBackOff(), nil)
		}
		if ctx.Err() != nil {
			return attempts, err
		}
		l.counts.retried.Add(1)
	}
}

// final tells whether another attempt is of no use.
func final(err error) bool {
	_, permanent := errors.AsType[*permanentError](err)
	_, panicked := errors.AsType[*PanicError](err)
	_, payload := errors.AsType[*payloadError](err)
	return permanent || panicked || payload
}

func (l *lane) call(ctx context.Context, e *message.Envelope) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return l.handler(ctx, e)
}

// duplicate settles a message of which a copy was handled.
func (l *lane) duplicate(d *delivery) {
	d.settled = true
	l.counts.duplicates.Add(1)
	logs := &l.run.s.logs
	logs.message(l.run.handlers, logs.duplicate, slog.LevelDebug, "duplicate not handled", &d.env.Header, d.size, 0, nil)
	if d.outcome != nil {
		d.outcome <- outcome{duplicate: true}
	}
	switch {
	case d.entry != nil:
		d.term.done(d.entry.Entry)
	case d.term != nil:
		d.term.leave(1)
	}
}

// settle counts, remembers, logs and reports what became of a message. With
// no attempts it was left over by the drain.
func (l *lane) settle(d *delivery, attempts int, err error) {
	if d.settled { // OnError ended the goroutine
		return
	}
	d.settled = true
	handled := attempts > 0 && err == nil
	if d.claimed {
		l.window.settle(d.key, handled, d.sum)
		switch {
		case handled && d.early:
			l.window.handledEarly(d.key)
		case handled && d.entry != nil:
			l.window.passed(d.key)
		}
	}
	if d.entry != nil {
		l.settleEntry(d, attempts, err)
		return
	}
	if d.term != nil {
		defer d.term.leave(1)
	}
	if handled {
		l.counts.handled.Add(1)
	} else {
		err = l.fail(d, attempts, err)
	}
	if d.outcome != nil {
		d.outcome <- outcome{err: err}
	}
}

// fail counts and reports a message that was not handled, and returns the
// error for its Dispatch.
func (l *lane) fail(d *delivery, attempts int, err error) error {
	r, h := l.run, &d.env.Header
	logs := &r.s.logs
	if payload, ok := errors.AsType[*payloadError](err); ok {
		l.counts.invalid.Add(1)
		logs.message(r.handlers, logs.invalid, slog.LevelWarn, "invalid message", h, d.size, 0, payload.err)
		return payload.err
	}
	l.counts.failed.Add(1)
	if _, ok := errors.AsType[*PanicError](err); ok {
		l.counts.panics.Add(1)
	}
	if ctx := l.context(d); ctx.Err() != nil {
		if r.handlers.Err() != nil {
			r.left.Add(1)
		}
		if cause := context.Cause(ctx); err == nil {
			err = cause
		} else {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	failure := &HandlerError{Header: *h, Attempts: attempts, Err: err}
	logs.message(r.handlers, logs.failed, slog.LevelError, "message given up", h, d.size, attempts, err)
	if r.opts.OnError != nil {
		r.callback("OnError", func() { r.opts.OnError(r.handlers, failure) })
	}
	if attempts == 0 { // never reached the handler: the caller may send it again
		return errors.Join(failure, message.ErrBusy)
	}
	return failure
}

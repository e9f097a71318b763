package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// dispatchAge is for how long at most a sender may have tried to send a message
// that was appended before.
const dispatchAge = 10 * time.Minute

// A message that follows entries of the stream waits for these.
const (
	// orderWait is for how long within one Dispatch; then the sender is asked to
	// come again. A read of an empty stream takes two seconds.
	orderWait = 3 * time.Second
	orderPoll = 20 * time.Millisecond
	// orderTime without a word from Redis is for how long in all. After that the
	// newest message is worth more than its order.
	orderTime = time.Minute
)

// Dispatch hands over a message that came another way than by pub/sub, such
// as the body of an HTTP request, and waits for its outcome. It goes through
// the lane of its type and so keeps to the lane's order. channel only names
// where the message came from. data must not change any more, also after
// Dispatch has returned.
//
// The error is nil when the message was handled, and when a copy of it had
// been (Result.Duplicate). While a copy is queued or in its handler, Dispatch
// waits for that outcome. Otherwise the error is or wraps
//   - [message.ErrProbe] or [message.ErrInvalid] for what is no message,
//   - [ErrUnhandled] for a type without a handler,
//   - *[HandlerError] when the message was given up,
//   - [message.ErrBusy] when the lane is full or draining, Run does not run,
//     or neither ctx nor Options.DispatchTimeout left enough time. The caller
//     should send the message again later. If its handler was not running by
//     then, it will not be called for this copy; if it was, it is left to
//     finish, and should it succeed, the copy sent later is a duplicate.
//
// With Options.Durable, a message that its publisher has put into the stream is
// looked for there. If it is there, that is success without handling: the
// stream brings it to the group's holder. If it is not, it is handled. An error
// that Redis cannot be asked wraps [message.ErrBusy]. So does one that earlier
// messages of the same publisher are in the stream and not handled yet, unless
// Redis has been away for a minute: then the message is handled, and again in its
// turn if the stream turns out to hold earlier ones.
//
// Handler errors are retried, counted and given to Options.OnError as for
// pub/sub.
func (s *Subscriber) Dispatch(ctx context.Context, channel string, data []byte) (message.Result, error) {
	r := s.current()
	if r == nil {
		return message.Result{}, fmt.Errorf("%w: %w", ErrNotRunning, message.ErrBusy)
	}
	return r.dispatch(ctx, channel, data, message.ViaHTTP)
}

func (r *run) dispatch(ctx context.Context, channel string, data []byte, via message.Via) (message.Result, error) {
	l, e, err := r.decode(data, "", channel, via)
	if errors.Is(err, ErrUnhandled) {
		t := message.PeekType(data)
		if e != nil {
			t = e.Type
		}
		return message.Result{Type: t}, fmt.Errorf("%w: %q", err, clip(string(t)))
	}
	if err != nil {
		return message.Result{}, err
	}
	result := message.Result{Type: e.Type, MessageID: e.ID, Matches: e.MatchCount()}
	r.noteDispatched(l, e)
	if key, dedupe := l.window.key(&e.Header); dedupe && l.window.isHandled(key) {
		l.counts.duplicates.Add(1) // known without waiting for the lane's turn
		result.Duplicate = true
		return result, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.DispatchTimeout, errDispatchTimeout)
	defer cancel()
	if left, err := r.leaveToStream(ctx, l, e); left || err != nil {
		return result, err
	}
	early, err := r.keepOrder(ctx, l, e)
	if err != nil {
		return result, err
	}
	d := &delivery{env: e, size: len(data), outcome: make(chan outcome, 1), early: early}
	if r.followerOf(l, e) != nil {
		d.sum = l.window.sum(data)
	}
	if _, ok := l.queue.offer(d); !ok {
		l.counts.withdrawn.Add(1)
		return result, fmt.Errorf("subscriber: lane of %q is full or draining: %w", l.typ, message.ErrBusy)
	}
	select {
	case o := <-d.outcome:
		result.Duplicate = o.duplicate
		return result, o.err
	case <-ctx.Done():
	}
	if l.queue.withdraw(d) {
		l.counts.withdrawn.Add(1)
		return result, fmt.Errorf("subscriber: %q message withdrawn before its turn: %w: %w", l.typ, context.Cause(ctx), message.ErrBusy)
	}
	select { // it may have ended at the same moment
	case o := <-d.outcome:
		result.Duplicate = o.duplicate
		return result, o.err
	default:
		return result, fmt.Errorf("subscriber: %q message still in its handler: %w: %w", l.typ, context.Cause(ctx), message.ErrBusy)
	}
}

// followerOf reads the stream that a message belongs to; nil in plain mode.
func (r *run) followerOf(l *lane, e *message.Envelope) *follower {
	if f := r.follower(e.Channel); f != nil {
		return f
	}
	return r.follower(l.channel)
}

// keepOrder waits until the group has settled what its publisher has put into
// the stream before a message. early tells that the message is handled before
// others that precede it: they are still to come into the stream, or what is there
// was not known for so long that the message is handled all the same.
func (r *run) keepOrder(ctx context.Context, l *lane, e *message.Envelope) (early bool, err error) {
	f := r.followerOf(l, e)
	if f == nil || e.After == "" {
		return false, nil
	}
	began := time.Now()
	after, owing := strings.CutSuffix(e.After, message.AfterOwing)
	for !f.settled(after, began) {
		if time.Since(f.lastHeard()) > orderTime {
			return true, nil
		}
		if time.Since(began) >= orderWait || ctx.Err() != nil {
			l.counts.withdrawn.Add(1)
			return false, fmt.Errorf("subscriber: earlier %q messages in the stream are not handled yet: %w", l.typ, message.ErrBusy)
		}
		sleep(ctx, orderPoll, nil)
	}
	return owing, nil
}

// leaveToStream tells whether a message is in the stream, and so need not be
// handled here.
func (r *run) leaveToStream(ctx context.Context, l *lane, e *message.Envelope) (left bool, err error) {
	f := r.followerOf(l, e)
	if f == nil || !e.Stream || e.IDGenerated {
		return false, nil
	}
	missing, err := f.reader.Missing(ctx, dispatchAge, e.ID)
	if err != nil {
		l.counts.withdrawn.Add(1)
		return false, fmt.Errorf("subscriber: %q message is said to be in the stream, which cannot be asked: %w: %w", l.typ, err, message.ErrBusy)
	}
	logs := &r.s.logs
	if len(missing) > 0 {
		logs.message(ctx, logs.failed, slog.LevelWarn, "message is not in the stream though it says so", &e.Header, len(e.Payload), 0, nil)
		return false, nil
	}
	r.s.counts.leftToStream.Add(1)
	logs.message(ctx, logs.duplicate, slog.LevelDebug, "message left to the stream", &e.Header, len(e.Payload), 0, nil)
	return true, nil
}

// noteDispatched counts the message as seen in its publisher's numbering, so
// that it leaves no hole on the channel where it would have come.
func (r *run) noteDispatched(l *lane, e *message.Envelope) {
	channel := e.Channel
	k := r.channels[channel]
	if k == nil {
		channel = l.channel
		k = r.channels[channel]
	}
	if k != nil {
		k.seq.dispatched(channel, &e.Header, time.Now())
	}
}

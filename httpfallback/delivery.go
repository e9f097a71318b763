package httpfallback

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// delivery is one Notify under way.
type delivery struct {
	client *Client
	msg    message.Outgoing
	window time.Time // until then the receiver must have been reached
	until  time.Time // until then a request must have been accepted; zero: no bound

	reached bool // a POST was answered, or taken for as long as it may last
	form    form
	turned  bool // the receiver has shown itself to be of the other form

	envelope *message.Envelope // of msg, once it is needed for parts
	matches  []json.RawMessage // of envelope
	frame    *message.Envelope // envelope without what grows with the matches, for the parts after the first
	next     int               // requests done with, accepted or skipped
	accepted int
	attempts int     // of the next request
	retries  int     // left
	answered outcome // the last one with a status since a request was accepted
}

// run sends request after request until the message is through.
func (d *delivery) run(ctx context.Context) error {
	d.refill()
	var skipped *Error // of the parts that were not accepted
	for {
		o := d.request(ctx)
		switch o.verdict {
		case accepted:
			d.accepted++
			d.refill()
		case otherForm:
			if d.turned {
				return d.error(o)
			}
			d.turn()
			skipped = nil
			continue
		case againPart, skipPart:
			// The other parts may be good: a match that the receiver cannot
			// handle must not keep those behind it from arriving.
			err := d.error(o)
			// One part that a later attempt can bring through makes the whole
			// message worth another one.
			if skipped == nil || skipped.refused && !err.refused {
				skipped = err
			}
			if d.form == parts && d.next+1 < d.of() {
				d.log(ctx, "fallback part not accepted", err)
			}
		default:
			return d.error(o)
		}
		if d.next++; d.form == whole || d.next == d.of() {
			break
		}
		d.attempts = 0
	}
	if skipped != nil {
		skipped.Accepted = d.accepted
		return skipped
	}
	return nil
}

// refill starts the bounds again: there was progress.
func (d *delivery) refill() {
	d.retries, d.answered = d.client.opts.Retries, outcome{}
	if timeout := d.client.opts.Timeout; timeout > 0 {
		d.until = time.Now().Add(timeout)
	}
}

// request sends the next request until its outcome is settled or the retries
// are used up.
func (d *delivery) request(ctx context.Context) outcome {
	for {
		d.attempts++
		o := d.attempt(ctx)
		if o.status != 0 {
			d.answered = o
		}
		if o.verdict != again && o.verdict != againPart {
			return o
		}
		if ctx.Err() != nil {
			return d.ended(ctx, o)
		}
		o = d.recall(o)
		wait, ok := d.wait(ctx, o)
		if !ok {
			return o
		}
		d.log(ctx, "fallback attempt failed", d.error(o))
		d.client.closeIdle() // the receiver may be restarted meanwhile
		if !sleep(ctx, wait) {
			return d.ended(ctx, o)
		}
		d.retries--
	}
}

// recall has the outcome of an attempt without an answer tell what the receiver
// answered before: when the time ran out during an attempt, the earlier answer says
// why nothing was accepted.
func (d *delivery) recall(o outcome) outcome {
	switch {
	case o.status != 0 || d.answered.status == 0:
	case !d.until.IsZero() && !time.Now().Before(d.until):
		o.status, o.cause = d.answered.status, nil
		o.reason = fmt.Sprintf("%s; the %v ran out before the next attempt was answered", d.answered.reason, d.client.opts.Timeout)
	default:
		o.reason = fmt.Sprintf("%s (an earlier attempt was answered %d)", o.reason, d.answered.status)
	}
	return o
}

// ended is the outcome when ctx has ended after o.
func (d *delivery) ended(ctx context.Context, o outcome) outcome {
	o.verdict, o.cause = stop, ctx.Err()
	if o.status == 0 {
		o.reason = "no answer before the caller's context ended"
		if d.answered.status != 0 {
			o.status = d.answered.status
			o.reason = d.answered.reason + "; the caller's context ended before the next attempt was answered"
		}
	}
	return o
}

// turn changes to the receiver's other form, once in a delivery: the receiver
// behind the URL was replaced since its form was learnt.
func (d *delivery) turn() {
	d.turned = true
	if d.form == whole {
		d.form = parts
	} else {
		d.form = whole
	}
	d.client.remember(d.form)
	d.next, d.accepted, d.attempts = 0, 0, 0
}

func (d *delivery) error(o outcome) *Error {
	err := &Error{
		URL: d.client.redacted, Status: o.status,
		Attempts: d.attempts, Accepted: d.accepted,
		reason: o.reason, cause: o.cause, refused: o.refused,
	}
	if d.form == parts && d.envelope != nil {
		err.Part, err.Of = d.next+1, d.of()
	}
	return err
}

func (d *delivery) log(ctx context.Context, msg string, err *Error) {
	d.client.opts.Logger.WarnContext(ctx, msg,
		"type", d.msg.Type, "message_id", d.msg.ID, "route", "fallback", "attempt", err.Attempts, "err", err)
}

package subscriber

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// pollTimeout bounds one call of a source, pollRetry is the wait after its
// first failure.
const (
	pollTimeout = time.Minute
	pollRetry   = 10 * time.Second
)

// PollOptions have match updates fetched another way while Redis brings none:
// when the Subscriber is disabled, and when the session of match_updates has
// been down for longer than After. Run calls the source, so that it ends with
// it.
//
// What the source returns goes through the lane of match_updates as a message
// of route [message.ViaPoll], with its retries. It is handed over once: the
// same matches again are not, unless their handler failed or another match
// update came meanwhile. When the session is up again the source is asked a
// last time, for what was published before that. A result is dropped when a
// match update has come while the source worked, because it may be older.
//
// Each instance of a service polls for itself, also under Options.Durable,
// where the streams later bring the updates of the outage once more.
type PollOptions struct {
	// Source returns the whole current match list. Its context ends after a
	// minute and with Run; one that ignores it holds up further polls,
	// and Run for a second. Its errors are logged, so they must hold nothing
	// secret. Nil is off. With a source, match_updates must have a handler.
	Source func(ctx context.Context) (message.MatchUpdates, error)
	// Interval is the time from the end of one poll to the next. After a
	// failure it is 10 s, doubled for each further one, and never longer than
	// Interval. Zero means 5 min.
	Interval time.Duration
	// After is for how long the session must have been down. Zero means 1 min,
	// negative that it is polled as soon as it is down.
	After time.Duration
}

// poller calls the source of a Run.
type poller struct {
	run    *run
	lane   *lane
	keeper *keeper // nil when disabled
	source func(context.Context) (message.MatchUpdates, error)

	// last is the content handed over last under the ID id, done that it needs
	// no other attempt. seen is the lane's number of messages just after it:
	// with any further one it counts no more.
	last [sha256.Size]byte
	id   string
	done bool
	seen uint64
	// err is set when the source still runs after Run's end.
	err error
}

var errSourceStuck = errors.New("subscriber: Options.Poll.Source still runs though its context has ended; let it return when its context ends")

// errPollPending tells of a source that has not returned from an earlier call.
var errPollPending = errors.New("the source has not returned within a minute")

func newPoller(r *run) (*poller, error) {
	o := r.opts.Poll
	if o.Source == nil {
		return nil, nil
	}
	l := r.lanes[message.TypeMatchUpdates]
	if l == nil {
		return nil, errors.New("subscriber: Options.Poll.Source is set, but match_updates has no handler")
	}
	return &poller{run: r, lane: l, keeper: r.channels[l.channel], source: o.Source}, nil
}

// poll polls whenever Redis is away, until ctx ends.
func (p *poller) poll(ctx context.Context) {
	for p.away(ctx) {
		p.run.s.polling.Store(true)
		p.run.s.logs.logger.LogAttrs(ctx, slog.LevelInfo, "polling for match updates begins")
		p.until(ctx)
		p.run.s.polling.Store(false)
		if ctx.Err() == nil {
			p.run.s.logs.logger.LogAttrs(ctx, slog.LevelInfo, "polling for match updates ends, the subscription is back")
		}
	}
}

// away waits until the session has been down for After, and returns false when
// ctx ends before.
func (p *poller) away(ctx context.Context) bool {
	for p.keeper != nil && ctx.Err() == nil {
		changed, down, up := p.keeper.downSince()
		wait := time.Until(down.Add(p.run.opts.Poll.After))
		switch {
		case up:
			select {
			case <-changed:
			case <-ctx.Done():
			}
		case wait <= 0:
			return true
		default:
			sleep(ctx, wait, changed)
		}
	}
	return ctx.Err() == nil
}

// until polls until the session is up, and once more then.
func (p *poller) until(ctx context.Context) {
	retry := pollRetry
	for {
		var changed <-chan struct{}
		up := false
		if p.keeper != nil {
			changed, _, up = p.keeper.downSince()
		}
		wait := p.run.opts.Poll.Interval
		if err := p.once(ctx); err == nil {
			retry = pollRetry
		} else if ctx.Err() == nil {
			if !errors.Is(err, errPollPending) { // told when it was noticed
				p.failed(ctx, err)
			}
			wait, retry = min(wait, retry), min(wait, 2*retry)
		}
		if up || ctx.Err() != nil {
			return
		}
		sleep(ctx, wait, changed)
		if ctx.Err() != nil {
			return
		}
	}
}

func (p *poller) failed(ctx context.Context, err error) {
	p.run.s.counts.pollFailures.Add(1)
	p.run.s.logs.line(ctx, p.run.s.logs.poll, slog.LevelWarn, "polling for match updates failed", slog.Any("err", err))
}

// once asks the source and hands over what it brings.
func (p *poller) once(ctx context.Context) error {
	p.run.s.counts.polls.Add(1)
	before := p.lane.counts.received.Load()
	update, err := p.ask(ctx)
	if err != nil {
		return err
	}
	h := message.Header{ID: message.NewID(), Source: "poll"}
	data, err := message.AppendEncode(nil, h, update)
	if err != nil {
		return err
	}
	content, err := hashMatches(data)
	if err != nil {
		return err
	}
	if p.lane.counts.received.Load() != before {
		p.run.s.counts.pollsSkipped.Add(1)
		return nil
	}
	if p.id != "" && content == p.last && p.seen == before {
		if p.done {
			p.run.s.counts.pollsSkipped.Add(1)
			return nil
		}
		// The same message again: should its handler have succeeded after all,
		// it is a duplicate.
		h.ID = p.id
		if data, err = message.AppendEncode(data[:0], h, update); err != nil {
			return err
		}
	}
	p.last, p.id, p.seen = content, h.ID, before+1
	_, err = p.run.dispatch(ctx, "", data, message.ViaPoll)
	p.done = err == nil || final(err)
	if _, failed := errors.AsType[*HandlerError](err); failed {
		return nil // counted, logged and reported by the lane
	}
	return err
}

type polled struct {
	update message.MatchUpdates
	err    error
}

// ask calls the source, whose panic is an error. When the source does not
// return in time, ask waits for it as long as Run goes on: two calls never
// overlap.
func (p *poller) ask(ctx context.Context) (message.MatchUpdates, error) {
	bounded, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	answer := make(chan polled, 1)
	go func() {
		result := polled{err: &PanicError{Stack: debug.Stack()}} // for runtime.Goexit
		defer func() {
			if value := recover(); value != nil {
				result.err = &PanicError{Value: value, Stack: debug.Stack()}
			}
			answer <- result
		}()
		result.update, result.err = p.source(bounded)
	}()
	select {
	case got := <-answer:
		return p.answered(got)
	case <-bounded.Done():
	}
	if ctx.Err() == nil {
		select {
		case got := <-answer:
			return p.answered(got)
		case <-time.After(drainGrace):
			p.failed(ctx, errPollPending)
		}
		select {
		case <-answer: // nobody knows how old it is
			return message.MatchUpdates{}, errPollPending
		case <-ctx.Done():
		}
	}
	select {
	case <-answer:
	case <-time.After(drainGrace):
		p.err = errSourceStuck
	}
	return message.MatchUpdates{}, context.Cause(ctx)
}

func (p *poller) answered(got polled) (message.MatchUpdates, error) {
	if panicked, ok := errors.AsType[*PanicError](got.err); ok {
		p.run.s.counts.panics.Add(1)
		p.run.s.logs.line(p.run.handlers, p.run.s.logs.callback, slog.LevelError, "callback panicked",
			slog.String("callback", "Poll.Source"), slog.Any("err", panicked), slog.String("stack", string(panicked.Stack)))
	}
	return got.update, got.err
}

// hashMatches gives the hash of the message's matches, whatever the order of
// their keys and the space between them.
func hashMatches(data []byte) (hash [sha256.Size]byte, err error) {
	var m struct {
		Payload struct {
			Matches any `json:"matches"`
		} `json:"payload"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return hash, fmt.Errorf("%w: matches", message.ErrInvalid) // its text may quote a match
	}
	canonical, err := json.Marshal(m.Payload.Matches) // sorts the keys
	return sha256.Sum256(canonical), err
}

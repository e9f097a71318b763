package subscriber

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// handoverTime is for how long a group can have had no holder when this
// instance becomes it.
const handoverTime = 11 * time.Second

// follower reads the stream of one channel whenever this instance holds the
// group's lease, for as long as its Run.
type follower struct {
	run     *run
	name    string
	typ     message.Type
	channel string
	reader  *durable.Reader

	announced *announced
	worked    bool         // a read has succeeded; of the goroutine of follow
	newest    moment       // of the matches that were read last; of that goroutine
	lost      *term        // whose handlers have not returned, when follow has
	retrying  atomic.Int32 // entries between two calls of their handler

	mu    sync.Mutex
	term  *term // nil while another instance holds the lease
	since time.Time
	last  string    // newest stream ID settled
	heard time.Time // when Redis last told of the stream; at first, when Run began
	// drained is a time at which this instance held the lease and had handled
	// all that the stream brought.
	drained time.Time
	fault   error
	at      time.Time // of fault
	// passed is when a message without an entry in the stream was last left to
	// another holder.
	passed time.Time
}

func newFollower(r *run, name string, t message.Type, channel string) (*follower, error) {
	f := &follower{run: r, name: name, typ: t, channel: channel, announced: newAnnounced(), heard: time.Now()}
	o := r.opts.Durable.reader()
	o.OnGap, o.OnRetry, o.OnOther = f.report, f.noteFault, f.otherHolds
	reader, err := durable.NewReader(r.s.conn, channel, r.opts.Durable.Group, o)
	if err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	f.reader = reader
	return f, nil
}

// follow holds the lease whenever it can until ctx ends, which is no error. The
// last term is then left to finish.
func (f *follower) follow(ctx context.Context) error {
	waits := fullJitter(reconnectDelay, reconnectDelayMax)
	var t *term // nil without a lease
	defer func() {
		if ctx.Err() != nil {
			f.settleAnnounced(t)
		}
	}()
	for {
		lease, err := f.reader.Acquire(ctx)
		if err == nil {
			t = newTerm(f, lease)
			f.set(t)
			err = t.read(ctx)
			if ctx.Err() == nil && err == nil { // the lease was lost
				f.set(nil)
				if !t.wait(ctx) {
					f.lost = t
					return nil
				}
				t.end(false)
				t = nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			waits.Reset()
			continue
		case !f.worked:
			return fmt.Errorf("subscriber: %w", err)
		}
		f.noteFault(err)
		sleep(ctx, waits.NextBackOff(), nil)
	}
}

// finish ends the last term, after the drain. stuck tells that a handler still
// runs: the lease then ends by itself, so that the next holder comes later.
func (f *follower) finish(stuck bool) {
	f.mu.Lock()
	t := f.term
	f.term = nil
	f.mu.Unlock()
	for _, t := range []*term{t, f.lost} {
		if t != nil {
			t.close()
			t.end(stuck)
		}
	}
}

func (f *follower) set(t *term) {
	logs := &f.run.s.logs
	text := "holding the stream's lease"
	if t == nil {
		text = "the stream's lease was lost"
	}
	now := time.Now()
	f.mu.Lock()
	f.term, f.since = t, now
	alone := t != nil && now.Sub(f.passed) < handoverTime
	f.mu.Unlock()
	if alone {
		f.run.reportGap(Gap{
			Session: f.name, Type: f.typ, Channels: []string{f.channel}, Cause: CauseTakeover,
			From: now.Add(-handoverTime), To: now,
		})
	}
	logs.line(f.run.handlers, logs.resumed, slog.LevelInfo, text,
		slog.String("channel", f.channel), slog.String("group", f.run.opts.Durable.Group))
}

// enter counts a message that came by pub/sub into the current term. It returns
// nil when there is none: another instance handles it.
func (f *follower) enter() *term {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.term == nil || !f.term.enter(1) {
		f.passed = time.Now()
		return nil
	}
	return f.term
}

func (f *follower) noteFault(err error) {
	now := time.Now()
	f.mu.Lock()
	f.fault, f.at = err, now
	f.mu.Unlock()
	logs := &f.run.s.logs
	logs.line(f.run.handlers, logs.attempt, slog.LevelWarn, "stream cannot be used and will be tried again",
		slog.String("channel", f.channel), slog.Any("err", err))
}

func (f *follower) noteWork() {
	now := time.Now()
	f.mu.Lock()
	f.fault, f.heard = nil, now
	f.mu.Unlock()
}

func (f *follower) noteHeard() {
	now := time.Now()
	f.mu.Lock()
	f.heard = now
	f.mu.Unlock()
}

// noteCaughtUp notes up to when the stream was read to its end.
func (f *follower) noteCaughtUp(t *term, at time.Time) {
	if !at.IsZero() && t.waiting() == 0 {
		f.mu.Lock()
		f.drained = at
		f.mu.Unlock()
	}
}

func (f *follower) lastHeard() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard
}

// settled tells whether the group is known to have settled what the stream held
// up to an ID, or all that it held at some time since then.
func (f *follower) settled(id string, since time.Time) bool {
	f.mu.Lock()
	drained := f.drained
	f.mu.Unlock()
	return drained.After(since) || f.reader.Settled(id, since)
}

func (f *follower) noteSettled(id string) {
	f.mu.Lock()
	f.last = id
	f.mu.Unlock()
}

// report turns a gap of the stream into one of ours.
func (f *follower) report(g durable.Gap) {
	from, to := durable.Entry{StreamID: g.After}.Time(), durable.Entry{StreamID: g.Before}.Time()
	if to.IsZero() {
		to = time.Now()
	}
	f.run.reportGap(Gap{
		Session: f.name, Type: f.typ, Channels: []string{f.channel}, Cause: Cause(g.Cause), From: from, To: to, Stream: g,
	})
}

func (f *follower) snapshot(now time.Time) (st StreamStatus, degraded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st = StreamStatus{
		Name: f.name, Channel: f.channel, Group: f.run.opts.Durable.Group,
		Holder: f.term != nil, Since: f.since, LastStreamID: f.last, Retrying: f.retrying.Load() > 0,
	}
	if f.term != nil {
		st.Waiting = f.term.waiting()
	}
	if f.fault != nil && now.Sub(f.at) < faultTime {
		st.LastError = f.fault.Error()
	}
	return st, st.Retrying || st.LastError != ""
}

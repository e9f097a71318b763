package subscriber

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

const (
	// searchMargin is by how much longer ago than it arrived a message may have
	// been appended.
	searchMargin = time.Minute
	// lastSearch bounds the search when Run ends.
	lastSearch = time.Second
)

// announce notes a message that came by pub/sub and is in the stream too.
func (f *follower) announce(l *lane, d *delivery) {
	f.mu.Lock()
	passed := f.term == nil
	f.mu.Unlock()
	// One without an ID cannot be found again.
	if d.env.IDGenerated || !f.announced.add(l, d, passed, time.Now()) {
		f.run.s.counts.leftToStream.Add(1)
	}
}

// saw notes an entry that the reader got.
func (f *follower) saw(env *message.Envelope) {
	if f.announced.saw(env.ID) {
		f.run.s.counts.leftToStream.Add(1)
	}
	if env.Type == message.TypeMatchUpdates {
		f.newest.set(&env.Header)
	}
}

// overdue sees to announced messages that the reader should have got by now.
func (f *follower) overdue(ctx context.Context, t *term, caughtUp time.Time) {
	if n, from := f.announced.overflow(caughtUp); n > 0 {
		f.reportMissing(CauseAnnounced, n, nil, from)
	}
	if err := f.verify(ctx, t, f.announced.reached(caughtUp, time.Now())); err != nil && ctx.Err() == nil {
		f.noteFault(err)
	}
}

// otherHolds forgets what that holder saw to.
func (f *follower) otherHolds() {
	f.noteHeard()
	_ = f.verify(f.run.handlers, nil, f.announced.forget(time.Now()))
}

// settleAnnounced sees to the announced messages that are left when Run ends.
func (f *follower) settleAnnounced(t *term) {
	list := f.announced.all()
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.run.handlers, lastSearch)
	defer cancel()
	if err := f.verify(ctx, t, list); err != nil {
		logs := &f.run.s.logs
		logs.line(f.run.handlers, logs.attempt, slog.LevelWarn, "announced messages could not be looked for in the stream",
			slog.String("channel", f.channel), slog.Int("messages", len(list)), slog.Any("err", err))
	}
}

// verify looks for announced messages in the stream. What is missing is
// reported, and handled if it was kept and the lease is held. An error leaves
// all of them where they are.
func (f *follower) verify(ctx context.Context, t *term, list []*announcement) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for i, n := range list {
		ids[i] = n.id
	}
	now := time.Now()
	missing, err := f.reader.Missing(ctx, now.Sub(list[0].at)+searchMargin, ids...)
	if err != nil {
		return err
	}
	f.announced.settle(list)
	var lost, passed []string
	var since, passedSince time.Time
	for _, n := range list {
		absent := slices.Contains(missing, n.id) && !n.handled()
		switch {
		case absent && (n.passed || t == nil):
			if passed = append(passed, n.id); passedSince.IsZero() {
				passedSince = n.at
			}
		case absent:
			if lost = append(lost, n.id); since.IsZero() {
				since = n.at
			}
			continue
		}
		n.drop(f)
	}
	f.reportMissing(CauseTakeover, len(passed), passed, passedSince)
	f.reportMissing(CauseAnnounced, len(lost), lost, since)
	for _, n := range list {
		if !slices.Contains(lost, n.id) {
			continue
		}
		if n.d == nil || n.d.env.Type == message.TypeMatchUpdates && f.newest.after(&n.d.env.Header) || !t.admit(ctx, n.lane, n.d) {
			n.drop(f)
		}
	}
	return nil
}

// drop counts a kept message that is not handled.
func (n *announcement) drop(f *follower) {
	if n.d != nil {
		f.run.s.counts.leftToStream.Add(1)
	}
}

// handled tells whether the message was handled after all, as from a request.
func (n *announcement) handled() bool {
	key, dedupe := n.lane.window.key(&message.Header{ID: n.id})
	return dedupe && n.lane.window.isHandled(key)
}

// admit has a message that is in no stream handled under the lease.
func (t *term) admit(ctx context.Context, l *lane, d *delivery) bool {
	if !t.enter(1) {
		return false
	}
	d.term = t
	if t.enqueue(ctx, l, d) {
		return true
	}
	t.leave(1)
	return false
}

func (f *follower) reportMissing(cause Cause, n int, ids []string, from time.Time) {
	if n == 0 {
		return
	}
	f.run.reportGap(Gap{
		Session: f.name, Type: f.typ, Channels: []string{f.channel}, Cause: cause, From: from, To: time.Now(),
		Stream: durable.Gap{
			Channel: f.channel, Group: f.run.opts.Durable.Group, Cause: durable.Cause(cause), Missing: int64(n), IDs: ids,
		},
	})
}

// moment is when a message was published, as it says itself.
type moment struct {
	source string
	seq    message.Seq
	at     time.Time
}

func (m *moment) set(h *message.Header) {
	if len(h.Source)+len(h.Seq.Epoch) > sequenceNameBytes { // by its time alone
		*m = moment{at: h.Timestamp.Time}
		return
	}
	if m.source != h.Source || m.seq.Epoch != h.Seq.Epoch { // they share the memory of the whole message
		m.source, m.seq.Epoch = strings.Clone(h.Source), strings.Clone(h.Seq.Epoch)
	}
	m.seq.N, m.at = h.Seq.N, h.Timestamp.Time
}

// after tells whether m was published after a message.
func (m *moment) after(h *message.Header) bool {
	if m.source == h.Source && m.seq.Epoch == h.Seq.Epoch && m.seq.N > 0 && h.Seq.N > 0 {
		return m.seq.N > h.Seq.N
	}
	return m.at.After(h.Timestamp.Time)
}

package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Times of the end of Run. Docker kills 10 s after it has asked a container to
// stop: all three together must be less.
const (
	drainTimeout = 7 * time.Second
	// drainGrace is how long Run waits for a handler whose context has ended.
	drainGrace = time.Second
	// releaseTime bounds the acknowledgement of what was handled last and the
	// release of the lease, together.
	releaseTime = 1500 * time.Millisecond
	// untryTime bounds the taking back of a try; it is part of the drain or of
	// its grace.
	untryTime = drainGrace / 2
)

// run is one call of Run: its sessions, its lanes, and what they share.
type run struct {
	s       *Subscriber
	opts    *Options
	decoder message.Decoder
	lanes   map[message.Type]*lane
	keepers []*keeper
	// channels tells which keeper reads a channel.
	channels map[string]*keeper
	probes   bool    // sessions prove that Redis delivers
	poller   *poller // nil without Options.Poll
	// followers read the streams of the channels; none without Options.Durable.
	followers map[string]*follower
	// chosen tells that it is known whether the followers are to be used, plain
	// that they are not.
	chosen, plain atomic.Bool

	// handlers is the context of the handlers.
	handlers     context.Context
	stopHandlers context.CancelCauseFunc
	workers      sync.WaitGroup // every goroutine that may run a handler
	left         atomic.Int64   // messages that the drain's bound left unhandled
	draining     chan struct{}  // closed when nothing is read any more
	ended        chan struct{}  // closed when Run returns
}

func newRun(ctx context.Context, s *Subscriber) (*run, error) {
	r := &run{
		s: s, opts: &s.opts,
		decoder:  message.Decoder{MaxBytes: s.opts.MaxMessageBytes},
		lanes:    map[message.Type]*lane{},
		channels: map[string]*keeper{},
		ended:    make(chan struct{}),
		draining: make(chan struct{}),
	}
	r.handlers, r.stopHandlers = context.WithCancelCause(context.WithoutCancel(ctx))
	for t, route := range s.routes {
		r.lanes[t] = &lane{route: route, run: r, queue: newQueue(s.opts.QueueMessages, s.opts.QueueBytes, s.opts.Concurrency)}
	}
	if s.opts.Disabled {
		return r, r.polls()
	}
	for _, t := range sortedTypes(s.routes) {
		channel := s.routes[t].channel
		if k := r.channels[channel]; k != nil {
			k.name += "+" + string(t)
			continue
		}
		r.keep(newKeeper(r, string(t), t, channel))
	}
	var further []string
	for _, channel := range s.opts.Channels {
		if r.channels[channel] == nil && !slices.Contains(further, channel) {
			further = append(further, channel)
		}
	}
	if len(further) > 0 {
		r.keep(newKeeper(r, "channels", "", further...))
	}
	r.probes = s.opts.ProbeInterval > 0
	if err := r.polls(); err != nil {
		return nil, err
	}
	return r, r.follow()
}

// polls makes the poller.
func (r *run) polls() (err error) {
	r.poller, err = newPoller(r)
	return err
}

// follow makes the followers of all channels.
func (r *run) follow() error {
	if !r.opts.Durable.on() || len(r.keepers) == 0 {
		return nil
	}
	r.followers = map[string]*follower{}
	for _, k := range r.keepers {
		for _, channel := range k.channels {
			name := k.name
			if k.typ == "" {
				name = channel
			}
			f, err := newFollower(r, name, k.typ, channel)
			if err != nil {
				return err
			}
			r.followers[channel] = f
		}
	}
	return nil
}

func (r *run) keep(k *keeper) {
	r.keepers = append(r.keepers, k)
	for _, channel := range k.channels {
		r.channels[channel] = k
	}
}

// work does what Run promises.
func (r *run) work(ctx context.Context) error {
	defer r.stopHandlers(nil)
	for _, l := range r.lanes {
		for range r.opts.Concurrency {
			r.workers.Go(l.work)
		}
	}
	sessions, stopSessions := context.WithCancel(ctx)
	defer stopSessions()
	var keepers sync.WaitGroup
	if r.poller != nil {
		keepers.Go(func() { r.poller.poll(sessions) })
	}
	failure := r.choose(ctx)
	if failure == nil {
		r.logStart(ctx)
		select {
		case <-ctx.Done():
		case failure = <-r.receive(sessions, &keepers):
		}
	}
	bound := time.NewTimer(max(r.opts.DrainTimeout, 0))
	defer bound.Stop()
	stopSessions()
	close(r.draining)
	var untried sync.WaitGroup
	for _, f := range r.followers {
		untried.Go(f.untry)
	}
	keepers.Wait()
	if r.poller != nil {
		failure = errors.Join(failure, r.poller.err)
	}
	stuck, err := r.drain(bound.C)
	untried.Wait()
	r.finish(stuck)
	return errors.Join(failure, err)
}

// logStart says once in which mode what is received.
func (r *run) logStart(ctx context.Context) {
	if len(r.keepers) == 0 || ctx.Err() != nil {
		return
	}
	attrs := []slog.Attr{slog.String("mode", "plain")}
	if r.durableState() == DurableOn {
		attrs = []slog.Attr{slog.String("mode", "durable"), slog.String("group", r.opts.Durable.Group)}
	}
	var channels []string
	for _, k := range r.keepers {
		channels = append(channels, k.channels...)
	}
	attrs = append(attrs, slog.String("channels", strings.Join(channels, ",")))
	r.s.logs.logger.LogAttrs(ctx, slog.LevelInfo, "receiving", attrs...)
}

// receive starts what reads, and returns where it tells of failures.
func (r *run) receive(ctx context.Context, running *sync.WaitGroup) (failed <-chan error) {
	failures := make(chan error, len(r.keepers)+len(r.followers))
	work := func(f func(context.Context) error) {
		running.Go(func() {
			if err := f(ctx); err != nil {
				failures <- err
			}
		})
	}
	for _, k := range r.keepers {
		work(k.keep)
	}
	if !r.plain.Load() {
		for _, f := range r.followers {
			work(f.follow)
		}
	}
	return failures
}

// finish releases the leases.
func (r *run) finish(stuck bool) {
	var followers sync.WaitGroup
	for _, f := range r.followers {
		followers.Go(func() { f.finish(stuck) })
	}
	followers.Wait()
}

// drain finishes what is queued until bound fires. still tells that a handler
// runs even so.
func (r *run) drain(bound <-chan time.Time) (still bool, err error) {
	for _, l := range r.lanes {
		l.queue.close()
	}
	idle := make(chan struct{})
	go func() {
		r.workers.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return false, nil
	case <-bound:
	}
	r.stopHandlers(ErrDrainTimeout)
	for _, l := range r.lanes {
		for { // not left to the workers: their handlers may be stuck
			d, _ := l.queue.take(false)
			if d == nil {
				break
			}
			l.process(d)
		}
	}
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	stuck := 0
	select {
	case <-idle:
	case <-grace.C:
		for _, l := range r.lanes {
			_, _, running := l.queue.depth()
			stuck += running
		}
	}
	if left := r.left.Load(); left > 0 || stuck > 0 {
		return stuck > 0, fmt.Errorf("%w; %d messages not handled, %d handlers still running", ErrDrainTimeout, left, stuck)
	}
	return false, nil
}

// callback calls one of the user's functions, whose panic must not end us.
func (r *run) callback(name string, f func()) {
	defer func() {
		if value := recover(); value != nil {
			r.s.counts.panics.Add(1)
			err := &PanicError{Value: value, Stack: debug.Stack()}
			r.s.logs.line(r.handlers, r.s.logs.callback, slog.LevelError, "callback panicked",
				slog.String("callback", name), slog.Any("err", err), slog.String("stack", string(err.Stack)))
		}
	}()
	f()
}

// reportGap counts, logs and hands out a gap.
func (r *run) reportGap(g Gap) {
	r.s.counts.gaps.Add(1)
	attrs := []slog.Attr{
		slog.String("session", g.Session), slog.String("cause", string(g.Cause)), slog.Int("epoch", g.Epoch),
	}
	if !g.From.IsZero() {
		attrs = append(attrs, slog.Time("from", g.From))
	}
	attrs = append(attrs, slog.Time("to", g.To))
	if g.Stream.Channel != "" {
		attrs = append(attrs, slog.String("stream", g.Stream.String()))
	}
	if g.Err != nil {
		attrs = append(attrs, slog.Any("err", g.Err))
	}
	level, text := slog.LevelWarn, "messages may have been lost"
	if g.Cause == CauseNewGroup && g.Stream.Before == "" {
		// As at the first start on an empty Redis. One that has lost everything
		// looks the same, which is why it is a gap.
		level, text = slog.LevelInfo, "group begins with an empty stream"
	}
	if g.Stream.Channel == "" && r.durableState() == DurableOn {
		text = "messages that are in no stream may have been lost"
	}
	r.s.logs.line(r.handlers, r.s.logs.gap, level, text, attrs...)
	if r.opts.OnGap != nil {
		r.callback("OnGap", func() { r.opts.OnGap(g) })
	}
}

// decode reads a message up to the lane that it belongs to, and counts and
// logs it if there is none. t is its type, as far as that is known, else "": what
// has no lane is not decoded.
func (r *run) decode(data []byte, t message.Type, channel string, via message.Via) (*lane, *message.Envelope, error) {
	s := r.s
	s.counts.received.Add(1)
	s.counts.bytes.Add(uint64(len(data)))
	if t == "" {
		t = message.PeekType(data)
	}
	if t != "" && (r.lanes[t] == nil || r.isStray(t, channel, via)) {
		h := message.Header{Type: t, Channel: channel, Via: via}
		return nil, nil, r.unhandled(&h, len(data))
	}
	e, err := r.decoder.Decode(data)
	if errors.Is(err, message.ErrProbe) {
		s.counts.probes.Add(1)
		return nil, nil, err
	}
	if err != nil {
		s.counts.invalid.Add(1)
		h := message.Header{Channel: channel, Via: via}
		s.logs.message(r.handlers, s.logs.invalid, slog.LevelWarn, "invalid message", &h, len(data), 0, err)
		return nil, nil, err
	}
	e.Channel, e.Via = channel, via
	l := r.lanes[e.Type]
	if l == nil || r.isStray(e.Type, channel, via) {
		return nil, e, r.unhandled(&e.Header, len(data))
	}
	l.counts.received.Add(1)
	if e.Sanitized {
		s.counts.sanitized.Add(1)
		s.logs.message(r.handlers, s.logs.sanitized, slog.LevelWarn, "message held NaN or Infinity, read as null", &e.Header, len(data), 0, nil)
	}
	return l, e, nil
}

// isStray reports whether a message came by a channel of other types: the right to
// publish those is no right to publish its type. By one of Options.Channels any
// type may come.
func (r *run) isStray(t message.Type, channel string, via message.Via) bool {
	k := r.channels[channel]
	return (via == message.ViaPubSub || via == message.ViaStream) &&
		k != nil && k.typ != "" && r.lanes[t] != nil && r.lanes[t].channel != channel
}

func (r *run) unhandled(h *message.Header, size int) error {
	r.s.counts.unhandled.Add(1)
	if r.isStray(h.Type, h.Channel, h.Via) {
		r.s.logs.message(r.handlers, r.s.logs.stray, slog.LevelWarn, "message of another channel's type not handled", h, size, 0, nil)
		return ErrUnhandled
	}
	r.s.logs.message(r.handlers, r.s.logs.unhandled, slog.LevelDebug, "no handler for message", h, size, 0, nil)
	return ErrUnhandled
}

// wait returns nil when each session is up in a later epoch than given.
func (r *run) wait(ctx context.Context, epochs []int) error {
	for i, k := range r.keepers {
		for {
			changed, up := k.upSince(epochs[i])
			if up {
				break
			}
			select {
			case <-changed:
			case <-r.ended:
				return fmt.Errorf("%w any more", ErrNotRunning)
			case <-ctx.Done():
				return fmt.Errorf("subscriber: session %s is not up: %w", k.name, context.Cause(ctx))
			}
		}
	}
	return nil
}

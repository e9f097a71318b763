package publisher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// Publisher sends messages. It may be used by several goroutines. It has no
// Close: the caller owns the Redis client.
type Publisher struct {
	opts    Options
	conn    redis.UniversalClient
	addr    string // of Redis, for errors; "" when not known
	epoch   string // names this Publisher in the numbers of its messages
	lanes   map[message.Type]*lane
	all     []*lane // each once
	breaker *breaker
	trust   *trust
	streams *streams
	queued  chan struct{} // tells Run that a message was left in the outbox
	copied  chan struct{} // tells Run that a copy waits for the fallback
	running atomic.Int32  // calls of Run

	mu          sync.Mutex // guards what follows
	stats       Stats
	fallbackLog changeLog
}

// New returns a Publisher on conn. It does not connect.
//
// The publisher itself repeats what failed, so New refuses a go-redis client
// that repeats commands as well (MaxRetries must be -1, on a cluster
// MaxRedirects too: go-redis sends a PUBLISH again whose answer was lost and so
// doubles messages unseen), and one that lets no deadline reach its sockets
// (ContextTimeoutEnabled must be true). conn may be nil when Options.Disabled.
//
// New cannot demand what else a client of your own needs; [fogispubsub.New] sets
// it. DialerRetries 1: go-redis repeats a failed dial four times by default.
// ConnMaxIdleTime 10 s and ConnMaxLifetime 1 min: a connection may die without a
// sign, or lead to a former master, and is used again after up to half an hour by
// default. PipelinePoolSize -1: streams then use the connections that were checked.
//
// [fogispubsub.New]: https://pkg.go.dev/github.com/PitchConnect/fogispubsub#New
func New(conn redis.UniversalClient, opts Options) (*Publisher, error) {
	opts = opts.withDefaults()
	faults := []error{opts.validate()}
	var addr string
	if !opts.Disabled {
		if isNil(conn) {
			faults = append(faults, errors.New("no Redis client; give one or set Options.Disabled"))
		} else {
			addr = topology.Addr(conn)
			faults = append(faults, topology.Check(conn))
		}
	}
	for _, seam := range []struct {
		name  string
		value any
	}{{"Outbox", opts.Outbox}, {"Fallback", opts.Fallback}} {
		if seam.value != nil && isNil(seam.value) {
			faults = append(faults, fmt.Errorf("a nil pointer in Options.%s; leave it nil, or give one that works", seam.name))
		}
	}
	streams, err := newStreams(conn, opts)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}

	var random [8]byte
	rand.Read(random[:]) // never fails
	p := &Publisher{
		opts:    opts,
		conn:    conn,
		addr:    addr,
		epoch:   hex.EncodeToString(random[:]),
		lanes:   make(map[message.Type]*lane, len(opts.Channels)),
		trust:   &trust{logger: opts.Logger},
		streams: streams,
		queued:  make(chan struct{}, 1),
		copied:  make(chan struct{}, 1),
	}
	p.breaker = newBreaker(p)
	// The numbers count per channel, so types on one channel share a lane.
	usual := RoutePubSub
	if opts.Disabled {
		usual = RouteFallback
	}
	byChannel := make(map[string]*lane, len(opts.Channels))
	for _, t := range slices.Sorted(maps.Keys(opts.Channels)) {
		channel := opts.Channels[t]
		l := byChannel[channel]
		if l == nil {
			l = newLane(channel, usual)
			byChannel[channel] = l
			p.all = append(p.all, l)
		}
		l.types = append(l.types, t)
		if p.hasFallback(t) {
			l.postable = append(l.postable, t)
		}
		p.lanes[t] = l
	}
	if opts.Outbox != nil {
		// The last thing that can fail: what has claimed the outbox keeps it.
		if err := opts.Outbox.Claim(); err != nil {
			return nil, fmt.Errorf("publisher: %w", err)
		}
		p.reportStranded()
	}
	return p, nil
}

// Publish sends one message and blocks until a route has it or none would take
// it; earlier messages of the type come first. The error is an [*Error].
//
// The payload is validated first: the error wraps [message.ErrInvalid], and
// nothing was sent. Every other message gets the next number of its channel
// ([message.Header] Seq); when no route takes it, the number stays a hole,
// which tells subscribers that something is missing.
//
// When ctx ends, Publish gives up: no further attempt is made and no other
// route asked. It ends pauses and waits for connections at once, but not a read
// that has begun: go-redis checks only the deadline there, at the latest that of
// the budget or of its own ReadTimeout. Error.Unknown then tells whether the
// message may have left.
func (p *Publisher) Publish(ctx context.Context, payload message.Payload, opts ...PublishOption) (Receipt, error) {
	start := time.Now()
	var o publishOptions
	for _, opt := range opts {
		o = opt.apply(o)
	}
	if isNil(payload) {
		return Receipt{}, p.refuse(o.failed(Error{Err: fmt.Errorf("%w: the payload is nil", message.ErrInvalid)}))
	}
	typ := payload.MessageType()
	switch payload.(type) {
	case *message.MatchUpdates, *message.ProcessingStatus, *message.SystemAlert:
		// Only the value has the form of the services.
		return Receipt{}, p.refuse(o.failed(Error{Type: typ, Err: fmt.Errorf("%w: the payload is a pointer; give the value", message.ErrInvalid)}))
	}
	l := p.lanes[typ]
	if l == nil {
		return Receipt{}, p.refuse(o.failed(Error{Type: typ, Err: fmt.Errorf("%w: the type has no channel; name one in Options.Channels", message.ErrInvalid)}))
	}
	if p.opts.Disabled && !p.hasFallback(typ) {
		return p.discard(l, payload, o.id, start)
	}

	defer p.breaker.finish(ctx) // after the lane is free again
	waited, err := l.lock(ctx)
	if err != nil {
		p.count("", redisPart{}, start)
		return Receipt{}, o.failed(Error{Type: typ, Channel: l.channel, Err: err})
	}
	unlock := sync.OnceFunc(l.unlock)
	defer unlock()
	now := start
	if waited {
		now = time.Now()
	}
	id := o.id
	if id == "" {
		id = message.NewID()
	}
	body, err := l.encode(message.Header{
		ID:        id,
		Source:    p.opts.Source,
		Timestamp: message.Timestamp{Time: now},
		Seq:       message.Seq{Epoch: p.epoch},
		Stream:    p.streams.on(),
	}, payload, p.opts.MaxMessageBytes)
	if err != nil {
		return Receipt{}, p.refuse(o.failed(Error{ID: id, Type: typ, Channel: l.channel, Err: err}))
	}
	m := parcel{Outgoing: message.Outgoing{ID: id, Type: typ, Body: body}, mark: o.mark, tried: o.unknown && o.mark != ""}
	d := p.deliver(ctx, l, &m, now)

	end := time.Now()
	p.count(d.route, d.redis, end)
	var failed *Error
	if d.route == "" {
		failed = &Error{
			ID: id, Type: typ, Channel: l.channel, Addr: p.addr, Attempts: d.redis.attempts, Unknown: d.redis.unknown > 0 || o.unknown,
			Redis: d.redis.failures, Fallback: d.fallbackErr, Outbox: d.outboxErr, Err: ended(ctx),
			Aside: d.aside, mark: m.mark,
		}
	}
	logged := d.route
	if logged.AtRedis() {
		logged = RoutePubSub // the same way
	}
	if failed == nil && l.route.changed(string(logged), end) { // an error is returned, not logged
		p.logRoute(ctx, l, &m, &d)
	}
	if failed != nil {
		return Receipt{}, failed
	}
	if d.fallback == FallbackAccepted || d.fallback == FallbackFailed && ended(ctx) == nil {
		p.logFallback(ctx, d.fallbackErr)
	}
	if d.fallback == FallbackPending && p.running.Load() == 0 {
		unlock()
		bounded, cancel := context.WithTimeoutCause(ctx, copyBudget, errSlow)
		p.postCopy(bounded, l)
		if p.running.Load() == 0 {
			d.posted(l.copies.outcome(bounded, id))
		}
		cancel()
		end = time.Now()
	}
	return Receipt{
		ID: id, Route: d.route, Receivers: d.redis.receivers, StreamID: d.redis.streamID, Fallback: d.fallback,
		FallbackErr: d.fallbackErr, Attempts: d.redis.attempts, Elapsed: end.Sub(start),
	}, nil
}

// discard is Publish for a disabled publisher without a fallback for the type.
func (p *Publisher) discard(l *lane, payload message.Payload, id string, start time.Time) (Receipt, error) {
	if err := payload.Validate(); err != nil {
		return Receipt{}, p.refuse(&Error{ID: id, Type: payload.MessageType(), Channel: l.channel, Err: err})
	}
	if id == "" {
		id = message.NewID()
	}
	end := time.Now()
	p.count(RouteNone, redisPart{}, end)
	return Receipt{ID: id, Route: RouteNone, Fallback: FallbackNone, Elapsed: end.Sub(start)}, nil
}

// refuse counts a message that is refused before anything was sent.
func (p *Publisher) refuse(e *Error) error {
	p.mu.Lock()
	p.stats.Invalid++
	p.mu.Unlock()
	return e
}

func (p *Publisher) hasFallback(t message.Type) bool {
	return p.opts.Fallback != nil && slices.Contains(p.opts.FallbackTypes, t)
}

// logRoute tells that messages of a channel now take another route.
func (p *Publisher) logRoute(ctx context.Context, l *lane, m *parcel, d *delivery) {
	level, text, why := slog.LevelInfo, "publishing through Redis again", ""
	switch {
	case d.route == RouteFallback:
		level, text, why = slog.LevelWarn, "publishing through the fallback", distinct(d.redis.failures)
	case d.route == RouteOutbox:
		level, text, why = slog.LevelWarn, "message waits in the outbox", distinct(d.redis.failures)
	}
	attrs := []slog.Attr{
		slog.String("type", string(m.Type)), slog.String("message_id", m.ID), slog.String("channel", l.channel),
		slog.String("route", string(d.route)), slog.Int("attempt", d.redis.attempts),
	}
	if why != "" {
		attrs = append(attrs, slog.String("err", why))
	}
	p.opts.Logger.LogAttrs(ctx, level, text, attrs...)
}

// isNil tells whether an interface holds nothing or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

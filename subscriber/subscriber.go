package subscriber

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/message"
)

// HandlerFunc handles one message. A nil error means that it was handled. It
// is called again after an error (see [Options.MaxRetries]), so it must bear
// being called twice for one message.
//
// The context outlives the one given to Run: it ends when the drain's bound
// passes, with [ErrDrainTimeout] as its cause. The envelope belongs to the
// handler.
type HandlerFunc func(ctx context.Context, e *message.Envelope) error

// Subscriber receives messages and hands them to handlers. All methods may be
// called by several goroutines at once.
type Subscriber struct {
	conn   redis.UniversalClient // nil only when disabled
	opts   Options
	counts counters
	logs   logs
	// durable tells that a server had streams: from then on it must.
	durable atomic.Bool
	polling atomic.Bool

	mu      sync.Mutex
	started bool
	// routes is replaced, never changed, so that it can be read unlocked.
	routes  map[message.Type]*route
	running *run          // nil while Run does not run
	begun   chan struct{} // closed by the first Run
}

// route is what a type with a handler keeps over several Runs.
type route struct {
	typ     message.Type
	channel string
	handler HandlerFunc
	window  *window
	counts  typeCounters
}

// New returns a Subscriber for the servers of conn: a *redis.Client, which may
// come from NewFailoverClient and so be behind Sentinel, or a
// *redis.ClusterClient. It may be nil only if Options.Disabled. New opens no
// connection.
//
// conn carries the short commands, and must be made as for a publisher: with
// MaxRetries: -1, on a cluster MaxRedirects: -1 too, and ContextTimeoutEnabled:
// true. Each session opens one more connection from its options: to the node of
// a cluster that its channel belongs to, where publishers of this SDK have it
// counted as a listener, or to the master that Sentinel names. The Dialer in
// them should respect its context, so that Run ends at once; that of go-redis does
// so but for a TLS handshake, for which tls.Dialer does.
//
// The error names every fault of the options.
func New(conn redis.UniversalClient, opts Options) (*Subscriber, error) {
	opts, err := opts.withDefaults(conn)
	if err != nil {
		return nil, err
	}
	opts.ChannelNames = maps.Clone(opts.ChannelNames)
	opts.Channels = slices.Clone(opts.Channels)
	return &Subscriber{conn: conn, opts: opts, logs: newLogs(opts.Logger), routes: map[message.Type]*route{}, begun: make(chan struct{})}, nil
}

// Handle registers the handler of a type. It panics when h is nil, when the
// type has a handler already or neither a configured nor a default channel,
// and when Run has been called.
func (s *Subscriber) Handle(t message.Type, h HandlerFunc) {
	if h == nil {
		panic(fmt.Sprintf("subscriber: nil handler for type %q", t))
	}
	channel := s.opts.ChannelNames[t]
	if channel == "" {
		channel = t.DefaultChannel()
	}
	if channel == "" {
		panic(fmt.Sprintf("subscriber: no channel for type %q; name it in Options.ChannelNames", t))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		panic(fmt.Sprintf("subscriber: handler for type %q registered after Run was called", t))
	}
	if s.routes[t] != nil {
		panic(fmt.Sprintf("subscriber: second handler for type %q", t))
	}
	routes := maps.Clone(s.routes)
	routes[t] = &route{typ: t, channel: channel, handler: h, window: newWindow(s.opts.DedupeIDs, s.opts.DedupeAge)}
	s.routes = routes
}

// On registers a typed handler for P's message type, under the rules of
// [Subscriber.Handle]. P must be a payload type itself, not a pointer to one.
// A message whose payload P refuses is counted as invalid and does not reach
// the handler.
func On[P message.Payload](s *Subscriber, h func(context.Context, message.Message[P]) error) {
	payload := reflect.TypeFor[P]()
	if kind := payload.Kind(); kind == reflect.Pointer || kind == reflect.Interface {
		panic(fmt.Sprintf("subscriber: handler for %v; the payload must be a plain type", payload))
	}
	var zero P
	if h == nil {
		panic(fmt.Sprintf("subscriber: nil handler for type %q", zero.MessageType()))
	}
	s.Handle(zero.MessageType(), func(ctx context.Context, e *message.Envelope) error {
		m, err := message.As[P](e)
		if err != nil {
			return &payloadError{err}
		}
		return h(ctx, m)
	})
}

func (s *Subscriber) routeTable() map[message.Type]*route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.routes
}

func (s *Subscriber) current() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// Run subscribes and handles messages until ctx ends, and then finishes what
// is queued within [Options.DrainTimeout]. It returns nil when that succeeded.
// When it has returned, none of the Subscriber's goroutines runs, unless a
// handler ignores its ended context for a second; the error then says so.
//
// Run waits for Redis for as long as it takes. It returns an error only for
// NOPERM, NOAUTH and WRONGPASS before the first subscription, naming the
// channel; under [Options.NoReconnect], the session's; [ErrRunning]; and, wrapped,
// [ErrDrainTimeout] with the number of messages left; and for an Options.Poll
// without a handler of match_updates, or whose source does not end. It may be
// called again afterwards.
//
// Without handlers and Options.Channels, or when disabled, it opens no
// connection and waits for ctx.
func (s *Subscriber) Run(ctx context.Context) error {
	r, err := s.begin(ctx)
	if err != nil {
		return err
	}
	err = r.work(ctx)
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	close(r.ended)
	return err
}

func (s *Subscriber) begin(ctx context.Context) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil, ErrRunning
	}
	if !s.started {
		close(s.begun)
	}
	s.started = true
	r, err := newRun(ctx, s)
	if err != nil {
		return nil, err
	}
	s.running = r
	return r, nil
}

// Restart ends every session, each with a gap of cause "restart", and returns
// nil when every channel is confirmed again. Otherwise the error is that of
// ctx or wraps [ErrNotRunning]; the sessions go on trying.
func (s *Subscriber) Restart(ctx context.Context) error {
	r := s.current()
	if r == nil {
		return fmt.Errorf("%w; nothing to restart", ErrNotRunning)
	}
	epochs := make([]int, len(r.keepers))
	for i, k := range r.keepers {
		epochs[i] = k.restart()
	}
	return r.wait(ctx, epochs)
}

// Subscribed returns nil when every channel is confirmed, and waits for that,
// also for the first Run to be called. With nothing to subscribe to it returns
// nil when Run runs. Otherwise the error is that of ctx or wraps
// [ErrNotRunning].
func (s *Subscriber) Subscribed(ctx context.Context) error {
	select {
	case <-s.begun:
	case <-ctx.Done():
		return fmt.Errorf("subscriber: Run has not been called: %w", context.Cause(ctx))
	}
	r := s.current()
	if r == nil {
		return fmt.Errorf("%w; nothing is subscribed", ErrNotRunning)
	}
	return r.wait(ctx, make([]int, len(r.keepers)))
}

func sortedTypes[V any](m map[message.Type]V) []message.Type {
	return slices.Sorted(maps.Keys(m))
}

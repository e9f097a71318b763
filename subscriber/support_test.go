package subscriber_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

const (
	statusChannel = message.ChannelProcessingStatus
	alertChannel  = message.ChannelSystemAlerts
)

var errRefused = errors.New("connection refused")

// redisBox is a Redis inside a synctest bubble whose connections can be cut
// and refused.
type redisBox struct {
	*miniredis.Miniredis

	mu    sync.Mutex
	down  bool
	conns []net.Conn
	dials []time.Time
}

func newRedisBox(t *testing.T) *redisBox {
	b := &redisBox{Miniredis: miniredis.NewMiniRedis()}
	first, err := b.Miniredis.Dial() // starts it
	require.NoError(t, err)
	require.NoError(t, first.Close())
	t.Cleanup(b.Miniredis.Close)
	return b
}

func (b *redisBox) dial(context.Context, string, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials = append(b.dials, time.Now())
	if b.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errRefused}
	}
	conn, err := b.Miniredis.Dial()
	if err == nil {
		b.conns = append(b.conns, conn)
	}
	return conn, err
}

func (b *redisBox) options() *redis.Options { return &redis.Options{Addr: "box:6379", Dialer: b.dial} }

// connect makes a client that New takes, and closes it with the test.
func connect(tb testing.TB, o *redis.Options) *redis.Client {
	conn := redis.NewClient(plain(o))
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func plain(o *redis.Options) *redis.Options {
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// cut ends all connections, and refuses new ones while refuse is set.
func (b *redisBox) cut(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = refuse
	for _, conn := range b.conns {
		conn.Close()
	}
	b.conns = nil
}

func (b *redisBox) refuse(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = on
}

// dialTimes returns when connections were tried, and forgets them.
func (b *redisBox) dialTimes() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := b.dials
	b.dials = nil
	return times
}

// hook has f see every command; it returns true when it has answered.
func (b *redisBox) hook(f func(c *server.Peer, cmd string, args ...string) bool) {
	b.Server().SetPreHook(f)
}

// events collects what a Subscriber reports.
type events struct {
	mu      sync.Mutex
	gaps    []subscriber.Gap
	resumed []subscriber.Resumed
	errs    []*subscriber.HandlerError
	order   []string
}

func (e *events) attach(o *subscriber.Options) {
	o.OnGap = func(g subscriber.Gap) { e.add("gap", func() { e.gaps = append(e.gaps, g) }) }
	o.OnResumed = func(r subscriber.Resumed) { e.add("resumed", func() { e.resumed = append(e.resumed, r) }) }
	o.OnError = func(_ context.Context, err *subscriber.HandlerError) {
		e.add("error", func() { e.errs = append(e.errs, err) })
	}
}

func (e *events) add(what string, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.order = append(e.order, what)
	f()
}

// Gaps are those reported, but for those of groups that are new.
func (e *events) Gaps() []subscriber.Gap {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.gaps), isNewGroup)
}

func (e *events) NewGroups() []subscriber.Gap {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.gaps), func(g subscriber.Gap) bool { return !isNewGroup(g) })
}

func isNewGroup(g subscriber.Gap) bool { return g.Cause == subscriber.CauseNewGroup }

func (e *events) Resumed() []subscriber.Resumed {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.resumed)
}

func (e *events) Errors() []*subscriber.HandlerError {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.errs)
}

func (e *events) Order() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.order)
}

// recorder is a handler that keeps what it got and does as it is told.
type recorder struct {
	mu  sync.Mutex
	ids []string
	do  func(ctx context.Context, id string) error
}

func (r *recorder) handle(ctx context.Context, e *message.Envelope) error {
	r.mu.Lock()
	r.ids = append(r.ids, e.ID)
	do := r.do
	r.mu.Unlock()
	if do != nil {
		return do(ctx, e.ID)
	}
	return nil
}

func (r *recorder) IDs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// status encodes a processing status with an ID.
func status(tb testing.TB, id string) []byte {
	return encode(tb, message.Header{ID: id, Source: "test"}, message.ProcessingStatus{Status: message.StatusStarted})
}

func encode(tb testing.TB, h message.Header, p message.Payload) []byte {
	tb.Helper()
	body, err := message.AppendEncode(nil, h, p)
	require.NoError(tb, err)
	return body
}

// running is a Subscriber whose Run was called.
type running struct {
	*subscriber.Subscriber
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, s *subscriber.Subscriber) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Subscriber: s, t: t, cancel: cancel, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		r.ended <- s.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() { // of a test that has failed
		cancel()
		<-done
	})
	return r
}

// stop cancels Run and returns its error.
func (r *running) stop() error {
	r.cancel()
	return <-r.ended
}

// box starts a Subscriber with a handler for statuses on a Redis in the
// bubble, and waits until all is quiet.
func box(t *testing.T, o subscriber.Options, h subscriber.HandlerFunc) (*redisBox, *running, *events) {
	t.Helper()
	b := newRedisBox(t)
	var e events
	e.attach(&o)
	if o.Logger == nil {
		o.Logger = logcheck.New(t)
	}
	s, err := subscriber.New(connect(t, b.options()), o)
	require.NoError(t, err)
	s.Handle(message.TypeProcessingStatus, h)
	r := start(t, s)
	synctest.Wait()
	return b, r, &e
}

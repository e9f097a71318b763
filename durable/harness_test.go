package durable_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

const (
	channel = "fogis:matches:updates"
	group   = "calendar"
)

// long is never reached when all is well.
const long = time.Minute

func outgoing(n int) message.Outgoing {
	return message.Outgoing{
		ID: fmt.Sprintf("id-%04d", n), Type: message.TypeMatchUpdates,
		Body: fmt.Appendf(nil, `{"message_id":"id-%04d","payload":{"matches":[]}}`, n),
	}
}

// connect is a client of the address with the settings that durable wants.
func connect(tb testing.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	o := &redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true}
	for _, c := range change {
		c(o)
	}
	client := redis.NewClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// newEmbedded is a miniredis for a bubble.
func newEmbedded(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	t.Cleanup(m.Close)
	return m
}

// link is an instance's network to a miniredis.
type link struct {
	redis *miniredis.Miniredis

	mu    sync.Mutex
	down  bool // refuses connections
	hole  bool // what is written is lost
	conns []net.Conn
}

func (l *link) dial(context.Context, string, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	c, err := l.redis.Dial()
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns, c)
	return &linkConn{c, l}, nil
}

// cut ends all connections and refuses new ones until restore.
func (l *link) cut() {
	l.mu.Lock()
	l.down = true
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

type linkConn struct {
	net.Conn
	link *link
}

func (c *linkConn) Write(p []byte) (int, error) {
	c.link.mu.Lock()
	hole := c.link.hole
	c.link.mu.Unlock()
	if hole {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (l *link) client(t *testing.T) *redis.Client {
	// After refused dials go-redis tries again each second, until it sees that
	// the client was closed.
	t.Cleanup(func() { time.Sleep(2 * time.Second) })
	return connect(t, "192.0.2.7:6379", func(o *redis.Options) { o.Dialer = l.dial })
}

func newWriter(tb testing.TB, conn redis.UniversalClient, o durable.WriterOptions) *durable.Writer {
	tb.Helper()
	w, err := durable.NewWriter(conn, o)
	require.NoError(tb, err)
	return w
}

func newReader(tb testing.TB, conn redis.UniversalClient, o durable.ReaderOptions) *durable.Reader {
	tb.Helper()
	r, err := durable.NewReader(conn, channel, group, o)
	require.NoError(tb, err)
	return r
}

// acquire takes the lease, which is released when the test ends.
func acquire(tb testing.TB, r *durable.Reader) *durable.Lease {
	tb.Helper()
	l, err := r.Acquire(tb.Context())
	require.NoError(tb, err)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.Release(ctx)
	})
	return l
}

// publish appends messages n to m.
func publish(tb testing.TB, w *durable.Writer, n, m int) {
	tb.Helper()
	for ; n <= m; n++ {
		_, err := w.Append(tb.Context(), channel, outgoing(n), "")
		require.NoError(tb, err)
	}
}

// read reads until it has so many entries.
func read(tb testing.TB, l *durable.Lease, n int) []durable.Entry {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), long)
	defer cancel()
	var entries []durable.Entry
	for len(entries) < n {
		batch, err := l.Read(ctx)
		require.NoError(tb, err, "after %d of %d entries", len(entries), n)
		entries = append(entries, batch...)
	}
	require.Len(tb, entries, n)
	return entries
}

// ids are the message IDs of entries.
func ids(entries []durable.Entry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, e.ID)
	}
	return list
}

// numbered are the message IDs n to m.
func numbered(n, m int) []string {
	var list []string
	for ; n <= m; n++ {
		list = append(list, outgoing(n).ID)
	}
	return list
}

// replayed are the message IDs in the stream.
func replayed(tb testing.TB, conn redis.UniversalClient) []string {
	tb.Helper()
	var list []string
	for e, err := range durable.Replay(tb.Context(), conn, channel, durable.Position{}) {
		require.NoError(tb, err)
		list = append(list, e.ID)
	}
	return list
}

// servers runs a test on a real Redis and on the embedded one.
func servers(t *testing.T, test func(t *testing.T, addr string)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, realredis.Start(t).Addr())
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, miniredis.RunT(t).Addr())
	})
}

// gaps collects what OnGap is told; that a group is new it keeps apart.
type gaps struct {
	mu     sync.Mutex
	list   []durable.Gap
	groups []durable.Gap
}

func (g *gaps) add(gap durable.Gap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gap.Cause == durable.CauseNewGroup {
		g.groups = append(g.groups, gap)
		return
	}
	g.list = append(g.list, gap)
}

func (g *gaps) newGroups() []durable.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]durable.Gap(nil), g.groups...)
}

func (g *gaps) all() []durable.Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]durable.Gap(nil), g.list...)
}

func errIs(err, target error) bool { return errors.Is(err, target) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// restricted is a client of a user with these rights only.
func restricted(tb testing.TB, server *realredis.Server, rules string) *redis.Client {
	tb.Helper()
	args := []any{"ACL", "SETUSER", "limited", "reset", "on", ">hemligt"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	require.NoError(tb, server.Client(tb).Do(tb.Context(), args...).Err())
	return connect(tb, server.Addr(), func(o *redis.Options) { o.Username, o.Password = "limited", "hemligt" })
}

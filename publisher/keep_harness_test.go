package publisher_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// keeper is a Redis with streams, behind a network whose faults the test
// decides. It works inside a synctest bubble.
type keeper struct {
	redis *miniredis.Miniredis

	mu     sync.Mutex
	down   bool // connections are refused, and those that there were have ended
	losing int  // so many further answers to what writes are lost, with their connection
	conns  []net.Conn
	dials  int // so far
	dead   int // of the connections the first so many have died, and nobody was told
	limit  int // a longer argument ends the connection; zero is none
}

func newKeeper(t testing.TB) *keeper {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	t.Cleanup(m.Close)
	return &keeper{redis: m}
}

func (k *keeper) setDown(down bool) {
	k.mu.Lock()
	k.down = down
	conns := k.conns
	if down {
		k.conns = nil
	}
	k.mu.Unlock()
	if down {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

func (k *keeper) setLimit(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limit = n
}

func (k *keeper) lose(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.losing = n
}

func (k *keeper) dial(context.Context, string, string) (net.Conn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	c, err := k.redis.Dial()
	if err != nil {
		return nil, err
	}
	k.conns = append(k.conns, c)
	k.dials++
	return &keptConn{Conn: c, k: k, number: k.dials}, nil
}

// deaden has nothing come through on the connections that there are.
func (k *keeper) deaden() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = k.dials
}

type keptConn struct {
	net.Conn
	k      *keeper
	number int
	loses  bool
}

func (c *keptConn) Write(p []byte) (int, error) {
	writes := bytes.Contains(p, []byte("xadd")) || bytes.Contains(p, []byte("publish")) || bytes.Contains(p, []byte("evalsha"))
	c.k.mu.Lock()
	if writes && c.k.losing > 0 {
		c.k.losing--
		c.loses = true
	}
	dead := c.number <= c.k.dead
	tooLong := c.k.limit > 0 && len(p) > c.k.limit
	c.k.mu.Unlock()
	if tooLong {
		_ = c.Conn.Close()
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	if dead {
		return len(p), nil // and no answer comes
	}
	return c.Conn.Write(p)
}

func (c *keptConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.loses {
		_ = c.Conn.Close()
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

func (k *keeper) client(t testing.TB) *redis.Client {
	o := options("192.0.2.7:6379")
	o.Dialer = k.dial
	o.PipelinePoolSize = -1 // go-redis cannot see that a pipe was closed while it waited in a pool
	c := redis.NewClient(o)
	t.Cleanup(func() {
		_ = c.Close()
		// After refused dials go-redis tries again each second, until it sees
		// that the client was closed.
		time.Sleep(2 * time.Second)
	})
	return c
}

// kept returns the home teams of what the stream of match_updates has.
func (k *keeper) kept(t testing.TB) []string {
	var names []string
	for _, e := range k.entries(t) {
		names = append(names, homeTeam(t, e.Body))
	}
	return names
}

func (k *keeper) entries(t testing.TB) []durable.Entry {
	c := k.direct()
	defer c.Close()
	var entries []durable.Entry
	for e, err := range durable.Replay(context.Background(), c, message.ChannelMatchUpdates, durable.Position{}) {
		require.NoError(t, err)
		entries = append(entries, e)
	}
	return entries
}

// direct is a client beside the faults.
func (k *keeper) direct() *redis.Client {
	o := options("192.0.2.7:6379")
	o.Dialer = func(context.Context, string, string) (net.Conn, error) { return k.redis.Dial() }
	return redis.NewClient(o)
}

// listener subscribes as a service does and returns what came, in order.
func (k *keeper) listener(t testing.TB) (bodies func() [][]byte) {
	c := k.direct()
	sub := c.Subscribe(t.Context(), message.ChannelMatchUpdates)
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)
	var mu sync.Mutex
	var got [][]byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			mu.Lock()
			got = append(got, []byte(m.Payload))
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = sub.Close()
		_ = c.Close()
		<-done
	})
	return func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return append([][]byte{}, got...)
	}
}

func newOutbox(t testing.TB) *outbox.File { return openOutbox(t, filepath.Join(t.TempDir(), "outbox")) }

func openOutbox(t testing.TB, path string) *outbox.File {
	t.Helper()
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func names(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

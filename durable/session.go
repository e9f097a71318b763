package durable

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// session is one connection. Whatever fails ends it: a reply may have been
// lost, and the entries in it are then found among the group's pending ones.
type session struct {
	client *redis.Client
	cancel context.CancelFunc // closes the connection
	ready  bool               // the group was looked at
	// cursor is the last pending entry read; "" when all have been.
	cursor string
	swept  bool // the pending ones have been read for strays just now
}

// connect opens the session. Its connection ends with the lease, with ctx while
// Read runs, and when the session is hung up.
func (l *Lease) connect(ctx context.Context) error {
	o, err := topology.Options(ctx, l.r.conn, l.r.channel)
	if err != nil {
		return err
	}
	sctx, cancel := context.WithCancel(l.ctx)
	dial := l.r.opts.Dialer
	if dial == nil {
		dial = o.Dialer
	}
	o.Dialer = topology.Quiet(func(_ context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(sctx, network, addr)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(sctx, func() { _ = conn.Close() })
		return &idleConn{conn}, nil
	})
	topology.Plain(o)
	o.ReadTimeout, o.WriteTimeout = readIdle, readIdle
	s := &session{client: redis.NewClient(o), cancel: cancel}
	context.AfterFunc(sctx, func() { _ = s.client.Close() })
	l.session = s
	return nil
}

func (l *Lease) hangUp() {
	if l.session != nil {
		l.session.cancel()
		l.session = nil
	}
}

// idleConn ends a read when no byte came for a time. The deadline of go-redis
// holds for a whole answer instead, and would end a large batch on a slow line
// in its middle; it is ignored.
type idleConn struct{ net.Conn }

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(readIdle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) SetReadDeadline(time.Time) error { return nil }

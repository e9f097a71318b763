package bench_test

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// gate holds back what connections read, so that a reader finds all messages
// of a slice ready when the clock starts.
type gate struct {
	closed atomic.Pointer[chan struct{}] // nil while the gate is open
}

func (g *gate) shut() {
	c := make(chan struct{})
	g.closed.Store(&c)
}

func (g *gate) open() {
	if c := g.closed.Swap(nil); c != nil {
		close(*c)
	}
}

// guard has every connection of the options read through the gate.
func (g *gate) guard(o *redis.Options) {
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &guarded{conn, g}, nil
	}
}

type guarded struct {
	net.Conn
	gate *gate
}

// Read waits after the bytes have come: a reader that was waiting for them
// before the gate was shut does not slip through.
func (c *guarded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if closed := c.gate.closed.Load(); closed != nil {
		<-*closed
	}
	return n, err
}

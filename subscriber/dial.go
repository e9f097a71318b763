package subscriber

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialer opens connections as the user's options ask. Unlike the dialer of
// go-redis it heeds the context during the TLS handshake.
type dialer struct {
	options *redis.Options
	idle    time.Duration // without an answer for so long the peer is dead
}

func (d dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.options.Dialer != nil {
		return d.options.Dialer(ctx, network, addr)
	}
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: d.idle, Interval: d.idle / 2, Count: 3},
	}
	if strings.HasPrefix(network, "tcp") {
		nd.ControlContext = func(_ context.Context, _, _ string, raw syscall.RawConn) error {
			return limitUnacknowledged(raw, d.idle)
		}
	}
	conn, err := nd.DialContext(ctx, network, addr)
	if err != nil || d.options.TLSConfig == nil {
		return conn, err
	}
	config := d.options.TLSConfig
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// idleConn ends a read when no byte came for idle. The deadline of go-redis
// holds for a whole reply instead, and would end a large message on a slow
// line in its middle; it is ignored. Ours may come a
// thousandth early, so that of many reads in a row few set it.
type idleConn struct {
	net.Conn
	idle  time.Duration
	until time.Time // the deadline
	// waited is the longest that a read took since the reader set it to zero.
	waited time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	began := time.Now()
	if until := began.Add(c.idle); until.Sub(c.until) > c.idle/1000 {
		c.until = until
		if err := c.Conn.SetReadDeadline(c.until); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.waited = max(c.waited, time.Since(began))
	return n, err
}

func (c *idleConn) SetReadDeadline(time.Time) error { return nil }

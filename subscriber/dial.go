package subscriber

import (
	"context"
	"net"
	"time"
)

// dialer is a Dialer of go-redis' options.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// watchPeer has the kernel end a connection whose peer gives no sign for idle,
// so that one which is closed with bytes unsent does not linger.
func watchPeer(conn net.Conn, idle time.Duration) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok { // of TLS
		conn = secure.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// Where this fails, the deadlines of the session still hold.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: idle / 2, Count: 3})
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = limitUnacknowledged(raw, idle)
	}
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

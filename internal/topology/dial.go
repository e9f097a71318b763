package topology

import (
	"context"
	"net"
	"time"
)

// Dialer is a Dialer of go-redis' options.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Quiet has a failed dial told by the first write or read of a connection that
// is none. go-redis prints every dial that fails by a logger of its own, which
// an outage of a day would fill, and goes on dialing in a goroutine that ends
// with nothing.
func Quiet(dial Dialer) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return undialed{&dialError{err}}, nil
		}
		return conn, nil
	}
}

// dialError is a layer around the error of a dial. go-redis takes one away from
// what fails in a connection's first exchange.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// undialed is what stands for a connection that could not be opened.
type undialed struct{ err error }

func (c undialed) Read([]byte) (int, error)       { return 0, c.err }
func (c undialed) Write([]byte) (int, error)      { return 0, c.err }
func (undialed) Close() error                     { return nil }
func (undialed) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (undialed) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (undialed) SetDeadline(time.Time) error      { return nil }
func (undialed) SetReadDeadline(time.Time) error  { return nil }
func (undialed) SetWriteDeadline(time.Time) error { return nil }

package faultnet

import (
	"net"
	"testing"
)

// Reserve returns a loopback address, "127.0.0.1:port", on which nobody
// listens and which is kept for the caller until the test ends: connecting to
// it is refused, and no other socket gets its port by chance. A listener that
// sets SO_REUSEADDR, as Go's and redis-server's do, may take it, give it back
// and take it again.
//
// On Linux the port is held by a bound socket. Without it a client that dials
// a closed port again and again may one day be given that port as its own and
// connect to itself. Elsewhere the port is only known to have been free.
func Reserve(tb testing.TB) string {
	tb.Helper()
	addr, release, err := reserve()
	if err != nil {
		tb.Fatalf("faultnet: reserve a loopback port: %v", err)
	}
	tb.Cleanup(release)
	return addr
}

// listen opens addr, a loopback address with its port.
func listen(addr string) (*net.TCPListener, error) {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

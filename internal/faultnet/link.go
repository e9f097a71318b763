package faultnet

import (
	"io"
	"net"
	"sync"
	"time"
)

// link is one client connection and its connection to the target.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	target string
	done   chan struct{} // closed by close

	mu     sync.Mutex
	server *net.TCPConn // nil until dialled
	closed bool
	lost   *lostAnswer // the next answer is dropped and ends the link
}

func newLink(p *Proxy, client *net.TCPConn) *link {
	return &link{proxy: p, client: client, target: p.target, done: make(chan struct{})}
}

func (l *link) run() {
	defer l.proxy.forget(l)
	defer l.close(false)
	if !l.pass() {
		return
	}
	c, err := net.Dial("tcp", l.target)
	if err != nil {
		l.pass() // the end too is held back by a black hole
		return
	}
	server := c.(*net.TCPConn)
	l.mu.Lock()
	l.server = server
	closed := l.closed
	l.mu.Unlock()
	if closed {
		_ = server.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.requests(server) })
	both.Go(func() { l.answers(server) })
	both.Wait()
}

// requests copies from the client to the server.
func (l *link) requests(server *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		if !l.pass() {
			return
		}
		n, err := l.client.Read(buf)
		if !l.pass() {
			return
		}
		if n > 0 {
			// Before the request goes out, lest the answer be quicker.
			if lost := l.proxy.takeLost(buf[:n]); lost != nil {
				l.mu.Lock()
				l.lost = lost
				l.mu.Unlock()
			}
			if !l.write(server, buf[:n]) {
				l.close(false)
				return
			}
		}
		if err != nil {
			l.finish(server, err)
			return
		}
	}
}

// answers copies from the server to the client.
func (l *link) answers(server *net.TCPConn) {
	buf := make([]byte, 32<<10)
	var pushes messageFilter
	halved := false
	for {
		if !l.pass() {
			return
		}
		n, err := server.Read(buf)
		if !l.pass() {
			return
		}
		chunk := buf[:n]
		if n > 0 {
			if lost := l.takeLost(); lost != nil {
				l.close(false)
				close(lost.done)
				return
			}
			f, _ := l.proxy.now()
			if f.dropMessages {
				chunk = pushes.filter(chunk)
			} else {
				pushes = messageFilter{}
			}
			if f.filter != nil {
				chunk = f.filter(chunk)
			}
			if f.swallow || halved {
				chunk = nil
			}
		}
		var half chan struct{}
		if len(chunk) >= 2 {
			if half = l.proxy.takeHalf(); half != nil {
				chunk, halved = chunk[:len(chunk)/2], true
			}
		}
		if len(chunk) > 0 && !l.write(l.client, chunk) {
			l.close(false)
			return
		}
		if half != nil {
			close(half)
		}
		if err != nil {
			l.finish(l.client, err)
			return
		}
	}
}

func (l *link) takeLost() *lostAnswer {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.lost
	l.lost = nil
	return lost
}

// pass waits while the black hole is open and tells whether the link still is.
func (l *link) pass() bool {
	for {
		f, changed := l.proxy.now()
		if !f.blackHole {
			return !l.isClosed()
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// write sends b at the pace in force and tells whether that worked.
func (l *link) write(to io.Writer, b []byte) bool {
	for len(b) > 0 {
		if !l.pass() {
			return false
		}
		f, _ := l.proxy.now()
		n := len(b)
		if f.rate > 0 {
			n = min(n, max(1, f.rate/50))
		}
		if f.byteByByte {
			n = 1
		}
		if f.rate > 0 && !l.wait(time.Duration(n)*time.Second/time.Duration(f.rate)) {
			return false
		}
		if _, err := to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

func (l *link) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// finish passes the end of one side on to the other: an orderly end closes
// that direction only, anything else the link.
func (l *link) finish(to *net.TCPConn, err error) {
	if err == io.EOF && to.CloseWrite() == nil {
		return
	}
	l.close(err != io.EOF)
}

func (l *link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *link) close(reset bool) {
	l.mu.Lock()
	server, closed := l.server, l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	close(l.done)
	if reset {
		_ = l.client.SetLinger(0)
	}
	_ = l.client.Close()
	if server != nil {
		_ = server.Close()
	}
}

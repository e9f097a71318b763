// Package faultnet is a TCP proxy for tests that breaks the traffic between a
// client and a server in the ways a network does: it cuts, refuses, stays
// silent, loses answers, stops in mid-frame and crawls.
//
// Faults are switched at run time and hold for every connection of the proxy.
// Switching is safe from any goroutine and takes effect on bytes that have not
// passed yet. The proxy works on real sockets of the loopback interface, so it
// is no use inside a testing/synctest bubble.
package faultnet

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards connections to one target. Make it with [New].
type Proxy struct {
	tb   testing.TB
	addr string
	wg   sync.WaitGroup

	mu       sync.Mutex
	target   string
	listener *net.TCPListener // nil while refusing
	links    map[*link]struct{}
	total    int
	closed   bool
	faults   faults
	changed  chan struct{} // closed and replaced when faults change
}

// faults is what the links look up before each step.
type faults struct {
	blackHole    bool
	swallow      bool
	byteByByte   bool
	dropMessages bool
	rate         int
	filter       func([]byte) []byte
	half         chan struct{} // armed HalfFrame
	lost         *lostAnswer   // armed SwallowNextAnswer
}

type lostAnswer struct {
	contains []byte // lower case; empty matches any request
	done     chan struct{}
}

// New starts a proxy in front of targetAddr on a loopback port of its own. It
// dials the target anew for each connection, so the target may come and go; a
// connection made while the target is away is accepted and then closed. The
// proxy, its connections and its goroutines are gone when the test has cleaned
// up.
func New(tb testing.TB, targetAddr string) *Proxy {
	tb.Helper()
	p := &Proxy{
		tb:      tb,
		addr:    Reserve(tb),
		target:  targetAddr,
		links:   map[*link]struct{}{},
		changed: make(chan struct{}),
	}
	p.open()
	tb.Cleanup(p.close)
	return p
}

// Addr is the address to connect to. It stays the same through [Proxy.Refuse].
func (p *Proxy) Addr() string { return p.addr }

// Conns tells how many connections were accepted since the start and how many
// of them are open now.
func (p *Proxy) Conns() (total, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total, len(p.links)
}

// Retarget leads new connections to another target, as a service name does that
// moves. Current connections stay where they are.
func (p *Proxy) Retarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut ends all current connections in the orderly way (FIN), in both
// directions. New ones are still accepted.
func (p *Proxy) Cut() { p.cut(false) }

// Reset ends all current connections abruptly (RST): the client's next read or
// write fails with "connection reset by peer".
func (p *Proxy) Reset() { p.cut(true) }

func (p *Proxy) cut(reset bool) {
	for _, l := range p.current() {
		l.close(reset)
	}
	// Closed links leave the list by themselves; wait until Conns tells so.
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if l.isClosed() {
			delete(p.links, l)
		}
	}
}

// Refuse closes the listening socket, so that new connections are refused, or
// opens it again on the same port. Current connections stay: an outage is
// Refuse(true) and then [Proxy.Cut].
func (p *Proxy) Refuse(on bool) {
	p.tb.Helper()
	p.mu.Lock()
	l := p.listener
	if on {
		p.listener = nil
	}
	p.mu.Unlock()
	switch {
	case on && l != nil:
		_ = l.Close()
	case !on && l == nil:
		p.open()
	}
}

// BlackHole stops all bytes in both directions, and the ends of connections
// too, as when packets are lost: connections stay open, new ones are accepted,
// nobody is told. What was sent meanwhile arrives when the hole is closed.
func (p *Proxy) BlackHole(on bool) { p.change(func(f *faults) { f.blackHole = on }) }

// SwallowAnswers drops what the server sends for as long as it is on; requests
// reach the server.
func (p *Proxy) SwallowAnswers(on bool) { p.change(func(f *faults) { f.swallow = on }) }

// ByteByByte passes every byte in a write of its own, in both directions. The
// reader may still find more than one waiting.
func (p *Proxy) ByteByByte(on bool) { p.change(func(f *faults) { f.byteByByte = on }) }

// Slow limits each direction of each connection to so many bytes a second;
// zero or less ends it. At low rates the reader still gets a byte now and then
// rather than a burst a second.
func (p *Proxy) Slow(bytesPerSecond int) { p.change(func(f *faults) { f.rate = bytesPerSecond }) }

// FilterToClient hands every chunk that the server sends to f and passes what
// f returns; nil ends it. Chunks are as TCP brings them: a frame may come in
// several, and a chunk may hold several frames. f is called from the goroutine
// of each connection and may keep nothing of the chunk.
func (p *Proxy) FilterToClient(f func(chunk []byte) []byte) {
	p.change(func(fs *faults) { fs.filter = f })
}

// DropMessages drops the pub/sub messages that Redis pushes while everything
// else passes, confirmations and PONGs above all: the subscription looks alive
// and delivers nothing. Switch it on between answers, since frames are counted
// from then on. It speaks RESP2 and RESP3.
func (p *Proxy) DropMessages(on bool) { p.change(func(f *faults) { f.dropMessages = on }) }

// HalfFrame lets only the first half of the next chunk from the server pass
// (of at least two bytes, on whichever connection it comes) and nothing of
// that connection's answers after it: the client waits in mid-frame. The
// connection stays open; follow with [Proxy.Cut] for an end in mid-frame. The
// channel is closed when the half has been sent.
func (p *Proxy) HalfFrame() <-chan struct{} {
	done := make(chan struct{})
	p.change(func(f *faults) { f.half = done })
	return done
}

// SwallowNextAnswer loses the answer to one request: the next bytes from a
// client, which with an argument must contain that text in any case, are
// forwarded; when the answer of the server comes it is dropped and the
// connection is cut. So the server did what was asked and the client cannot
// know. Name the command ("publish") if the client may dial first, since a
// greeting is a request too. The channel is closed when the connection is cut.
func (p *Proxy) SwallowNextAnswer(contains ...string) <-chan struct{} {
	var text []byte
	for _, s := range contains {
		text = append(text, s...)
	}
	lost := &lostAnswer{contains: bytes.ToLower(text), done: make(chan struct{})}
	p.change(func(f *faults) { f.lost = lost })
	return lost.done
}

// Disarm takes back a HalfFrame and a SwallowNextAnswer that have not come
// about. Their channels stay open.
func (p *Proxy) Disarm() { p.change(func(f *faults) { f.half, f.lost = nil, nil }) }

func (p *Proxy) change(set func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// now returns the faults in force and a channel that is closed when they
// change.
func (p *Proxy) now() (faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

// takeHalf disarms HalfFrame for the caller, if it is armed.
func (p *Proxy) takeHalf() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.faults.half
	p.faults.half = nil
	return done
}

// takeLost disarms SwallowNextAnswer for the caller if request is the one that
// it waits for.
func (p *Proxy) takeLost(request []byte) *lostAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := p.faults.lost
	if lost == nil || !bytes.Contains(bytes.ToLower(request), lost.contains) {
		return nil
	}
	p.faults.lost = nil
	return lost
}

func (p *Proxy) current() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

// open listens on the proxy's address. Another socket may hold it for a moment
// where a port cannot be reserved, hence the deadline.
func (p *Proxy) open() {
	p.tb.Helper()
	var l *net.TCPListener
	var err error
	for deadline := time.Now().Add(time.Minute); ; {
		if l, err = listen(p.addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			p.tb.Errorf("faultnet: listen again on %s: %v", p.addr, err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != nil {
		_ = l.Close()
		return
	}
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
}

func (p *Proxy) accept(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a connection that was gone before it was accepted
		}
		p.mu.Lock()
		p.total++
		link := newLink(p, c)
		if p.closed {
			p.mu.Unlock()
			_ = c.Close()
			return
		}
		p.links[link] = struct{}{}
		p.wg.Go(link.run)
		p.mu.Unlock()
	}
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	p.cut(false)
	p.wg.Wait()
}

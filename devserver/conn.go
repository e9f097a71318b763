package devserver

import (
	"errors"
	"net"
	"sync"
)

// conn stands between a client and miniredis and takes from miniredis whatever
// it writes, at once. miniredis writes while it holds the lock of the whole
// server: a client that does not read would otherwise stop every command of
// every client.
type conn struct {
	client net.Conn
	redis  net.Conn
	limit  int           // negative: none
	wake   chan struct{} // says that pending or drained has changed

	mu         sync.Mutex
	pending    []byte // read from redis, not yet taken for writing
	writing    int    // taken, not yet written to the client
	subscribed bool   // has ever subscribed: the limit holds
	drained    bool   // redis will send no more
	overflow   bool
	http       bool // the client spoke HTTP
}

func newConn(client, redis net.Conn, limit int) *conn {
	return &conn{client: client, redis: redis, limit: limit, wake: make(chan struct{}, 1)}
}

// run copies both ways until one side ends. It says why the client was
// disconnected, "" when that was its own doing.
func (c *conn) run() (why string) {
	var pumps sync.WaitGroup
	pumps.Go(c.forward)
	pumps.Go(c.drain)
	c.write()
	c.close()
	pumps.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.overflow:
		return "embedded Redis disconnected a client that does not read"
	case c.http:
		return "embedded Redis disconnected a client that speaks HTTP; a web page may be attacking it"
	}
	return ""
}

// forward passes the client's commands on. The end of the client ends the
// connection, answers that it has not read included, as in Redis.
func (c *conn) forward() {
	defer c.close()
	requests := newRequests(c.client)
	for {
		name, raw, err := requests.next()
		if err != nil {
			c.mu.Lock()
			c.http = errors.Is(err, errHTTP)
			c.mu.Unlock()
			return
		}
		if name == "SUBSCRIBE" || name == "PSUBSCRIBE" {
			c.mu.Lock()
			c.subscribed = true
			c.mu.Unlock()
		}
		if _, err := c.redis.Write(raw); err != nil {
			return
		}
	}
}

// drain reads from miniredis until it closes or the client has too much
// waiting.
func (c *conn) drain() {
	defer func() {
		c.mu.Lock()
		c.drained = true
		c.mu.Unlock()
		c.signal()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := c.redis.Read(buf)
		if n > 0 && !c.keep(buf[:n]) {
			c.close()
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *conn) keep(b []byte) bool {
	c.mu.Lock()
	c.pending = append(c.pending, b...)
	if c.subscribed && c.limit >= 0 && len(c.pending)+c.writing > c.limit {
		c.overflow = true
		c.pending = nil
	}
	ok := !c.overflow
	c.mu.Unlock()
	c.signal()
	return ok
}

// write passes on what drain has kept until that has ended and all is written,
// or the client is gone.
func (c *conn) write() {
	var spare []byte
	for range c.wake {
		for {
			c.mu.Lock()
			b, drained := c.pending, c.drained
			c.pending = spare[:0]
			c.writing = len(b)
			c.mu.Unlock()
			if len(b) == 0 {
				if drained {
					return
				}
				spare = b
				break
			}
			if _, err := c.client.Write(b); err != nil {
				return
			}
			spare = b
			const keep = 256 << 10 // a burst must not hold its memory for ever
			if cap(spare) > keep {
				spare = nil
			}
		}
	}
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close may be called again and from any goroutine.
func (c *conn) close() {
	_ = c.client.Close()
	_ = c.redis.Close()
}

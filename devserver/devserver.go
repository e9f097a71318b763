// Package devserver is an embedded Redis for development and for tests: it
// needs nothing installed, keeps everything in memory and starts empty.
//
//	server, err := devserver.Start(devserver.Options{})
//	// handle err
//	defer server.Close()
//	// connect to server.URL()
//
// It is miniredis with what development needs besides. A client that stops reading
// is disconnected, as in Redis, instead of blocking all others; so is one that
// speaks HTTP, such as a web page. Keys expire as time goes by. INFO and CONFIG GET
// answer what health checks ask for. It is not for production: nothing survives
// it, anybody who can connect may do everything, and commands are missing (ACL,
// CLIENT KILL, sharded pub/sub among others), which it answers with an error.
//
// Only programs and tests import this package. Libraries of the project do
// not, so that who uses them does not link miniredis.
package devserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// ErrClosed is what [Server.Dial] returns after [Server.Close].
var ErrClosed = errors.New("devserver: closed")

// Options are the settings of a [Server]. The zero value is a server on a free
// loopback port.
type Options struct {
	// Addr is the host:port to listen on. Empty means a free port of
	// 127.0.0.1. The host must be "localhost" or a loopback address unless
	// AllowRemote is set.
	Addr string

	// AllowRemote permits an Addr that other machines can reach. The server
	// asks nobody for a password.
	AllowRemote bool

	// OutputLimit is how many bytes may wait for a subscribed client that does
	// not read before it is disconnected. Zero means 32 MiB, as in Redis;
	// negative means no limit. Clients without a subscription have none, as in
	// Redis.
	OutputLimit int

	// Logger gets the start and clients that are disconnected. Nil
	// means slog.Default().
	Logger *slog.Logger
}

const defaultOutputLimit = 32 << 20

// Server is an embedded Redis. Make it with [Start], or with [New] if nothing
// is to listen. Its methods may be called from any goroutine.
type Server struct {
	redis   *miniredis.Miniredis
	limit   int
	log     *slog.Logger
	started time.Time
	pumps   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
	closed   bool
}

// Start returns a server that listens on options.Addr, and says so in the log
// at level warn. An error names the setting that is wrong or the address that
// could not be had.
func Start(options Options) (*Server, error) {
	addr := options.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if !options.AllowRemote {
		if err := checkLoopback(addr); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("devserver: listen on Options.Addr: %w", err)
	}
	s, err := New(options)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	s.listener = l
	s.pumps.Go(func() { s.accept(l) })
	s.log.Warn("embedded Redis for development: in memory, without password, not for production", "addr", s.Addr())
	return s, nil
}

// New returns a server that listens nowhere and is reached by [Server.Dial]
// alone. Addr and AllowRemote are not looked at. In a testing/synctest bubble
// call it inside the bubble: keys then expire by the bubble's clock.
func New(options Options) (*Server, error) {
	limit := options.OutputLimit
	if limit == 0 {
		limit = defaultOutputLimit
	}
	log := options.Logger
	if log == nil {
		log = slog.Default()
	}
	s := &Server{
		redis:   miniredis.NewMiniRedis(),
		limit:   limit,
		log:     log,
		started: time.Now(),
		conns:   map[*conn]struct{}{},
	}
	s.redis.ClockTTL(true)
	// The first connection brings miniredis up; only then can it be given the
	// commands that it lacks.
	c, err := s.redis.Dial()
	if err != nil {
		return nil, fmt.Errorf("devserver: %w", err)
	}
	s.redis.Server().SetPreHook(s.answer)
	if err := c.Close(); err != nil {
		return nil, fmt.Errorf("devserver: %w", err)
	}
	return s, nil
}

// Addr is the host:port that the server listens on, or empty if it does not.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// URL is the server's address as redis://host:port/0, or empty if it does not
// listen.
func (s *Server) URL() string {
	addr := s.Addr()
	if addr == "" {
		return ""
	}
	return "redis://" + addr + "/0"
}

// Dial returns a connection within the process, over no network. It fits the
// Dialer of go-redis and works in a testing/synctest bubble.
func (s *Server) Dial() (net.Conn, error) {
	client, ours := net.Pipe()
	if err := s.serve(ours); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// Close ends the server and its connections, drops all data and returns when
// none of its goroutines is left. Closing again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	l := s.listener
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	if !closed {
		if l != nil {
			_ = l.Close()
		}
		for c := range conns {
			c.close()
		}
	}
	s.pumps.Wait()
	s.redis.Close()
	return nil
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, mostly: some come back.
			s.log.Error("embedded Redis cannot accept", "err", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		_ = s.serve(c)
	}
}

// serve answers client until either side ends. It owns client.
func (s *Server) serve(client net.Conn) error {
	redis, err := s.redis.Dial()
	if err != nil {
		_ = client.Close()
		return fmt.Errorf("devserver: %w", err)
	}
	c := newConn(client, redis, s.limit)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.close()
		return ErrClosed
	}
	s.conns[c] = struct{}{}
	s.pumps.Go(func() {
		if why := c.run(); why != "" {
			s.log.Warn(why)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	})
	s.mu.Unlock()
	return nil
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("devserver: Options.Addr: %w (want host:port)", err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("devserver: Options.Addr %q can be reached from other machines and the server asks for no password: use 127.0.0.1, or set AllowRemote", addr)
}

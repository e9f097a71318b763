// Package realredis runs a redis-server process for tests that need the real
// one: kills, half-open connections, output-buffer limits, ACL.
//
// Each server listens on a loopback port of its own, keeps nothing on disk
// outside the test's temporary directory, and is killed when the test ends, or
// on Linux when the test binary does.
package realredis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/redis/go-redis/v9"
)

// patience bounds every wait for the server. A loaded machine may be slow; a
// healthy one needs some milliseconds.
const patience = 2 * time.Minute

var errAddressInUse = errors.New("address already in use")

// Server is one redis-server, running or not. Its methods fail the test when
// they cannot do what they say, so call them from the test's goroutine.
type Server struct {
	tb      testing.TB
	program string
	args    []string
	env     []string
	dir     string
	addr    string
	process *process // nil while stopped
}

// Start runs a redis-server and returns when it answers. Persistence is off;
// args are given to the server last and so override that
// ("--requirepass", "x"). It skips or fails the test without redis-server, as
// [Require] says.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := New(tb, args...)
	err := s.start()
	// Only where a port cannot be kept reserved can somebody be quicker.
	for try := 0; try < 3 && errors.Is(err, errAddressInUse); try++ {
		s.addr = faultnet.Reserve(tb)
		err = s.start()
	}
	if err != nil {
		tb.Fatalf("realredis: %v", err)
	}
	return s
}

// New reserves the address of a server and does not start it: connections to
// it are refused until [Server.Start]. Otherwise it is like the function
// Start.
func New(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := &Server{
		tb:      tb,
		program: Require(tb, "redis-server"),
		args:    args,
		dir:     tb.TempDir(),
		addr:    faultnet.Reserve(tb),
	}
	tb.Cleanup(s.Stop)
	return s
}

// Setenv adds variables, "name=value", to the environment of every start from
// now on.
func (s *Server) Setenv(variables ...string) { s.env = append(s.env, variables...) }

// Addr is the server's host:port. It stays the same over restarts.
func (s *Server) Addr() string { return s.addr }

// URL is the server's address as redis://host:port/0, without credentials.
func (s *Server) URL() string { return "redis://" + s.addr + "/0" }

// Options are plain go-redis options for the server, fresh on every call, with
// the client's own retries off.
func (s *Server) Options() *redis.Options {
	return &redis.Options{Addr: s.addr, MaxRetries: -1}
}

// Client is a client with [Server.Options] that is closed when tb ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	c := redis.NewClient(s.Options())
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// PID is the process ID, or zero while the server is stopped.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.os.Pid
}

// Start runs the stopped server again on its address and returns when it
// answers.
func (s *Server) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("realredis: %v", err)
	}
}

// Stop kills the server (SIGKILL) and returns when it is gone, its sockets
// with it. A stopped server stays stopped.
func (s *Server) Stop() {
	s.tb.Helper()
	p := s.process
	if p == nil {
		return
	}
	s.process = nil
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Errorf("realredis: kill process %d: %v", p.os.Pid, err)
		return
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		s.tb.Errorf("realredis: process %d is alive %s after SIGKILL", p.os.Pid, patience)
	}
}

// Restart is [Server.Stop] and [Server.Start]: all connections and, unless
// args switched persistence on, all data are lost.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Pause freezes the server (SIGSTOP). The kernel still accepts connections and
// acknowledges bytes for it, and nothing is answered.
func (s *Server) Pause() {
	s.tb.Helper()
	s.send(freeze)
	pid := s.PID()
	for deadline := time.Now().Add(patience); !stopped(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatalf("realredis: process %d runs %s after SIGSTOP", pid, patience)
		}
	}
}

// Resume lets a paused server go on (SIGCONT). It first works off what came in
// meanwhile.
func (s *Server) Resume() {
	s.tb.Helper()
	s.send(thaw)
}

// Follow makes the server a replica of another one, as a failover does with the
// old master, and returns when it has become one. Its connections stay.
func (s *Server) Follow(master *Server) {
	s.tb.Helper()
	host, port, err := net.SplitHostPort(master.addr)
	if err != nil {
		s.tb.Fatalf("realredis: %v", err)
	}
	c := redis.NewClient(s.Options())
	defer c.Close()
	if err := c.ReplicaOf(s.tb.Context(), host, port).Err(); err != nil {
		s.tb.Fatalf("realredis: %s does not follow %s: %v", s.addr, master.addr, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		info, err := c.Info(s.tb.Context(), "replication").Result()
		if err == nil && strings.Contains(info, "master_link_status:up") {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("realredis: %s does not follow %s: %v\n%s", s.addr, master.addr, err, info)
		}
	}
}

// Log is what the server wrote to its log over all its starts.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.tb.Errorf("realredis: %v", err)
	}
	return string(text)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "redis-server.log") }

func (s *Server) send(sig syscall.Signal) {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatalf("realredis: %v to a stopped server", sig)
	}
	if err := s.process.signal(sig); err != nil {
		s.tb.Fatalf("realredis: %v to process %d: %v", sig, s.PID(), err)
	}
}

func (s *Server) start() error {
	if s.process != nil {
		return fmt.Errorf("the server at %s runs already", s.addr)
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	before := len(s.Log())
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own copy
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, s.args...)
	cmd := exec.Command(s.program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := spawn(cmd)
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.process = p
	for deadline := time.Now().Add(patience); !answers(s.addr); time.Sleep(2 * time.Millisecond) {
		switch {
		case p.ended():
			s.process = nil
			log := s.Log()[before:]
			if strings.Contains(log, "Address already in use") {
				return fmt.Errorf("redis-server at %s: %w", s.addr, errAddressInUse)
			}
			return fmt.Errorf("redis-server ended at once; its log:\n%s", log)
		case time.Now().After(deadline):
			return fmt.Errorf("redis-server gave no answer on %s within %s; its log:\n%s", s.addr, patience, s.Log()[before:])
		}
	}
	return nil
}

// answers tells whether the server has come up: it answers PING, or asks for a
// password. While it loads its data it does neither.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	return err == nil && (bytes.HasPrefix(line, []byte("+PONG")) || bytes.HasPrefix(line, []byte("-NOAUTH")))
}

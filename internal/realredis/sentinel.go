package realredis

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
)

// MasterName is the name under which a [Sentinel] knows its master.
const MasterName = "main"

// Sentinel is a process that watches a master with one replica, and lets that
// take its place.
type Sentinel struct {
	tb      testing.TB
	addr    string
	Master  *Server // at the start
	Replica *Server
}

// StartSentinel runs a master, a replica and a Sentinel, and returns when these
// know each other. A master that dies is followed within some two seconds. It
// skips or fails the test without redis-server, as [Require] says.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	program := Require(tb, "redis-server") // which redis-sentinel is another name of
	s := &Sentinel{tb: tb, addr: faultnet.Reserve(tb), Master: Start(tb, "--repl-diskless-sync-delay", "0")}
	host, port, err := net.SplitHostPort(s.Master.Addr())
	if err != nil {
		tb.Fatalf("realredis: %v", err)
	}
	s.Replica = Start(tb, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	_, own, err := net.SplitHostPort(s.addr)
	if err != nil {
		tb.Fatalf("realredis: %v", err)
	}
	file := filepath.Join(tb.TempDir(), "sentinel.conf")
	text := fmt.Appendf(nil, `bind 127.0.0.1
port %s
sentinel monitor %[2]s %[3]s %[4]s 1
sentinel down-after-milliseconds %[2]s 500
sentinel failover-timeout %[2]s 5000
`, own, MasterName, host, port)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatalf("realredis: %v", err)
	}
	cmd := exec.Command(program, file, "--sentinel")
	p, err := spawn(cmd)
	if err != nil {
		tb.Fatalf("realredis: start the Sentinel: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	watch := s.client()
	defer watch.Close()
	deadline := time.Now().Add(patience)
	for !answers(s.addr) {
		if time.Now().After(deadline) {
			tb.Fatalf("realredis: the Sentinel does not answer on %s", s.addr)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for ; ; time.Sleep(20 * time.Millisecond) {
		replicas, err := watch.Replicas(tb.Context(), MasterName).Result()
		if err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok" {
			return s
		}
		if time.Now().After(deadline) {
			tb.Fatalf("realredis: the Sentinel does not find the replica: %v", err)
		}
	}
}

// Addr is the Sentinel's host:port.
func (s *Sentinel) Addr() string { return s.addr }

// URL is the address of the master by way of the Sentinel.
func (s *Sentinel) URL() string { return "redis+sentinel://" + s.addr + "/" + MasterName }

// Failover has the replica take the living master's place, at once: what was
// not replicated by then is lost. It returns when the Sentinel names the
// replica.
func (s *Sentinel) Failover() {
	s.tb.Helper()
	watch := s.client()
	defer watch.Close()
	if err := watch.Failover(s.tb.Context(), MasterName).Err(); err != nil {
		s.tb.Fatalf("realredis: SENTINEL FAILOVER: %v", err)
	}
	s.AwaitReplica()
}

// AwaitReplica returns when the Sentinel names the replica as the master.
func (s *Sentinel) AwaitReplica() {
	s.tb.Helper()
	watch := s.client()
	defer watch.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		addr, err := watch.GetMasterAddrByName(s.tb.Context(), MasterName).Result()
		if err == nil && len(addr) == 2 && net.JoinHostPort(addr[0], addr[1]) == s.Replica.Addr() {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("realredis: the Sentinel names %v, not the replica (%v)", addr, err)
		}
	}
}

func (s *Sentinel) client() *redis.SentinelClient {
	return redis.NewSentinelClient(&redis.Options{Addr: s.addr, DialerRetries: 1, MaxRetries: -1})
}

package realredis

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
)

// slots is how many a cluster has.
const slots = 16384

// Cluster is some masters that share the slots, each with the same number of
// replicas.
type Cluster struct {
	tb      testing.TB
	Masters []*Server
	// Replicas follow the masters in turn: the nth is one of master n modulo
	// their number.
	Replicas []*Server
}

// StartCluster runs a cluster and returns when every node sees it whole. A
// master that dies is followed by its replica within some two seconds. It skips
// or fails the test without redis-server, as [Require] says.
func StartCluster(tb testing.TB, masters, replicasEach int) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	node := func() *Server {
		// The bus listens 10 000 above the port unless it is told, which leaves
		// few of the ports that the system gives away.
		_, bus, err := net.SplitHostPort(faultnet.Reserve(tb))
		if err != nil {
			tb.Fatalf("realredis: %v", err)
		}
		return Start(tb, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
	}
	for range masters {
		c.Masters = append(c.Masters, node())
	}
	for range masters * replicasEach {
		c.Replicas = append(c.Replicas, node())
	}
	for i, s := range c.Masters {
		c.do(s, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
	}
	first := c.Masters[0]
	for _, s := range c.all()[1:] {
		host, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			tb.Fatalf("realredis: %v", err)
		}
		c.do(first, "CLUSTER", "MEET", host, port, s.args[3])
	}
	c.await("a whole cluster", func(s *Server) bool {
		info := c.text(s, "CLUSTER", "INFO")
		return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", slots)) &&
			strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.all())))
	})
	for i, s := range c.Replicas {
		c.do(s, "CLUSTER", "REPLICATE", c.text(c.Masters[i%masters], "CLUSTER", "MYID"))
	}
	for i, s := range c.Replicas {
		master := c.Masters[i%masters]
		c.awaitOn(s, "replication", func(s *Server) bool {
			return strings.Contains(c.text(s, "INFO", "replication"), "master_link_status:up")
		})
		c.await("a known replica", func(s *Server) bool {
			return strings.Count(c.text(s, "CLUSTER", "NODES"), "slave "+c.text(master, "CLUSTER", "MYID")) == replicasEach
		})
	}
	return c
}

// URL is the address of the cluster by two of its nodes, which is enough to
// find the others.
func (c *Cluster) URL() string {
	return "redis://" + c.Masters[0].Addr() + "," + c.Masters[len(c.Masters)-1].Addr()
}

// Of returns the master of a key and one of its replicas, as the cluster
// was started.
func (c *Cluster) Of(key string) (master, replica *Server) {
	c.tb.Helper()
	slot, err := strconv.Atoi(c.text(c.Masters[0], "CLUSTER", "KEYSLOT", key))
	if err != nil {
		c.tb.Fatalf("realredis: %v", err)
	}
	for i := range c.Masters {
		if slot < (i+1)*slots/len(c.Masters) {
			if i < len(c.Replicas) {
				replica = c.Replicas[i]
			}
			return c.Masters[i], replica
		}
	}
	c.tb.Fatalf("realredis: slot %d has no master", slot)
	return nil, nil
}

// Failover has a replica take its living master's place in good order: nothing
// that the master has acknowledged is lost. It returns when the replica is the
// master.
func (c *Cluster) Failover(replica *Server) {
	c.tb.Helper()
	c.do(replica, "CLUSTER", "FAILOVER")
	c.AwaitMaster(replica)
}

// AwaitMaster returns when a replica has become a master.
func (c *Cluster) AwaitMaster(replica *Server) {
	c.tb.Helper()
	c.awaitOn(replica, "a new master", func(s *Server) bool {
		return strings.Contains(c.text(s, "INFO", "replication"), "role:master")
	})
}

func (c *Cluster) all() []*Server { return append(append([]*Server{}, c.Masters...), c.Replicas...) }

func (c *Cluster) do(s *Server, args ...any) {
	c.tb.Helper()
	client := redis.NewClient(s.Options())
	defer client.Close()
	if err := client.Do(c.tb.Context(), args...).Err(); err != nil {
		c.tb.Fatalf("realredis: %v on %s: %v", args[:2], s.Addr(), err)
	}
}

// text is the answer as text, "" on an error.
func (c *Cluster) text(s *Server, args ...any) string {
	client := redis.NewClient(s.Options())
	defer client.Close()
	answer, err := client.Do(c.tb.Context(), args...).Result()
	if err != nil {
		return ""
	}
	return fmt.Sprint(answer)
}

func (c *Cluster) await(what string, holds func(*Server) bool) {
	c.tb.Helper()
	for _, s := range c.all() {
		c.awaitOn(s, what, holds)
	}
}

func (c *Cluster) awaitOn(s *Server, what string, holds func(*Server) bool) {
	c.tb.Helper()
	for deadline := time.Now().Add(patience); !holds(s); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.tb.Fatalf("realredis: %s waited in vain for: %s\n%s", s.Addr(), what, c.text(s, "CLUSTER", "NODES"))
		}
	}
}

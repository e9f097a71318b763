package topology_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const channel = "fogis:matches:updates"

func connect(t *testing.T, addr string, change ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{
		Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1, DisableIdentity: true, Protocol: 2,
		ReadTimeout: time.Minute,
	}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// replica starts a master and a server that follows it.
func replica(t *testing.T) *realredis.Server {
	master, follower := realredis.Start(t, "--repl-diskless-sync-delay", "0"), realredis.Start(t)
	follower.Follow(master)
	return follower
}

// idle fills the pool of a client, and that of its pipelines, with so many
// connections.
func idle(t *testing.T, c *redis.Client, n int) {
	t.Helper()
	var conns []*redis.Conn
	for range n {
		conn := c.Conn()
		require.NoError(t, conn.Ping(t.Context()).Err())
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	_, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		return p.Ping(t.Context()).Err()
	})
	require.NoError(t, err)
	require.EqualValues(t, n, c.PoolStats().IdleConns)
}

func idlePiped(c *redis.Client) uint32 {
	if piped := c.PoolStats().PipelineStats; piped != nil {
		return piped.IdleConns
	}
	return 0
}

// pings counts the PINGs that a server got.
func pings(t *testing.T, admin *redis.Client) string {
	t.Helper()
	stats, err := admin.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for line := range strings.Lines(stats) {
		if strings.HasPrefix(line, "cmdstat_ping:") {
			return strings.Split(line, ",")[0]
		}
	}
	return ""
}

func TestDropIdle_closesWhatIsIdleAndSendsNothing(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	admin := connect(t, server.Addr())
	for name, change := range map[string]func(*redis.Options){
		"one pool":           func(o *redis.Options) { o.PipelinePoolSize = -1 },
		"one for pipelines":  func(*redis.Options) {},
		"no deadlines heard": func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = -1, -1 },
	} {
		c := connect(t, server.Addr(), change)
		inUse := c.Conn()
		require.NoError(t, inUse.Ping(t.Context()).Err(), name)
		idle(t, c, 3)
		before := pings(t, admin)

		topology.DropIdle(c)

		require.Zero(t, c.PoolStats().IdleConns, name)
		require.Zero(t, idlePiped(c), name)
		require.Equal(t, before, pings(t, admin), name)
		require.NoError(t, inUse.Ping(t.Context()).Err(), "%s: it is left to those who use it", name)
		require.NoError(t, inUse.Close())
		topology.DropIdle(c)
		require.NoError(t, c.Ping(t.Context()).Err(), "%s: the next command opens one", name)
	}
}

func TestDropIdle_ofNothingDialsNothing(t *testing.T) {
	t.Parallel()
	topology.DropIdle(connect(t, "192.0.2.7:6379", func(o *redis.Options) {
		o.Dialer = func(context.Context, string, string) (net.Conn, error) {
			t.Error("it dials")
			return nil, net.ErrClosed
		}
	}))
}

func TestProbe_master(t *testing.T) {
	t.Parallel()
	c := connect(t, realredis.Start(t).Addr())
	require.NoError(t, topology.Probe(t.Context(), c))
	require.EqualValues(t, 1, c.PoolStats().IdleConns)
	require.NoError(t, topology.Probe(t.Context(), c))
	require.EqualValues(t, 1, c.PoolStats().Misses, "the connection that single commands use")
}

func TestProbe_replicaClosesWhatIsIdle(t *testing.T) {
	t.Parallel()
	c := connect(t, replica(t).Addr())
	idle(t, c, 3)
	require.ErrorIs(t, topology.Probe(t.Context(), c), topology.ErrNotMaster)
	require.Zero(t, c.PoolStats().IdleConns)
	require.Zero(t, idlePiped(c))
}

// PONG is an answer to PING, and QUEUED is not.
func TestProbe_insideMulti(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"": nil, "without HELLO": {"--rename-command", "HELLO", ""}} {
		c := connect(t, realredis.Start(t, args...).Addr())
		conn := c.Conn()
		require.NoError(t, conn.Do(t.Context(), "multi").Err(), name)
		require.NoError(t, conn.Close(), name)
		require.EqualValues(t, 1, c.PoolStats().IdleConns, name)
		require.Error(t, topology.Probe(t.Context(), c), name)
		require.Zero(t, c.PoolStats().IdleConns, name)
		require.NoError(t, topology.Probe(t.Context(), c), name)
	}
}

func TestProbe_noAnswerClosesWhatIsIdle(t *testing.T) {
	t.Parallel()
	proxy := faultnet.New(t, realredis.Start(t).Addr())
	c := connect(t, proxy.Addr())
	idle(t, c, 3)
	proxy.BlackHole(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Error(t, topology.Probe(ctx, c))
	require.Zero(t, c.PoolStats().IdleConns)
}

// A living server's refusal is for the caller to judge, and no reason to dial.
func TestProbe_refusedPing(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	require.NoError(t, connect(t, server.Addr()).Do(t.Context(), "ACL", "SETUSER", "service", "on", "nopass", "+publish", "allchannels").Err())
	c := connect(t, server.Addr(), func(o *redis.Options) { o.Username, o.Password = "service", "any" })
	require.True(t, redis.IsPermissionError(topology.Probe(t.Context(), c)))
	require.EqualValues(t, 1, c.PoolStats().IdleConns)
	server.Follow(realredis.Start(t, "--repl-diskless-sync-delay", "0"))
	require.ErrorIs(t, topology.Probe(t.Context(), c), topology.ErrNotMaster, "HELLO needs no right")
}

// One that renames HELLO, or is older, is trusted.
func TestProbe_serverThatDoesNotTellItsRole(t *testing.T) {
	t.Parallel()
	c := connect(t, realredis.Start(t, "--rename-command", "HELLO", "").Addr())
	require.NoError(t, topology.Probe(t.Context(), c))
	receivers, err := topology.Publish(t.Context(), c, channel, "x")
	require.NoError(t, err)
	require.Zero(t, receivers)
}

// What refuses the greeting refuses every command behind it.
func TestProbe_refusedGreeting(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--requirepass", logcheck.Password)
	c := connect(t, server.Addr(), func(o *redis.Options) { o.Password = logcheck.Password + "x" })
	require.ErrorContains(t, topology.Probe(t.Context(), c), "WRONGPASS")
	_, err := topology.Publish(t.Context(), c, channel, "x")
	require.ErrorContains(t, err, "WRONGPASS")
	both := c.Pipeline()
	both.Ping(t.Context())
	both.Ping(t.Context())
	require.ErrorContains(t, topology.Exec(t.Context(), both), "WRONGPASS")
}

func TestExec_errorsOfCommandsAreTheirOwn(t *testing.T) {
	t.Parallel()
	c := connect(t, realredis.Start(t).Addr())
	both := c.Pipeline()
	good, bad := both.Ping(t.Context()), both.Do(t.Context(), "nonsense")
	require.NoError(t, topology.Exec(t.Context(), both))
	require.NoError(t, good.Err())
	require.Error(t, bad.Err())
}

func TestPublish_replicaTellsWhoListensThere(t *testing.T) {
	t.Parallel()
	server := replica(t)
	listener := connect(t, server.Addr()).Subscribe(t.Context(), channel)
	defer listener.Close()
	_, err := listener.Receive(t.Context())
	require.NoError(t, err)
	c := connect(t, server.Addr())
	idle(t, c, 3)

	receivers, err := topology.Publish(t.Context(), c, channel, "x")

	require.ErrorIs(t, err, topology.ErrNotMaster)
	require.EqualValues(t, 1, receivers)
	require.Zero(t, c.PoolStats().IdleConns)
	require.True(t, topology.IsReplica(err))
	require.True(t, topology.IsMoving(err))
}

func TestPublish_master(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	listener := connect(t, server.Addr()).Subscribe(t.Context(), channel)
	defer listener.Close()
	_, err := listener.Receive(t.Context())
	require.NoError(t, err)
	c := connect(t, server.Addr())
	receivers, err := topology.Publish(t.Context(), c, channel, "x")
	require.NoError(t, err)
	require.EqualValues(t, 1, receivers)
	require.EqualValues(t, 1, c.PoolStats().IdleConns)
}

// The refusal of the one command is not hidden by the answer to the other.
func TestPublish_refused(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	require.NoError(t, connect(t, server.Addr()).Do(t.Context(), "ACL", "SETUSER", "service", "on", "nopass", "+@all", "resetchannels").Err())
	c := connect(t, server.Addr(), func(o *redis.Options) { o.Username, o.Password = "service", "any" })
	_, err := topology.Publish(t.Context(), c, channel, "x")
	require.True(t, redis.IsPermissionError(err), "%v", err)
}

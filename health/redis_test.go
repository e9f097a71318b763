package health_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Password: "", ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestConnectionAndRoundTrip_healthy(t *testing.T) {
	t.Parallel()
	client := newClient(t, realredis.Start(t).Addr())
	var connection health.Check
	require.Eventually(t, func() bool { // a busy machine is slow for a while, which is a finding
		connection = health.Connection(t.Context(), client)
		return connection.Status != health.Degraded
	}, 2*time.Minute, time.Millisecond)
	for _, check := range []health.Check{connection, health.RoundTrip(t.Context(), client)} {
		require.NoError(t, check.Err())
		require.Equal(t, health.Healthy, check.Status)
		require.Positive(t, check.Elapsed)
	}
}

func TestConnection_away_namesTheAddress(t *testing.T) {
	t.Parallel()
	addr := faultnet.Reserve(t)
	client := redis.NewClient(&redis.Options{Addr: addr, Password: logcheck.Password, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for _, check := range []health.Check{health.Connection(t.Context(), client), health.RoundTrip(t.Context(), client)} {
		require.Equal(t, health.Unhealthy, check.Status)
		require.ErrorContains(t, check.Err(), addr)
		logcheck.Clean(t, "error", check.Err().Error())
	}
}

func TestRoundTrip_serverThatDeliversNothing_isUnhealthy(t *testing.T) {
	t.Parallel()
	proxy := faultnet.New(t, realredis.Start(t).Addr())
	proxy.DropMessages(true)
	client := newClient(t, proxy.Addr())
	require.NotEqual(t, health.Unhealthy, health.Connection(t.Context(), client).Status, "it answers PING")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // of which nearly all is waiting for the message
	defer cancel()
	check := health.RoundTrip(ctx, client)
	require.Equal(t, health.Unhealthy, check.Status)
	require.ErrorContains(t, check.Err(), "did not come back")
}

func TestConnection_blackHole_endsWithTheContext(t *testing.T) {
	t.Parallel()
	proxy := faultnet.New(t, realredis.Start(t).Addr())
	proxy.BlackHole(true)
	client := newClient(t, proxy.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.Equal(t, health.Unhealthy, health.Connection(ctx, client).Status)
	require.Equal(t, health.Unhealthy, health.RoundTrip(ctx, client).Status)
}

// The embedded server answers every question, as a real one does.
func TestServer_embeddedAndReal(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"embedded": strings.TrimPrefix(pubsubtest.StartRedis(t).URL(), "redis://"), "real": realredis.Start(t).Addr()} {
		checks := health.Server(t.Context(), newClient(t, addr), health.Question{
			Channels: []string{"fogis:matches:updates"},
			Commands: map[string][][]any{"fogis:matches:updates": {{"PUBLISH", "fogis:matches:updates", ""}, {"SUBSCRIBE", "fogis:matches:updates"}}},
		})
		require.Len(t, checks, 6)
		for _, check := range checks {
			require.Equal(t, health.Healthy, check.Status, "%s: %s: %v", name, check.Name, check.Findings)
			require.Positive(t, check.Elapsed, "%s: %s", name, check.Name)
		}
	}
}

// Of a Redis that is away, or takes no such command, nothing is made up.
func TestServer_away_isUnknown(t *testing.T) {
	t.Parallel()
	for _, check := range health.Server(t.Context(), newClient(t, faultnet.Reserve(t)), health.Question{}) {
		require.Equal(t, health.Unknown, check.Status, check.Name)
		require.NotEmpty(t, check.Findings)
	}
}

// Snapshots that fail have Redis answer PING with an error, though it takes and
// delivers messages.
func TestConnection_snapshotsFail_isAnAnswerWithItsCure(t *testing.T) {
	t.Parallel()
	client := newClient(t, realredis.Start(t).Addr())
	dir, err := client.ConfigGet(t.Context(), "dir").Result()
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(dir["dir"]))
	require.NoError(t, client.ConfigSet(t.Context(), "save", "3600 1").Err())
	require.NoError(t, client.Do(t.Context(), "BGSAVE").Err())
	require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() != nil }, time.Minute, 10*time.Millisecond)

	check := health.Connection(t.Context(), client)
	require.Equal(t, health.Degraded, check.Status, check.Findings)
	require.Positive(t, check.Elapsed)
	require.ErrorContains(t, check.Err(), "MISCONF")
	require.ErrorContains(t, check.Err(), `CONFIG SET save ""`)
	require.NotContains(t, check.Err().Error(), "REDIS_URL", "the address is right")
	require.Equal(t, health.Healthy, health.RoundTrip(t.Context(), client).Status)
	require.NoError(t, client.ConfigSet(t.Context(), "save", "").Err())
	require.Eventually(t, func() bool { return health.Connection(t.Context(), client).Err() == nil }, 2*time.Minute, time.Millisecond, "the cure holds")
}

func TestConnection_refusals_haveTheirOwnCure(t *testing.T) {
	t.Parallel()
	open := realredis.Start(t)
	admin := newClient(t, open.Addr())
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "silent", "on", "nopass", "~*", "&*", "+@all", "-ping").Err())
	connect := func(addr, user, password string) health.Check {
		client := redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: password, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
		defer client.Close()
		return health.Connection(t.Context(), client)
	}
	silent := connect(open.Addr(), "silent", "x")
	require.Equal(t, health.Degraded, silent.Status)
	require.ErrorContains(t, silent.Err(), "+ping")
	locked := realredis.Start(t, "--requirepass", logcheck.Password)
	for _, password := range []string{"", "wrong"} {
		refused := connect(locked.Addr(), "", password)
		require.Equal(t, health.Unhealthy, refused.Status)
		require.ErrorContains(t, refused.Err(), "password in REDIS_URL")
	}
}

// What a MULTI was sent on is closed afterwards: on a connection that went back
// into the pool, the next command would be queued and count as done.
func TestServer_permissions_leaveNoTransactionBehind(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var conns []*watchedConn
	client := redis.NewClient(&redis.Options{Addr: realredis.Start(t).Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, &watchedConn{Conn: conn})
			return conns[len(conns)-1], err
		}})
	defer client.Close()
	question := health.Question{Channels: []string{"c"}, Commands: map[string][][]any{"c": {{"XADD", "s", "*", "k", "v"}, {"PUBLISH", "c", ""}}}}
	checks := health.Server(t.Context(), client, question)
	require.Equal(t, health.Healthy, checks[len(checks)-1].Status, checks[len(checks)-1].Findings)
	mu.Lock()
	defer mu.Unlock()
	asked := 0
	for _, conn := range conns {
		if conn.multi.Load() {
			asked++
			require.True(t, conn.closed.Load())
		}
	}
	require.Equal(t, 1, asked)
	require.Zero(t, client.Exists(t.Context(), "s").Val(), "nothing took effect")
}

type watchedConn struct {
	net.Conn
	multi, closed atomic.Bool
}

func (c *watchedConn) Write(p []byte) (int, error) {
	if bytes.Contains(bytes.ToLower(p), []byte("\nmulti\r")) {
		c.multi.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *watchedConn) Close() error { c.closed.Store(true); return c.Conn.Close() }

// A server that refuses MULTI runs nothing of what it is asked about.
func TestServer_permissions_withoutMulti_runsNothing(t *testing.T) {
	t.Parallel()
	client := newClient(t, realredis.Start(t, "--rename-command", "MULTI", "").Addr())
	checks := health.Server(t.Context(), client, health.Question{Channels: []string{"c"}, Commands: map[string][][]any{"c": {{"XADD", "s", "*", "k", "v"}}}})
	require.Equal(t, health.Unknown, checks[len(checks)-1].Status)
	require.Zero(t, client.Exists(t.Context(), "s").Val())
}

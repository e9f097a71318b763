package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// moving is an address that leads to a master now and to its replica, which has
// become the master, after flip. The connections of before live on.
type moving struct {
	*faultnet.Proxy
	old, next *realredis.Server
	flip      func()
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	m := &moving{old: realredis.Start(t, "--repl-diskless-sync-delay", "0"), next: realredis.Start(t, "--repl-diskless-sync-delay", "0")}
	m.next.Follow(m.old)
	m.Proxy = faultnet.New(t, m.old.Addr())
	m.flip = func() {
		// In good order: the replica has all that the master has.
		conn := m.old.Client(t).Conn()
		defer conn.Close()
		require.NoError(t, conn.Set(t.Context(), "last", 1, 0).Err())
		require.Equal(t, int64(1), conn.Do(t.Context(), "WAIT", 1, 0).Val())
		c := redis.NewClient(m.next.Options())
		defer c.Close()
		require.NoError(t, c.ReplicaOf(t.Context(), "NO", "ONE").Err())
		m.old.Follow(m.next)
		m.Retarget(m.next.Addr())
	}
	return m
}

func (m *moving) env(pairs ...string) map[string]string {
	return with(map[string]string{"REDIS_URL": "redis://" + m.Addr(), "FOGIS_SERVICE_NAME": "processor"}, pairs...)
}

// A service that publishes into streams follows an address that moves, with and
// without Run, by its first message.
func TestBlackbox_addressMoves_durablePublisherFollows(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-run"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			t.Parallel()
			server := newMoving(t)
			service := launch(t, "service", server.env("REDIS_DURABLE", "true"), args...)
			for number := range 3 {
				require.Equal(t, "stream", order(t, service, fmt.Sprintf("publish %d", number+1))["Route"])
			}
			server.flip()
			for number := range 7 {
				require.Equal(t, "stream", order(t, service, fmt.Sprintf("publish %d", number+4))["Route"])
			}
			replayed := operate(t, map[string]string{"REDIS_URL": server.next.URL()}, "replay", "--type", "match_updates")
			require.Equal(t, exitDone, replayed.code, replayed.stderr)
			var got []string
			for _, line := range replayed.lines {
				got = append(got, numberOf(t, line))
			}
			require.Equal(t, numbers(1, 10), got, "each once, in order, at the new master")
		})
	}
}

func numbers(from, to int) (all []string) {
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}

// Without streams a replica takes PUBLISH without an error and hands it to
// nobody at the master. No message goes there.
func TestBlackbox_addressMoves_plainPublisherFollows(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-run"}} {
		for _, fallback := range []bool{false, true} {
			t.Run(fmt.Sprint(args, " fallback ", fallback), func(t *testing.T) {
				t.Parallel()
				server := newMoving(t)
				env := server.env("REDIS_DURABLE", "false")
				var receiver *receiver
				if fallback {
					receiver = newReceiver(t, nil)
					env["FOGIS_FALLBACK_URL"] = receiver.URL + "/manual-sync"
				}
				before := launch(t, "fogis-pubsub", map[string]string{"REDIS_URL": server.old.URL()}, "subscribe")
				before.saw("subscribed")
				service := launch(t, "service", env, args...)
				require.Equal(t, "pubsub", order(t, service, "publish 1")["Route"])
				require.Equal(t, "1", numberOf(t, before.line()))

				// A connection is trusted for a second after it was asked.
				trusted := time.After(time.Second)
				server.flip()
				after := launch(t, "fogis-pubsub", map[string]string{"REDIS_URL": "redis://" + server.Addr()}, "subscribe")
				after.saw("subscribed")
				<-trusted
				for number := 2; number <= 17; number++ {
					receipt := order(t, service, fmt.Sprintf("publish %d", number))
					require.Equal(t, "pubsub", receipt["Route"])
					require.Equal(t, fmt.Sprint(number), numberOf(t, after.line()))
				}
				if fallback {
					require.Empty(t, receiver.took())
				}
				require.Contains(t, service.stderr.String(), "master", "it says what it found")
			})
		}
	}
}

// The subscription has come over to the new master, the pool of its process not:
// its probes must not go to the old one, or each is a gap that was none.
func TestBlackbox_addressMoves_probeFollows(t *testing.T) {
	t.Parallel()
	server := newMoving(t)
	env := server.env("REDIS_DURABLE", "false", "REDIS_HEALTH_CHECK_INTERVAL", "1")
	subscriber := launch(t, "fogis-pubsub", env, "subscribe", "--verbose")
	subscriber.saw("subscribed")
	clients := map[*realredis.Server]*redis.Client{server.old: server.old.Client(t), server.next: server.next.Client(t)}
	probes := func(s *realredis.Server) (n int) {
		info, err := clients[s].Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		for text := range strings.Lines(info) {
			if _, err := fmt.Sscanf(text, "cmdstat_publish:calls=%d", &n); err == nil {
				break
			}
		}
		return n
	}
	eventually(t, "a probe at the first master", func() bool { return probes(server.old) > 0 })
	server.flip()
	runRedis(t, server.old, "CLIENT", "KILL", "TYPE", "pubsub")
	for range 3 { // of each session one, for as long as it was away
		subscriber.saw("messages may have been lost")
	}
	// Those of the master come to its replica too, those of the replica stay there.
	before := probes(server.next)
	eventually(t, "probes at the new master", func() bool { return probes(server.next) >= before+5 })
	require.Equal(t, 3, strings.Count(subscriber.stderr.String(), "messages may have been lost"), subscriber.stderr)

	env["REDIS_URL"] = server.next.URL()
	receipt, stderr := publishes(t, env, 5)
	require.Equal(t, "pubsub", receipt["route"], stderr)
	require.Equal(t, "5", numberOf(t, subscriber.line()))
}

// A server that cannot save its data refuses writes and PING, and still takes and
// delivers messages.
func TestBlackbox_snapshotsFail_messagesGoOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	server := realredis.Start(t, "--dir", dir, "--save", "3600 1")
	env := map[string]string{"REDIS_URL": server.URL(), "REDIS_DURABLE": "false", "FOGIS_SERVICE_NAME": "processor", "REDIS_HEALTH_CHECK_INTERVAL": "1"}
	subscriber := launch(t, "fogis-pubsub", env, "subscribe")
	subscriber.saw("subscribed")
	publishes(t, env, 1)
	require.Equal(t, "1", numberOf(t, subscriber.line()))

	client := server.Client(t)
	require.NoError(t, client.Set(t.Context(), "a", "b", 0).Err())
	require.NoError(t, os.RemoveAll(dir)) // nothing can be written there any more
	require.NoError(t, client.BgSave(t.Context()).Err())
	eventually(t, "a snapshot that fails", func() bool {
		return strings.HasPrefix(fmt.Sprint(client.Ping(t.Context()).Err()), "MISCONF")
	})
	for number := 2; number <= 11; number++ {
		receipt, stderr := publishes(t, env, number)
		require.Equal(t, "pubsub", receipt["route"], stderr)
		require.Equal(t, fmt.Sprint(number), numberOf(t, subscriber.line()))
	}
	// One that begins now hears it too.
	late := launch(t, "fogis-pubsub", env, "subscribe")
	late.saw("subscribed")
	publishes(t, env, 12)
	require.Equal(t, "12", numberOf(t, late.line()))
	require.Equal(t, "12", numberOf(t, subscriber.line()))
	require.NotContains(t, subscriber.stderr.String(), "lost")

	check := operate(t, env, "check")
	require.Equal(t, exitFailed, check.code, "%s%s", check.stdout, check.stderr)
	require.Contains(t, check.stderr, "MISCONF")
	require.Contains(t, check.stderr, `CONFIG SET save ""`)

	durable := with(env, "REDIS_DURABLE", "true")
	r := operate(t, durable, "publish", "matches", "--file", snapshot(t, 13))
	require.Equal(t, exitFailed, r.code, r.stdout)
	require.Contains(t, r.stderr, "MISCONF")
}

// A Sentinel that is up and does not know the master yet is an outage like any
// other: each mode waits, and says the name.
func TestBlackbox_sentinelWithoutTheMaster_isWaitedFor(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"subscribe"}, {"subscribe", "--durable"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			sentinel := realredis.StartSentinel(t)
			watch := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr(), MaxRetries: -1})
			defer watch.Close()
			require.NoError(t, watch.Remove(t.Context(), realredis.MasterName).Err())
			env := map[string]string{"REDIS_URL": sentinel.URL(), "FOGIS_SERVICE_NAME": "calendar", "REDIS_RETRY_DELAY": "0.1"}
			subscriber := launch(t, "fogis-pubsub", env, args...)
			auto := launch(t, "service", with(env, "REDIS_DURABLE", "auto"), "-run")
			told := subscriber.saw(realredis.MasterName)
			require.NotContains(t, told, "unreachable")
			r := operate(t, env, "check")
			require.Equal(t, exitUnhealthy, r.code)
			require.Contains(t, r.stderr, realredis.MasterName)

			host, port, err := net.SplitHostPort(sentinel.Master.Addr())
			require.NoError(t, err)
			require.NoError(t, watch.Monitor(t.Context(), realredis.MasterName, host, port, "1").Err())
			subscriber.saw("subscribed")
			require.Equal(t, "stream", order(t, auto, "publish 1")["Route"])
			require.Equal(t, "1", numberOf(t, subscriber.line()))
		})
	}
}

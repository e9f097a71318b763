package publisher_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// movable starts two servers behind one address: move makes the first a replica of
// the second and leads the address there, while old connections live on.
func movable(t *testing.T) (second *realredis.Server, addr string, move func()) {
	t.Helper()
	first, second := realredis.Start(t, "--repl-diskless-sync-delay", "0"), realredis.Start(t, "--repl-diskless-sync-delay", "0")
	proxy := faultnet.New(t, first.Addr())
	return second, proxy.Addr(), func() {
		first.Follow(second)
		proxy.Retarget(second.Addr())
	}
}

// keptAt returns the home teams of what a server's stream has.
func keptAt(t *testing.T, s *realredis.Server) (teams []string) {
	t.Helper()
	for e, err := range durable.Replay(t.Context(), newClient(t, s.Addr()), message.ChannelMatchUpdates, durable.Position{}) {
		require.NoError(t, err)
		teams = append(teams, homeTeam(t, e.Body))
	}
	return teams
}

// The refusal of an append stands inside of its transaction, where go-redis does not
// see it and keeps the connection.
func TestPublisher_realRedis_addressMovesInDurableMode(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"without Run": false, "with Run": true} {
		for pools, change := range map[string]func(*redis.Options){
			"one pool": func(o *redis.Options) { o.PipelinePoolSize = -1 }, "go-redis's pools": func(*redis.Options) {},
		} {
			t.Run(name+", "+pools, func(t *testing.T) {
				t.Parallel()
				second, addr, move := movable(t)
				c := newClient(t, addr, change)
				p := newPublisher(t, c, publisher.Options{Durable: kept, RequireReceivers: -1})
				if running {
					defer run(t, p)()
				}
				_, err := p.Publish(t.Context(), update("1"))
				require.NoError(t, err)
				idle(t, c, 3)
				move()
				for _, team := range names(2, 4) {
					receipt, err := p.Publish(t.Context(), update(team))
					require.NoError(t, err)
					require.Equal(t, publisher.RouteStream, receipt.Route)
				}
				require.Equal(t, names(2, 4), keptAt(t, second))
			})
		}
	}
}

// idle opens so many connections at once and leaves them to the pool.
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
}

// The answer to the breaker's PING and to the question in Publish come from the
// server at hand: here nobody listens at the old one any more.
func TestPublisher_realRedis_addressMovesInPlainMode(t *testing.T) {
	t.Parallel()
	second, addr, move := movable(t)
	logger, log := logcheck.NewLog(t)
	c := newClient(t, addr)
	p := newPublisher(t, c, publisher.Options{Logger: logger})
	got := listen(t, second.Addr(), message.ChannelMatchUpdates)
	_, err := p.Publish(t.Context(), status("started"))
	require.NoError(t, err)
	idle(t, c, 3)
	move()

	receipt, err := p.Publish(t.Context(), update("1"))

	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	// Before it a copy may have come by replication, under the same ID.
	require.Equal(t, receipt.ID, parse(t, []byte(receive(t, got).Payload)).MessageID)
	require.Equal(t, 1, log.Count(notMaster))
	require.Equal(t, 1, log.Count(masterAgain))
	require.Zero(t, p.Stats().NotMasterSince)
}

// counter is a hook of go-redis that counts what is sent.
type counter struct{ sent atomic.Int32 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		defer c.sent.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		defer c.sent.Add(1)
		return next(ctx, cmds)
	}
}

// refusedFirst publishes to a server that refuses, ends that after the first
// attempt, and returns when the message was taken.
func refusedFirst(t *testing.T, p *publisher.Publisher, c *redis.Client, team string, end func()) publisher.Receipt {
	t.Helper()
	count := &counter{}
	c.AddHook(count)
	taken := make(chan publisher.Receipt, 1)
	go func() {
		receipt, err := p.Publish(context.Background(), update(team))
		if err != nil {
			t.Error(err)
		}
		taken <- receipt
	}()
	require.Eventually(t, func() bool { return count.sent.Load() >= 3 }, patience, time.Millisecond)
	end()
	receipt := <-taken
	require.GreaterOrEqual(t, receipt.Attempts, 2)
	return receipt
}

// A script that runs too long has every command refused until it is killed.
func TestPublisher_realRedis_busyServerIsAskedAgain(t *testing.T) {
	t.Parallel()
	for mode, durable := range map[string]publisher.DurableOptions{"plain": {}, "durable": kept} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := realredis.Start(t, "--lua-time-limit", "1")
			got := listen(t, s.Addr(), message.ChannelMatchUpdates)
			admin := newClient(t, s.Addr())
			c := newClient(t, s.Addr())
			p := newPublisher(t, c, publisher.Options{
				Durable: durable, RequireReceivers: -1, Budget: patience, RetryDelay: 10 * time.Millisecond, MaxRetries: 100_000,
			})
			if mode == "durable" {
				_, err := p.Publish(t.Context(), update("0"))
				require.NoError(t, err)
				receive(t, got)
			}
			script := make(chan error, 1)
			go func() { script <- newClient(t, s.Addr()).Eval(context.Background(), "while true do end", nil).Err() }()
			require.Eventually(t, func() bool { return redis.HasErrorPrefix(admin.Ping(t.Context()).Err(), "BUSY") }, patience, time.Millisecond)
			refusedFirst(t, p, c, "1", func() { require.NoError(t, admin.ScriptKill(t.Context()).Err()) })
			require.Error(t, <-script)
			require.Equal(t, "1", homeTeam(t, []byte(receive(t, got).Payload)))
			require.False(t, p.Stats().BreakerOpen)
		})
	}
}

// A server that cannot save its snapshots takes no append until it can.
func TestPublisher_realRedis_failingSnapshots(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Mkdir(dir, 0o700))
	s := realredis.Start(t, "--save", "3600 1", "--dir", dir)
	admin := newClient(t, s.Addr())
	c := newClient(t, s.Addr())
	p := newPublisher(t, c, publisher.Options{
		Durable: kept, RequireReceivers: -1, Budget: patience, RetryDelay: 10 * time.Millisecond, MaxRetries: 100_000,
	})
	_, err := p.Publish(t.Context(), update("1"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, admin.BgSave(t.Context()).Err())
	require.Eventually(t, func() bool { return redis.HasErrorPrefix(admin.Set(t.Context(), "k", "v", 0).Err(), "MISCONF") }, patience, 5*time.Millisecond)

	// With one attempt the error names the cure.
	hasty := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Durable: kept, MaxRetries: -1})
	_, err = hasty.Publish(t.Context(), update("2"))
	require.ErrorContains(t, err, "free the disk that Redis writes its snapshots to")
	require.Equal(t, names(1, 1), keptAt(t, s))

	receipt := refusedFirst(t, p, c, "3", func() {
		require.NoError(t, admin.ConfigSet(t.Context(), "stop-writes-on-bgsave-error", "no").Err())
	})
	require.Equal(t, publisher.RouteStream, receipt.Route)
	require.Equal(t, []string{"1", "3"}, keptAt(t, s))
}

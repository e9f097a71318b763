package publisher_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// warm opens so many connections at once, and returns when they are idle.
func warm(t *testing.T, c *redis.Client, n int) {
	var conns sync.WaitGroup
	for range n {
		conns.Go(func() {
			conn := c.Conn()
			defer conn.Close()
			if err := conn.Ping(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond) // so that none is used twice
		})
	}
	conns.Wait()
	require.EqualValues(t, n, c.PoolStats().IdleConns)
}

// A connection that died without a sign takes a quarter of the budget, and those
// beside it are not tried one after the other.
func TestPublisher_Publish_idleConnectionsDied(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
		s, fallback := newServer(), &recorder{}
		c := s.client(t)
		p := newPublisher(t, c, publisher.Options{Fallback: fallback})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		warm(t, c, 5)
		s.set(func(s *server) { s.dead = s.dials })
		defer start(p)()

		receipt, err := p.Publish(context.Background(), update("2"))

		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		require.Equal(t, 2, receipt.Attempts)
		require.Equal(t, publisher.DefaultBudget/4, receipt.Elapsed)
		require.Empty(t, fallback.got)
		require.False(t, p.Stats().BreakerOpen)
		receipt, err = p.Publish(context.Background(), update("3"))
		require.NoError(t, err)
		require.Zero(t, receipt.Elapsed)
	})
}

func TestPublisher_durable_idleConnectionsDied(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
		k, fallback := newKeeper(t), &recorder{}
		c := k.client(t)
		p := newPublisher(t, c, publisher.Options{Durable: kept, Fallback: fallback})
		k.listener(t)
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		warm(t, c, 5)
		k.deaden()
		defer start(p)()

		receipt, err := p.Publish(context.Background(), update("2"))

		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, 2, receipt.Attempts)
		require.Equal(t, publisher.DefaultBudget/4, receipt.Elapsed)
		require.Equal(t, names(1, 2), k.kept(t))
		require.Empty(t, fallback.got)
	})
}

// A network that drops every idle connection after some seconds: with Run the one
// in use stays warm, and Publish waits for nothing.
func TestPublisher_Run_findsDeadConnectionsFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPublisher(t, s.client(t), publisher.Options{})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		for range 10 {
			s.set(func(s *server) { s.dead = s.dials })
			time.Sleep(7 * time.Second)
			receipt, err := p.Publish(context.Background(), update("2"))
			require.NoError(t, err)
			require.Zero(t, receipt.Elapsed)
			require.Equal(t, 1, receipt.Attempts)
		}
	})
}

// Dialing, the greeting and the PING take three times the way there and back: at
// a distance only the first message after an outage goes past Redis.
func TestPublisher_Publish_distantRedis(t *testing.T) {
	t.Parallel()
	for away, least := range map[time.Duration]int{
		5 * time.Millisecond: 8, 20 * time.Millisecond: 7, 100 * time.Millisecond: 7,
		400 * time.Millisecond: 6, // the PING after the first message takes longer than its second
	} {
		t.Run(away.String(), func(t *testing.T) {
			t.Parallel()
			bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
				s, fallback := newServer(), &recorder{}
				s.away = away
				o := options("192.0.2.7:6379")
				o.Dialer, o.Protocol, o.PipelinePoolSize = s.dial, 3, -1
				c := redis.NewClient(o)
				defer c.Close()
				p := newPublisher(t, c, publisher.Options{Fallback: fallback, MaxRetries: -1})
				defer start(p)()
				s.set(down)
				_, err := p.Publish(t.Context(), update("0"))
				require.NoError(t, err)
				require.True(t, p.Stats().BreakerOpen)
				s.set(up)

				byRedis := 0
				for _, name := range names(1, 8) {
					time.Sleep(2 * time.Second)
					began := time.Now()
					receipt, err := p.Publish(t.Context(), update(name))
					require.NoError(t, err)
					if receipt.Route == publisher.RoutePubSub {
						byRedis++
						continue
					}
					require.LessOrEqual(t, fallback.at[len(fallback.at)-1].Sub(began), 40*time.Millisecond)
				}

				require.GreaterOrEqual(t, byRedis, least)
				require.False(t, p.Stats().BreakerOpen)
			})
		})
	}
}

// panicking is a hook of go-redis that panics while it is on.
type panicking struct{ on atomic.Bool }

func (h *panicking) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *panicking) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.on.Load() {
			panic("a hook")
		}
		return next(ctx, cmd)
	}
}

func (h *panicking) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.on.Load() {
			panic("a hook")
		}
		return next(ctx, cmds)
	}
}

// A panic under the breaker's PING is the caller's, and leaves the breaker closed or
// open, never between.
func TestPublisher_Publish_hookPanicsUnderThePing(t *testing.T) {
	t.Parallel()
	for name, fallback := range map[string]publisher.Fallback{"alone": nil, "with a fallback": &recorder{}} {
		synctest.Test(t, func(t *testing.T) {
			s, hook := newServer(), &panicking{}
			c := s.client(t)
			c.AddHook(hook)
			p := newPublisher(t, c, publisher.Options{Fallback: fallback, MaxRetries: -1})
			s.set(down)
			_, _ = p.Publish(t.Context(), update("1"))
			require.True(t, p.Stats().BreakerOpen, name)
			s.set(up)
			hook.on.Store(true)
			for range 3 {
				time.Sleep(time.Second)
				require.PanicsWithValue(t, "a hook", func() { _, _ = p.Publish(t.Context(), update("2")) }, name)
			}
			hook.on.Store(false)
			time.Sleep(time.Second)

			receipt, err := p.Publish(t.Context(), update("3"))

			require.NoError(t, err, name)
			require.Equal(t, publisher.RoutePubSub, receipt.Route, name)
			require.False(t, p.Stats().BreakerOpen, name)
		})
	}
}

// Only the publisher's own budget opens the breaker for others, whether a caller's
// deadline has passed or the fallback has the rest of it.
func TestPublisher_Publish_shortDeadlineOfOneCaller(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limit    time.Duration
		fallback publisher.Fallback
		refused  bool
		opens    bool
	}{
		"short":                               {limit: 200 * time.Millisecond},
		"short, with a fallback":              {limit: 200 * time.Millisecond, fallback: &recorder{}},
		"most of the budget, with a fallback": {limit: 9 * time.Second, fallback: &recorder{}},
		"more than the budget":                {limit: 6 * time.Second, opens: true},
		"the budget, with a fallback":         {limit: 10 * time.Second, fallback: &recorder{}, opens: true},
		"refused connections":                 {limit: 200 * time.Millisecond, fallback: &recorder{}, refused: true, opens: true},
	} {
		for mode, durable := range map[string]publisher.DurableOptions{"plain": {}, "durable": kept} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newServer()
					c := s.client(t)
					p := newPublisher(t, c, publisher.Options{Fallback: test.fallback, Durable: durable})
					s.set(hole)
					if test.refused {
						s.set(down)
					}
					ctx, cancel := context.WithTimeout(t.Context(), test.limit)
					defer cancel()
					_, err := p.Publish(ctx, update("1"))
					if test.fallback == nil {
						require.Error(t, err)
					} else {
						require.NoError(t, err)
					}
					require.Equal(t, test.opens, p.Stats().BreakerOpen)
				})
			})
		}
	}
}

package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// patience bounds waits for what takes moments on an idle machine.
const patience = time.Minute

func newClient(t testing.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	o := options(addr)
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listen subscribes to channels and returns the messages in the order of their
// coming.
func listen(t testing.TB, addr string, channels ...string) <-chan *redis.Message {
	t.Helper()
	sub := newClient(t, addr).Subscribe(t.Context(), channels...)
	t.Cleanup(func() { _ = sub.Close() })
	for range channels {
		_, err := sub.Receive(t.Context())
		require.NoError(t, err)
	}
	return sub.Channel(redis.WithChannelSize(100_000), redis.WithChannelHealthCheckInterval(0))
}

func receive(t testing.TB, from <-chan *redis.Message) *redis.Message {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(patience):
		require.Fail(t, "no message")
		return nil
	}
}

func TestPublisher_realRedis_delivers(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	got := listen(t, s.Addr(), message.ChannelMatchUpdates)
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{})
	for i := range 3 {
		receipt, err := p.Publish(t.Context(), update(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, int64(1), receipt.Receivers)
		m := receive(t, got)
		require.Equal(t, fmt.Sprint(i), homeTeam(t, []byte(m.Payload)))
		require.Equal(t, receipt.ID, parse(t, []byte(m.Payload)).MessageID)
	}
}

func TestPublisher_realRedis_outageAndRecovery(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	fallback := &recorder{}
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Fallback: fallback, RetryDelay: 10 * time.Millisecond})
	var want []string
	publish := func(home string) publisher.Receipt {
		receipt, err := p.Publish(t.Context(), update(home))
		require.NoError(t, err)
		return receipt
	}
	got := listen(t, s.Addr(), message.ChannelMatchUpdates)
	require.Equal(t, publisher.RoutePubSub, publish("before").Route)
	require.Equal(t, "before", homeTeam(t, []byte(receive(t, got).Payload)))

	s.Stop()
	for i := range 5 {
		home := fmt.Sprint("outage ", i)
		require.Equal(t, publisher.RouteFallback, publish(home).Route)
		want = append(want, home)
	}
	require.Equal(t, want, fallback.names(t), "each once, in order")

	stop := run(t, p)
	defer stop()
	s.Start()
	got = listen(t, s.Addr(), message.ChannelMatchUpdates)
	require.Eventually(t, func() bool { return !p.Stats().BreakerOpen }, patience, 10*time.Millisecond)
	require.Equal(t, publisher.RoutePubSub, publish("after").Route)
	require.Equal(t, "after", homeTeam(t, []byte(receive(t, got).Payload)))
	require.Equal(t, want, fallback.names(t))
}

func TestPublisher_realRedis_blackHole(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	proxy := faultnet.New(t, s.Addr())
	fallback := &recorder{}
	const budget = 2 * time.Second
	p := newPublisher(t, newClient(t, proxy.Addr()), publisher.Options{Fallback: fallback, Budget: budget, RetryDelay: time.Millisecond})
	got := listen(t, s.Addr(), message.ChannelMatchUpdates)
	_, err := p.Publish(t.Context(), update("before"))
	require.NoError(t, err)
	receive(t, got)

	proxy.BlackHole(true)
	receipt, err := p.Publish(t.Context(), update("into the hole"))
	require.NoError(t, err)
	require.Equal(t, publisher.RouteFallback, receipt.Route)
	require.GreaterOrEqual(t, receipt.Elapsed, budget*49/50, "messages of a burst share a deadline")
	receipt, err = p.Publish(t.Context(), update("past it"))
	require.NoError(t, err)
	require.Zero(t, receipt.Attempts)
	require.Equal(t, []string{"into the hole", "past it"}, fallback.names(t))

	proxy.BlackHole(false)
	stop := run(t, p)
	defer stop()
	require.Eventually(t, func() bool { return !p.Stats().BreakerOpen }, patience, 10*time.Millisecond)
	receipt, err = p.Publish(t.Context(), update("after"))
	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
}

// Redis took the PUBLISH and its answer was lost: the retry carries the same
// message ID, by which the listener knows the second copy.
func TestPublisher_realRedis_lostAnswer(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	proxy := faultnet.New(t, s.Addr())
	fallback := &recorder{}
	p := newPublisher(t, newClient(t, proxy.Addr()), publisher.Options{Fallback: fallback, RetryDelay: time.Millisecond, Budget: patience})
	got := listen(t, s.Addr(), message.ChannelMatchUpdates)
	lost := proxy.SwallowNextAnswer("publish")
	receipt, err := p.Publish(t.Context(), update("Åby IF"))
	require.NoError(t, err)
	<-lost
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	require.Equal(t, 2, receipt.Attempts)
	first, second := receive(t, got), receive(t, got)
	require.Equal(t, first.Payload, second.Payload)
	require.Equal(t, receipt.ID, parse(t, []byte(first.Payload)).MessageID)
	require.Empty(t, fallback.got)
}

func TestPublisher_realRedis_nobodyListens(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	fallback := &recorder{}
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Fallback: fallback})
	receipt, err := p.Publish(t.Context(), update("Åby IF"))
	require.NoError(t, err)
	require.Equal(t, publisher.RouteFallback, receipt.Route)
	receipt, err = p.Publish(t.Context(), status("started"))
	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	_, err = newPublisher(t, newClient(t, s.Addr()), publisher.Options{}).Publish(t.Context(), update("Åby IF"))
	require.ErrorIs(t, err, publisher.ErrTooFewReceivers)
	require.ErrorContains(t, err, s.Addr())
	require.ErrorContains(t, err, message.ChannelMatchUpdates)
}

func TestPublisher_realRedis_accessDenied(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t, "--requirepass", logcheck.Password)
	admin := newClient(t, s.Addr(), func(o *redis.Options) { o.Password = logcheck.Password })
	acl := func(rules ...any) {
		require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "service", "reset", "on", ">" + logcheck.Password}, rules...)...).Err())
	}
	user := func(o *redis.Options) { o.Username, o.Password = "service", logcheck.Password }
	for _, test := range []struct {
		name   string
		rules  []any
		client func(*redis.Options)
		says   string
	}{
		{"channel", []any{"+@all"}, user, `NOPERM`},
		{"command", []any{"+ping", "allchannels"}, user, `NOPERM`},
		{"no password", []any{"+@all"}, func(*redis.Options) {}, "NOAUTH"},
		{"wrong password", []any{"+@all"}, func(o *redis.Options) { o.Password = logcheck.Password + "x" }, "WRONGPASS"},
	} {
		acl(test.rules...)
		fallback := &recorder{}
		p := newPublisher(t, newClient(t, s.Addr(), test.client), publisher.Options{Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err, test.name)
		require.Equal(t, publisher.RouteFallback, receipt.Route, test.name)
		require.Equal(t, 1, receipt.Attempts, test.name)
		_, err = p.Publish(t.Context(), status("started"))
		require.ErrorContains(t, err, test.says, test.name)
		require.ErrorContains(t, err, s.Addr(), test.name)
		failure(t, err)
		require.False(t, p.Stats().BreakerOpen, test.name)
	}

	// Granted at last: used without a restart.
	acl("+@all")
	p := newPublisher(t, newClient(t, s.Addr(), user), publisher.Options{})
	_, err := p.Publish(t.Context(), status("started"))
	failure(t, err)
	acl("+@all", "allchannels")
	_, err = p.Publish(t.Context(), status("started"))
	require.NoError(t, err)
}

// A renamed command makes Redis quote the message in its error.
func TestPublisher_realRedis_renamedCommand(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t, "--rename-command", "PUBLISH", "")
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{})
	_, err := p.Publish(t.Context(), update("Åby IF"))
	require.ErrorContains(t, err, "unknown command")
	require.NotContains(t, err.Error(), "Åby IF")
	require.NotContains(t, err.Error(), "source")
	failure(t, err)
}

func TestPublisher_realRedis_bothDown(t *testing.T) {
	t.Parallel()
	s := realredis.New(t)
	fallback := &recorder{take: func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", faultnet.Reserve(t))
		if err == nil {
			return c.Close()
		}
		return fmt.Errorf("POST: %w", err)
	}}
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Fallback: fallback})
	_, err := p.Publish(t.Context(), update("Åby IF"))
	e := failure(t, err)
	require.ErrorContains(t, err, "redis "+s.Addr()+": dial tcp "+s.Addr())
	require.ErrorContains(t, err, "fallback: POST: dial tcp")
	require.Len(t, e.Redis, 4)
	require.Error(t, e.Fallback)
}

// Several callers, several types, cuts in between: every message has exactly
// one outcome, and what arrived came in order.
func TestPublisher_realRedis_concurrentCallers(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	proxy := faultnet.New(t, s.Addr())
	fallback := &recorder{}
	p := newPublisher(t, newClient(t, proxy.Addr()), publisher.Options{Fallback: fallback, RetryDelay: time.Millisecond})
	stop := run(t, p)
	defer stop()
	got := listen(t, s.Addr(), message.ChannelMatchUpdates, message.ChannelProcessingStatus)

	const callers, each = 8, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := map[publisher.Route][]string{}
	for c := range callers {
		wg.Go(func() {
			var payload message.Payload = update(fmt.Sprint(c))
			if c%2 == 0 {
				payload = status(fmt.Sprint(c))
			}
			for i := range each {
				if c == 0 && i%10 == 5 {
					proxy.Cut()
				}
				receipt, err := p.Publish(t.Context(), payload)
				if err != nil {
					// Only a status that met the open breaker.
					if e, ok := errors.AsType[*publisher.Error](err); !ok || e.Type != message.TypeProcessingStatus {
						t.Errorf("%v", err)
					}
					continue
				}
				mu.Lock()
				taken[receipt.Route] = append(taken[receipt.Route], receipt.ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	require.ElementsMatch(t, taken[publisher.RouteFallback], fallback.ids())
	waiting := map[string]bool{}
	for _, id := range taken[publisher.RoutePubSub] {
		require.False(t, waiting[id])
		waiting[id] = true
	}
	last := map[string]uint64{}
	for len(waiting) > 0 {
		m := receive(t, got)
		e := parse(t, []byte(m.Payload))
		delete(waiting, e.MessageID)
		require.GreaterOrEqual(t, e.Seq.N, last[m.Channel], "a retry may repeat a number, none goes back")
		last[m.Channel] = e.Seq.N
	}
	stats := p.Stats()
	require.Equal(t, uint64(callers*each), stats.PubSub+stats.Fallback+stats.Failed)
	require.Equal(t, len(taken[publisher.RoutePubSub]), int(stats.PubSub))
	require.False(t, slices.Contains(fallback.ids(), ""))
}

// Two listeners are required and one is there: the message waits without being
// published again, and goes once more when Redis counts the second one.
func TestPublisher_realRedis_waitsForTheSecondListener(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	box := newOutbox(t)
	first := listen(t, s.Addr(), message.ChannelMatchUpdates)
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Outbox: box, RequireReceivers: 2})
	defer run(t, p)()
	for _, name := range names(1, 2) {
		receipt, err := p.Publish(t.Context(), update(name))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteOutbox, receipt.Route)
		require.Equal(t, name, homeTeam(t, []byte(receive(t, first).Payload)))
	}
	require.Equal(t, 2, box.Len())
	second := listen(t, s.Addr(), message.ChannelMatchUpdates)
	for _, name := range names(1, 2) {
		require.Equal(t, name, homeTeam(t, []byte(receive(t, second).Payload)))
		require.Equal(t, name, homeTeam(t, []byte(receive(t, first).Payload)))
	}
	require.Eventually(t, func() bool { return box.Len() == 0 }, patience, 10*time.Millisecond)
	require.Empty(t, first)
	require.Empty(t, second)
	receipt, err := p.Publish(t.Context(), update("3"))
	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	require.Equal(t, int64(2), receipt.Receivers)
}

package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestNew_refusals(t *testing.T) {
	t.Parallel()
	client := func(change func(*redis.Options)) redis.UniversalClient {
		o := options("127.0.0.1:1")
		o.Password = logcheck.Password
		if change != nil {
			change(o)
		}
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	cluster := func(o redis.ClusterOptions) redis.UniversalClient {
		o.Addrs = []string{"127.0.0.1:1"}
		c := redis.NewClusterClient(&o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var none *redis.Client
	for _, test := range []struct {
		name string
		conn redis.UniversalClient
		opts publisher.Options
		says []string // nothing: accepted
	}{
		{"good", client(nil), publisher.Options{}, nil},
		{"go-redis defaults", client(func(o *redis.Options) { o.MaxRetries, o.ContextTimeoutEnabled = 0, false }), publisher.Options{},
			[]string{"MaxRetries: -1", "ContextTimeoutEnabled: true"}},
		{"retries", client(func(o *redis.Options) { o.MaxRetries = 1 }), publisher.Options{}, []string{"MaxRetries: -1"}},
		{"deadlines", client(func(o *redis.Options) { o.ContextTimeoutEnabled = false }), publisher.Options{}, []string{"ContextTimeoutEnabled: true"}},
		{"good cluster", cluster(redis.ClusterOptions{MaxRedirects: -1, ContextTimeoutEnabled: true}), publisher.Options{}, nil},
		{"cluster defaults", cluster(redis.ClusterOptions{}), publisher.Options{}, []string{"MaxRedirects: -1", "ContextTimeoutEnabled: true"}},
		{"cluster retries", cluster(redis.ClusterOptions{MaxRedirects: -1, MaxRetries: 2, ContextTimeoutEnabled: true}), publisher.Options{}, []string{"MaxRetries: -1"}},
		{"no client", nil, publisher.Options{}, []string{"no Redis client"}},
		{"nil client", none, publisher.Options{}, []string{"no Redis client"}},
		{"disabled", nil, publisher.Options{Disabled: true}, nil},
		{"empty channels", client(nil), publisher.Options{Channels: map[message.Type]string{"b": "", "a": ""}},
			[]string{`type "a" has an empty channel`, `type "b" has an empty channel`}},
		{"fallback for a type without channel", client(nil), publisher.Options{Fallback: &recorder{}, FallbackTypes: []message.Type{"other"}},
			[]string{`type "other" has no channel`}},
	} {
		p, err := publisher.New(test.conn, test.opts)
		if len(test.says) == 0 {
			require.NoError(t, err, test.name)
			require.NotNil(t, p, test.name)
			continue
		}
		require.Nil(t, p, test.name)
		for _, text := range test.says {
			require.ErrorContains(t, err, text, test.name)
		}
		logcheck.Clean(t, test.name, err.Error())
	}
}

// blob is a type of a service of its own.
type blob struct{ Text string }

func (blob) MessageType() message.Type { return "blob" }
func (b blob) Validate() error {
	if b.Text == "" {
		return fmt.Errorf("%w: text is empty", message.ErrInvalid)
	}
	return nil
}

func TestPublisher_Publish_invalid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		var nobody *message.ProcessingStatus
		for _, payload := range []message.Payload{
			nil,
			nobody,
			&message.ProcessingStatus{Status: "started"},
			status(""),
			message.MatchUpdates{Matches: []message.Match{{Raw: []byte(`{"matchid":1,"lag1namn":"` + "\xff" + `"}`)}}},
			message.MatchUpdates{Matches: []message.Match{{Raw: []byte(`{"matchid":1,"epostadress":"alva@example.com"`)}}},
			blob{"has no channel"},
			message.ProcessingStatus{Status: strings.Repeat("x", message.DefaultMaxBytes)},
		} {
			receipt, err := p.Publish(t.Context(), payload)
			require.ErrorIs(t, err, message.ErrInvalid)
			failure(t, err)
			require.Zero(t, receipt)
		}
		require.Empty(t, s.got)
		require.Empty(t, fallback.got)
		require.Equal(t, publisher.Stats{Invalid: 8}, p.Stats())

		// A refused message uses up no number.
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, uint64(1), parse(t, []byte(s.requests("publish")[0].args[2])).Seq.N)
	})
}

func TestPublisher_Publish_channels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPublisher(t, s.client(t), publisher.Options{Channels: map[message.Type]string{
			message.TypeProcessingStatus: "other:status",
			"blob":                       "blobs",
		}})
		for _, payload := range []message.Payload{
			update("Åby IF"), status("started"), blob{"x"}, message.SystemAlert{AlertType: "processing_error", Message: "m"},
		} {
			_, err := p.Publish(t.Context(), payload)
			require.NoError(t, err)
		}
		var channels []string
		for _, r := range s.requests("publish") {
			channels = append(channels, r.args[1])
		}
		require.Equal(t, []string{message.ChannelMatchUpdates, "other:status", "blobs", message.ChannelSystemAlerts}, channels)
	})
}

// Messages are numbered per channel, also those that nobody took.
func TestPublisher_Publish_numbers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		channels := map[message.Type]string{"blob": message.ChannelProcessingStatus}
		p := newPublisher(t, s.client(t), publisher.Options{Channels: channels})
		other := newPublisher(t, s.client(t), publisher.Options{})
		publish := func(p *publisher.Publisher, payload message.Payload, ok bool) {
			_, err := p.Publish(t.Context(), payload)
			require.Equal(t, ok, err == nil, "%v", err)
		}
		publish(p, status("started"), true)
		publish(p, update("Åby IF"), true)
		publish(p, blob{"shares the channel"}, true)
		s.set(func(s *server) { s.answer = onPublish("-NOPERM no\r\n") })
		publish(p, status("failed"), false)
		publish(p, status("completed"), true)
		publish(other, status("started"), true)

		var got []string
		epochs := map[string]int{}
		for _, r := range s.requests("publish") {
			e := parse(t, []byte(r.args[2]))
			epochs[e.Seq.Epoch]++
			got = append(got, fmt.Sprint(e.Type, " ", e.Seq.N, " ", len(epochs)))
		}
		require.Equal(t, []string{
			"processing_status 1 1", "match_updates 1 1", "blob 2 1", "processing_status 3 1", "processing_status 4 1",
			"processing_status 1 2",
		}, got)
	})
}

// Callers of one type are served in the order of their calls, and callers of
// another type do not wait for them.
func TestPublisher_Publish_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.answer = onPublish("-LOADING Redis is loading the dataset in memory\r\n")
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		names := []string{"A", "B", "C", "D", "E"}
		done := make(chan time.Duration, len(names))
		for _, name := range names {
			go func() {
				receipt, err := p.Publish(t.Context(), update(name))
				if err == nil {
					done <- receipt.Elapsed
				}
			}()
			synctest.Wait() // the first waits for its retry, the others for it
		}
		start := time.Now()
		_, err := p.Publish(t.Context(), status("started"))
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		for range names {
			require.Equal(t, time.Second, <-done)
		}
		var got []string
		for _, r := range s.requests("publish") {
			if r.args[1] == message.ChannelMatchUpdates {
				got = append(got, homeTeam(t, []byte(r.args[2])))
			}
		}
		require.Equal(t, append([]string{"A"}, names...), got)
	})
}

// While a message is on its way through the fallback the next of its type
// waits, though Redis is back.
func TestPublisher_Publish_orderAcrossRoutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(down)
		release := make(chan struct{})
		fallback := &recorder{take: func(context.Context) error {
			<-release
			return nil
		}}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, MaxRetries: -1})
		var routes [2]publisher.Route
		var calls sync.WaitGroup
		for i, name := range []string{"A", "B"} {
			calls.Go(func() {
				receipt, _ := p.Publish(t.Context(), update(name))
				routes[i] = receipt.Route
			})
			synctest.Wait()
		}
		s.set(up)
		time.Sleep(time.Minute)
		require.Empty(t, s.requests("publish"))
		close(release)
		calls.Wait()
		require.Equal(t, [2]publisher.Route{publisher.RouteFallback, publisher.RoutePubSub}, routes)
		require.Equal(t, []string{"A"}, fallback.names(t))
	})
}

func TestPublisher_Publish_cancelled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		prepare  func(*server)
		after    time.Duration // of the cancellation
		takes    time.Duration
		attempts int
		unknown  bool
		timeout  bool // a deadline instead of a cancellation
	}{
		{name: "before", prepare: up},
		{name: "in the delay", prepare: down, after: 1500 * time.Millisecond, takes: 1500 * time.Millisecond, attempts: 2},
		{name: "deadline in the delay", prepare: down, after: 2500 * time.Millisecond, takes: 2 * time.Second, attempts: 3, timeout: true},
		// go-redis heeds only a deadline in a read; here that of the budget.
		{name: "in the read", prepare: hole, after: time.Second, takes: 1250 * time.Millisecond, attempts: 1, unknown: true},
		{name: "deadline in the read", prepare: hole, after: time.Second, takes: time.Second, attempts: 1, unknown: true, timeout: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, fallback := newServer(), &recorder{}
				s.set(test.prepare)
				p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
				var payload message.Payload = update("Åby IF")
				ctx, cancel := context.WithCancel(t.Context())
				if test.timeout {
					payload = status("started") // has the whole deadline for Redis
					ctx, cancel = context.WithTimeout(t.Context(), test.after)
				}
				defer cancel()
				if !test.timeout {
					stop := time.AfterFunc(test.after, cancel)
					defer stop.Stop()
					if test.after == 0 {
						cancel()
					}
				}
				start := time.Now()
				_, err := p.Publish(ctx, payload)
				e := failure(t, err)
				require.Equal(t, test.takes, time.Since(start))
				require.Equal(t, test.attempts, e.Attempts)
				require.Equal(t, test.unknown, e.Unknown)
				if ctx.Err() != nil {
					require.ErrorIs(t, err, ctx.Err())
				}
				require.Empty(t, fallback.got)
			})
		})
	}
}

func TestPublisher_Publish_cancelledWhileWaitingForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(down)
		p := newPublisher(t, s.client(t), publisher.Options{})
		first := make(chan error)
		go func() {
			_, err := p.Publish(t.Context(), status("started"))
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Publish(ctx, status("completed"), publisher.WithID("the-second"))
		e := failure(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "the-second", e.ID)
		require.Zero(t, e.Attempts)
		require.Error(t, <-first)
	})
}

// The caller's deadline is shared between the routes, or the fallback would
// never have its turn.
func TestPublisher_Publish_deadlineLeavesTimeForTheFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.set(hole)
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		receipt, err := p.Publish(ctx, update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, 1500*time.Millisecond, receipt.Elapsed)
		require.False(t, p.Stats().BreakerOpen, "so little time says nothing about Redis")
	})
}

func TestPublisher_Publish_cancelledInTheFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(down)
		fallback := &recorder{take: func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("POST http://calendar.example/manual-sync: %w", ctx.Err())
		}}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, MaxRetries: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := p.Publish(ctx, update("Åby IF"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "connection refused")
		require.ErrorContains(t, err, "manual-sync")
	})
}

func TestPublisher_Publish_disabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fallback := &recorder{}
		p := newPublisher(t, nil, publisher.Options{Disabled: true, Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.Receipt{ID: fallback.ids()[0], Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted}, receipt)

		receipt, err = p.Publish(t.Context(), status("started"))
		require.NoError(t, err)
		require.NotEmpty(t, receipt.ID)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RouteNone, Fallback: publisher.FallbackNone}, receipt)
		_, err = p.Publish(t.Context(), status(""))
		require.ErrorIs(t, err, message.ErrInvalid)

		fallback.take = func(context.Context) error { return errors.New("no") }
		_, err = p.Publish(t.Context(), update("Åby IF"))
		require.ErrorContains(t, err, "fallback: no")
		require.NotContains(t, err.Error(), "redis")
		require.Equal(t, publisher.Stats{Fallback: 1, None: 1, Invalid: 1, Failed: 1, FallbackFailures: 1, FallbackError: "no", LastSuccess: time.Now()}, p.Stats())
	})
}

// A fallback may keep the body that it got.
func TestPublisher_Publish_fallbackKeepsTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.answer = onPublish(":1\r\n", ":0\r\n", ":1\r\n", ":0\r\n")
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		for _, name := range []string{"A", "B", "C", "D"} {
			_, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
		}
		require.Equal(t, []string{"B", "D"}, fallback.names(t))
	})
}

func TestPublisher_Publish_logsChangesOfRoute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, Logger: logger})
		publish := func(n int, receivers string) {
			for range n {
				s.set(func(s *server) { s.answer = onPublish(receivers) })
				_, _ = p.Publish(t.Context(), update("Åby IF"))
			}
		}
		publish(5, ":1\r\n")
		require.Empty(t, log.Records())
		publish(5, ":0\r\n")
		publish(5, ":1\r\n")
		fallback.take = func(context.Context) error { return errors.New("no") }
		publish(5, ":0\r\n")
		require.Len(t, log.Records(), 2, "what Publish returns is not logged too")
		require.Equal(t, 1, log.Count("publishing through the fallback"))
		require.Equal(t, 1, log.Count("publishing through Redis again"))
		first := log.Records()[0]
		require.Equal(t, "WARN", first.Level.String())
		require.Equal(t, "match_updates", first.Attrs["type"])
		require.Equal(t, "fallback", first.Attrs["route"])
		require.Contains(t, first.Attrs["err"], "too few receivers")

		// A route that changes all the time is told ten times a minute.
		fallback.take = nil
		for range 100 {
			publish(1, ":1\r\n")
			publish(1, ":0\r\n")
		}
		require.Len(t, log.Records(), 10)
		time.Sleep(time.Minute)
		publish(5, ":1\r\n")
		require.LessOrEqual(t, len(log.Records()), 11)
	})
}

func TestPublisher_Stats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		require.Zero(t, p.Stats())
		s.set(down)
		_, err := p.Publish(t.Context(), status("started"))
		failure(t, err)
		require.Equal(t, publisher.Stats{Failed: 1, Retries: 3, BreakerOpen: true, BreakerSince: time.Now()}, p.Stats())
		time.Sleep(time.Minute)
		s.set(up)
		_, err = p.Publish(t.Context(), status("completed"))
		require.NoError(t, err)
		require.Equal(t, publisher.Stats{PubSub: 1, Failed: 1, Retries: 3, LastSuccess: time.Now()}, p.Stats())
	})
}

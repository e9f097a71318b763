package publisher_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/stretchr/testify/require"
)

// run runs p until the returned function stops it and has seen it end.
func run(t *testing.T, p *publisher.Publisher) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func down(s *server) { s.refuses = true }
func up(s *server)   { s.refuses, s.hole = false, false }
func hole(s *server) { s.hole = true }

func TestPublisher_Publish_openBreakerSkipsRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.set(down)
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, MaxRetries: -1})
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		opened := time.Now()
		require.Equal(t, opened, p.Stats().BreakerSince)
		s.set(up)

		time.Sleep(time.Second - time.Nanosecond)
		receipt, err := p.Publish(t.Context(), update("Östra BK"))
		require.NoError(t, err)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted}, receipt, "Redis was not asked")
		require.Empty(t, s.got)

		// The first message after a second pays a PING, and goes to Redis.
		time.Sleep(time.Nanosecond)
		receipt, err = p.Publish(t.Context(), update("Södra SK"))
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		require.Len(t, s.requests("ping"), 1)
		require.False(t, p.Stats().BreakerOpen)
		_, err = p.Publish(t.Context(), update("Norra FF"))
		require.NoError(t, err)
		require.Len(t, s.requests("ping"), 1)
		require.Equal(t, []string{"Åby IF", "Östra BK"}, fallback.names(t))
	})
}

func TestPublisher_Publish_pingCostsAtMost40ms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.set(hole)
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		for range 3 {
			time.Sleep(time.Second)
			start := time.Now()
			receipt, err := p.Publish(t.Context(), update("Åby IF"))
			require.NoError(t, err)
			require.Equal(t, 40*time.Millisecond, receipt.Elapsed)
			require.Equal(t, start.Add(40*time.Millisecond), fallback.at[len(fallback.at)-1])

			// Only one message a second pays.
			receipt, err = p.Publish(t.Context(), update("Åby IF"))
			require.NoError(t, err)
			require.Zero(t, receipt.Elapsed)
		}
	})
}

func TestPublisher_Run_pingsEverySecondWhileOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, MaxRetries: -1})
		stop := run(t, p)
		defer stop()
		time.Sleep(time.Hour + time.Second)
		require.Empty(t, s.got, "nothing to look after")

		const loading = "-LOADING Redis is loading the dataset in memory\r\n"
		s.set(func(s *server) { s.answer = func([]string) string { return loading } })
		s.set(func(s *server) { s.began, s.got = time.Now(), nil })
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)

		time.Sleep(3500 * time.Millisecond)
		require.Equal(t, seconds(1, 2, 3), s.times("ping"))
		receipt, err := p.Publish(t.Context(), update("Östra BK"))
		require.NoError(t, err)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted}, receipt, "no message pays for the breaker")

		s.set(func(s *server) { s.answer = nil })
		time.Sleep(time.Second)
		require.False(t, p.Stats().BreakerOpen)
		receipt, err = p.Publish(t.Context(), update("Södra SK"))
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		time.Sleep(time.Minute)
		pings := s.times("ping")
		require.Equal(t, seconds(1, 2, 3, 4), pings[:4])
		for i, at := range pings[5:] {
			require.Equal(t, 5*time.Second, at-pings[4+i], "then the server's role is asked for")
		}
	})
}

func TestPublisher_Run_takesOverAnOpenBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(hole)
		p := newPublisher(t, s.client(t), publisher.Options{})
		_, err := p.Publish(t.Context(), status("started"))
		failure(t, err)
		time.Sleep(time.Minute)
		stop := run(t, p)
		time.Sleep(1500 * time.Millisecond)
		s.set(up)
		// The PING that fell into the hole took its second; the next comes a
		// second later.
		time.Sleep(2 * time.Second)
		require.False(t, p.Stats().BreakerOpen)
		stop()
	})
}

func TestPublisher_Run_stopsInMidPing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(hole)
		p := newPublisher(t, s.client(t), publisher.Options{})
		_, err := p.Publish(t.Context(), status("started"))
		failure(t, err)
		stop := run(t, p)
		time.Sleep(1500 * time.Millisecond)
		start := time.Now()
		stop()
		require.LessOrEqual(t, time.Since(start), time.Second)
	})
}

// A server that refuses PING lives.
func TestPublisher_Publish_pingNotPermitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(down)
		p := newPublisher(t, s.client(t), publisher.Options{MaxRetries: -1})
		_, err := p.Publish(t.Context(), update("Åby IF"))
		failure(t, err)
		s.set(up)
		s.set(func(s *server) {
			s.answer = func(args []string) string {
				if args[0] == "ping" {
					return "-NOPERM User default has no permissions to run the 'ping' command\r\n"
				}
				return ""
			}
		})
		time.Sleep(time.Second)
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
	})
}

// A message of another type that was in the outage too long says nothing about
// the Redis that came back meanwhile.
func TestPublisher_Publish_staleFailureDoesNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPublisher(t, s.client(t), publisher.Options{MaxRetries: -1, Budget: 10 * time.Second})
		stop := run(t, p)
		defer stop()
		s.set(func(s *server) { s.answer = onPublish(silence, cut) })
		slow := make(chan error)
		go func() {
			_, err := p.Publish(t.Context(), update("Åby IF"))
			slow <- err
		}()
		synctest.Wait()
		_, err := p.Publish(t.Context(), status("started"))
		failure(t, err)
		require.True(t, p.Stats().BreakerOpen)
		time.Sleep(2 * time.Second)
		require.False(t, p.Stats().BreakerOpen)
		require.True(t, failure(t, <-slow).Unknown)
		require.False(t, p.Stats().BreakerOpen)
	})
}

// That a caller was in a hurry says nothing about Redis.
func TestPublisher_Publish_impatientCallerDoesNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.answer = onPublish(silence)
		p := newPublisher(t, s.client(t), publisher.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := p.Publish(ctx, status("started"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, failure(t, err).Unknown)
		require.False(t, p.Stats().BreakerOpen)
	})
}

func TestPublisher_Publish_bothDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(hole)
		cause := errors.New("POST http://calendar.example:5003/manual-sync: no answer in 4s")
		fallback := &recorder{take: func(context.Context) error {
			time.Sleep(4 * time.Second)
			return cause
		}}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		start := time.Now()
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.Less(t, time.Since(start), 10*time.Second)
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "redis 192.0.2.7:6379: no answer")
		require.ErrorContains(t, err, "fallback: POST http://calendar.example:5003/manual-sync")
		require.True(t, failure(t, err).Unknown)

		// Behind the open breaker the old cause is named with its time.
		_, err = p.Publish(t.Context(), update("Östra BK"))
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "not asked, because it has not worked since 2000-01-01T00:00:05Z: no answer")
		require.False(t, failure(t, err).Unknown)
		require.Equal(t, uint64(2), p.Stats().Failed)
	})
}

func TestPublisher_Run_disabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t, nil, publisher.Options{Disabled: true})
		stop := run(t, p)
		time.Sleep(time.Minute)
		receipt, err := p.Publish(t.Context(), message.SystemAlert{AlertType: "processing_error", Message: "m"})
		require.NoError(t, err)
		require.Equal(t, publisher.RouteNone, receipt.Route)
		stop()
	})
}

// A later attempt that our own budget cut short hides nothing of what the server
// answered before, neither in the first error nor behind the open breaker.
func TestPublisher_Publish_answerIsNamedBesideALaterTimeout(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"LOADING Redis is loading the dataset in memory",
		"MISCONF Redis is configured to save RDB snapshots",
		"READONLY You can't write against a read only replica.",
	} {
		t.Run(answer[:4], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.answer = onPublish("-"+answer+"\r\n", silence, silence, silence, silence)
				p := newPublisher(t, s.client(t), publisher.Options{})
				_, err := p.Publish(t.Context(), update("Åby IF"))
				require.ErrorContains(t, err, answer)
				require.ErrorContains(t, err, ", then no answer")
				s.set(hole)
				_, err = p.Publish(t.Context(), update("Östra BK"))
				require.ErrorContains(t, err, "not asked")
				require.ErrorContains(t, err, answer)
			})
		})
	}
}

package publisher_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func seconds(n ...float64) []time.Duration {
	var d []time.Duration
	for _, s := range n {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

// ids returns the message IDs of the PUBLISH requests that the server got.
func (s *server) ids(t testing.TB) []string {
	var ids []string
	for _, r := range s.requests("publish") {
		ids = append(ids, parse(t, []byte(r.args[2])).MessageID)
	}
	return ids
}

func TestPublisher_Publish_takenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, Source: "a-service"})

		receipt, err := p.Publish(t.Context(), update("Åby IF"))

		require.NoError(t, err)
		require.NotEmpty(t, receipt.ID)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RoutePubSub, Fallback: publisher.FallbackNone, Receivers: 1, Attempts: 1}, receipt)
		got := s.requests("publish")
		require.Len(t, got, 1)
		require.Equal(t, message.ChannelMatchUpdates, got[0].args[1])
		e := parse(t, []byte(got[0].args[2]))
		require.Equal(t, receipt.ID, e.MessageID)
		require.Equal(t, "a-service", e.Source)
		require.Empty(t, fallback.got)
	})
}

func TestPublisher_Publish_withID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPublisher(t, s.client(t), publisher.Options{})
		receipt, err := p.Publish(t.Context(), status("started"), publisher.WithID("an-earlier-id"))
		require.NoError(t, err)
		require.Equal(t, "an-earlier-id", receipt.ID)
		require.Equal(t, []string{"an-earlier-id"}, s.ids(t))
		receipt, err = p.Publish(t.Context(), status("started"), publisher.WithID(""))
		require.NoError(t, err)
		require.NotEmpty(t, receipt.ID)
	})
}

func TestPublisher_Publish_refusedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.set(func(s *server) { s.refuses = true })
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})

		receipt, err := p.Publish(t.Context(), update("Åby IF"))

		require.NoError(t, err)
		// Attempts at 0, 1, 2 and 3 s.
		require.Equal(t, publisher.Receipt{ID: fallback.ids()[0], Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted, Attempts: 4, Elapsed: 3 * time.Second}, receipt)

		_, err = p.Publish(t.Context(), status("started"))
		e := failure(t, err)
		require.ErrorContains(t, err, "192.0.2.7:6379")
		require.ErrorContains(t, err, "connection refused")
		require.ErrorContains(t, err, "no fallback for this type")
		require.False(t, e.Unknown)
		require.Zero(t, e.Attempts, "the breaker is open")
	})
}

func TestPublisher_Publish_blackHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		_, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		s.set(func(s *server) { s.hole = true })

		receipt, err := p.Publish(t.Context(), update("Östra BK"))

		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, publisher.DefaultBudget, receipt.Elapsed)
		require.Equal(t, []string{"Östra BK"}, fallback.names(t))
	})
}

// values is a context that cannot be compared.
type values struct {
	context.Context
	_ []int
}

func TestPublisher_Publish_budgetOfABurst(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ctx, next func(t testing.TB) context.Context
		pause     time.Duration
		elapsed   time.Duration
	}{
		"the same context shares the deadline": {ctx: testing.TB.Context, next: testing.TB.Context, pause: 99 * time.Millisecond, elapsed: 4901 * time.Millisecond},
		"not for longer":                       {ctx: testing.TB.Context, next: testing.TB.Context, pause: 101 * time.Millisecond, elapsed: 5 * time.Second},
		"another context has its own":          {ctx: testing.TB.Context, next: background, pause: time.Millisecond, elapsed: 5 * time.Second},
		"no context":                           {ctx: background, next: background, pause: time.Millisecond, elapsed: 4999 * time.Millisecond},
		"one that cannot be compared":          {ctx: incomparable, next: incomparable, pause: time.Millisecond, elapsed: 5 * time.Second},
		"the first one was cancelled":          {ctx: cancelled, next: background, pause: time.Millisecond, elapsed: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, fallback := newServer(), &recorder{}
				p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
				_, err := p.Publish(test.ctx(t), update("Åby IF"))
				require.NoError(t, err)
				s.set(func(s *server) { s.hole = true })
				time.Sleep(test.pause)

				receipt, err := p.Publish(test.next(t), update("Östra BK"))
				require.NoError(t, err)
				require.Equal(t, publisher.RouteFallback, receipt.Route)
				require.Equal(t, test.elapsed, receipt.Elapsed)
			})
		})
	}
}

func background(testing.TB) context.Context { return context.Background() }

func incomparable(t testing.TB) context.Context { return values{Context: t.Context()} }

// cancelled is a context that ends after the message that it was given for.
func cancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Microsecond, cancel)
	return ctx
}

// A read time-out of the client below the budget leaves room for a retry, and
// all attempts share the budget.
func TestPublisher_Publish_attemptsShareTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		o := options("192.0.2.7:6379")
		o.Dialer, o.ReadTimeout = s.dial, 2*time.Second
		c := redis.NewClient(o)
		defer c.Close()
		s.answer = func(args []string) string {
			if args[0] == "publish" {
				return silence
			}
			return ""
		}
		p := newPublisher(t, c, publisher.Options{})

		start := time.Now()
		_, err := p.Publish(t.Context(), status("started"))

		// The first one has a quarter, the others half of what is left. Their time
		// counts as part of the delay.
		require.Equal(t, 5*time.Second, time.Since(start))
		e := failure(t, err)
		require.Equal(t, 4, e.Attempts)
		require.True(t, e.Unknown)
		require.ErrorContains(t, err, "it may have been delivered all the same")
		ids := s.ids(t)
		require.Len(t, ids, 4)
		require.Equal(t, ids[0], ids[1])
		require.Equal(t, e.ID, ids[0])
	})
}

func TestPublisher_Publish_noRetryThatCannotBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(func(s *server) { s.refuses = true })
		p := newPublisher(t, s.client(t), publisher.Options{Budget: 2500 * time.Millisecond})
		start := time.Now()
		_, err := p.Publish(t.Context(), status("started"))
		require.Equal(t, 3, failure(t, err).Attempts)
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestPublisher_Publish_retriesSwitchedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(func(s *server) { s.refuses = true })
		for _, o := range []publisher.Options{
			{MaxRetries: -1},
			{MaxRetries: -1, RetryDelay: -1, Budget: -1},
		} {
			start := time.Now()
			_, err := newPublisher(t, s.client(t), o).Publish(t.Context(), status("started"))
			require.Equal(t, 1, failure(t, err).Attempts)
			require.Zero(t, time.Since(start))
		}
		start := time.Now()
		_, err := newPublisher(t, s.client(t), publisher.Options{RetryDelay: -1, Budget: -1}).Publish(t.Context(), status("started"))
		require.Equal(t, 4, failure(t, err).Attempts)
		require.Zero(t, time.Since(start))
	})
}

// What a server says while it cannot work now is retried, and a later success
// leaves no trace but the number of attempts.
func TestPublisher_Publish_passingTroubles(t *testing.T) {
	t.Parallel()
	const moving = 50 * time.Millisecond // another server takes over
	for reply, pause := range map[string]time.Duration{
		"-LOADING Redis is loading the dataset in memory\r\n":                                                   time.Second,
		"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n":                 time.Second,
		"-READONLY You can't write against a read only replica.\r\n":                                            moving,
		"-CLUSTERDOWN The cluster is down\r\n":                                                                  moving,
		"-TRYAGAIN Multiple keys request during rehashing of slot\r\n":                                          moving,
		"-MOVED 866 192.0.2.7:7001\r\n":                                                                         moving,
		"-ASK 866 192.0.2.7:7001\r\n":                                                                           moving,
		"-ERR max number of clients reached\r\n":                                                                time.Second,
		"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n":           time.Second,
		"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n": time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.answer = onPublish(reply, reply)
			p := newPublisher(t, s.client(t), publisher.Options{})
			receipt, err := p.Publish(t.Context(), update("Åby IF"))
			require.NoError(t, err, reply)
			require.Equal(t, publisher.RoutePubSub, receipt.Route)
			require.Equal(t, 3, receipt.Attempts)
			require.Equal(t, []time.Duration{0, pause, 2 * pause}, s.times("publish"))
			require.Equal(t, uint64(2), p.Stats().Retries)
			require.Zero(t, p.Stats().UnknownOutcomes)
		})
	}
}

// A move that does not end is an outage like others: after a second of close
// attempts the usual retries follow.
func TestPublisher_Publish_movingTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.answer = func([]string) string { return "-MOVED 866 192.0.2.7:7001\r\n" }
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, 20+1+publisher.DefaultMaxRetries, receipt.Attempts)
		require.Equal(t, 4*time.Second, receipt.Elapsed)
		require.True(t, p.Stats().BreakerOpen)
	})
}

func TestPublisher_Publish_loadingTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const loading = "-LOADING Redis is loading the dataset in memory\r\n"
		s, fallback := newServer(), &recorder{}
		s.answer = func(args []string) string { return loading }
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, 3*time.Second, receipt.Elapsed)
		require.True(t, p.Stats().BreakerOpen)

		// A PING that is answered LOADING does not close the breaker.
		time.Sleep(time.Second)
		_, err = p.Publish(t.Context(), update("Östra BK"))
		require.NoError(t, err)
		require.Len(t, s.requests("publish"), 4)
		require.Len(t, s.requests("ping"), 1)
		require.Equal(t, []string{"Åby IF", "Östra BK"}, fallback.names(t))
	})
}

// A server that says no is alive: no retry, no breaker, the next route at once.
func TestPublisher_Publish_refusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ reply, cure string }{
		{"-NOPERM User default has no permissions to run the 'publish' command\r\n", "allow this user PUBLISH and the channel \"fogis:matches:updates\""},
		{"-NOAUTH Authentication required.\r\n", "give the client the server's user and password"},
		{"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "give the client the server's user and password"},
		{"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "OOM command not allowed"},
		{"-ERR something else\r\n", "something else"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, fallback := newServer(), &recorder{}
			s.answer = onPublish(test.reply, test.reply)
			p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
			receipt, err := p.Publish(t.Context(), update("Åby IF"))
			require.NoError(t, err)
			require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted, Attempts: 1}, receipt)

			fallback.take = func(context.Context) error { return errors.New("POST http://calendar.example/manual-sync: 500") }
			_, err = p.Publish(t.Context(), update("Östra BK"))
			require.ErrorContains(t, err, test.cure)
			require.ErrorContains(t, err, "manual-sync: 500")
			failure(t, err)

			receipt, err = p.Publish(t.Context(), update("Södra SK"))
			require.NoError(t, err)
			require.Equal(t, publisher.RoutePubSub, receipt.Route, "asked again at once")
		})
	}
}

// Redis quotes the arguments of a command that it does not know, and go-redis
// an answer that it cannot read: the message must not come out that way.
func TestPublisher_Publish_errorsQuoteNoMessage(t *testing.T) {
	t.Parallel()
	echo := "alva@example.com 070-174 06 05"
	for _, reply := range []string{
		"-ERR unknown command 'publish', with args beginning with: 'fogis:matches:updates' '" + echo + "' \r\n",
		"+" + echo + "\r\n",
		"?" + echo + "\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.answer = onPublish(reply)
			p := newPublisher(t, s.client(t), publisher.Options{MaxRetries: -1})
			_, err := p.Publish(t.Context(), update("Åby IF"))
			e := failure(t, err)
			for _, cause := range e.Unwrap() {
				require.NotContains(t, cause.Error(), "alva")
				require.NotContains(t, cause.Error(), "070")
			}
			t.Log(err)
		})
	}
}

func TestPublisher_Publish_lostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.answer = onPublish(cut)
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RoutePubSub, Fallback: publisher.FallbackNone, Receivers: 1, Attempts: 2, Elapsed: time.Second}, receipt)
		require.Equal(t, []string{receipt.ID, receipt.ID}, s.ids(t))
		require.Equal(t, uint64(1), p.Stats().UnknownOutcomes)
		require.Empty(t, fallback.got)

		// Numbered once.
		_, err = p.Publish(t.Context(), update("Östra BK"))
		require.NoError(t, err)
		got := s.requests("publish")
		require.Equal(t, uint64(1), parse(t, []byte(got[1].args[2])).Seq.N)
		require.Equal(t, uint64(2), parse(t, []byte(got[2].args[2])).Seq.N)
	})
}

func TestPublisher_Publish_lostAnswerWithoutRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, fallback := newServer(), &recorder{}
		s.answer = onPublish(cut)
		p := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, NoRetryOnTimeout: true})
		receipt, err := p.Publish(t.Context(), update("Åby IF"))
		require.NoError(t, err)
		require.Equal(t, publisher.Receipt{ID: receipt.ID, Route: publisher.RouteFallback, Fallback: publisher.FallbackAccepted, Attempts: 1}, receipt)
		require.Equal(t, s.ids(t), fallback.ids())
		require.True(t, p.Stats().BreakerOpen, "an unknown outcome opens the breaker")

		// A known failure is retried all the same.
		time.Sleep(time.Second)
		s.set(func(s *server) { s.answer = onPublish("-LOADING Redis is loading the dataset in memory\r\n") })
		receipt, err = p.Publish(t.Context(), update("Östra BK"))
		require.NoError(t, err)
		require.Equal(t, 2, receipt.Attempts)
	})
}

func TestPublisher_Publish_tooFewReceivers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		require   int
		payload   message.Payload
		receivers string
		enough    bool
	}{
		{"none", 0, update("Åby IF"), ":0\r\n", false},
		{"one", 0, update("Åby IF"), ":1\r\n", true},
		{"one of two", 2, update("Åby IF"), ":1\r\n", false},
		{"off", -1, update("Åby IF"), ":0\r\n", true},
		{"other type", 0, status("started"), ":0\r\n", true},
		{"other type, more required", 5, status("started"), ":0\r\n", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, fallback := newServer(), &recorder{}
				s.answer = onPublish(test.receivers, test.receivers)
				with := newPublisher(t, s.client(t), publisher.Options{Fallback: fallback, RequireReceivers: test.require})
				without := newPublisher(t, s.client(t), publisher.Options{RequireReceivers: test.require})

				receipt, err := with.Publish(t.Context(), test.payload)
				require.NoError(t, err)
				require.Zero(t, receipt.Elapsed)
				require.Equal(t, 1, receipt.Attempts)
				require.Equal(t, string(test.receivers[1]), string(rune('0'+receipt.Receivers)))
				_, err = without.Publish(t.Context(), test.payload)
				if test.enough {
					require.Equal(t, publisher.RoutePubSub, receipt.Route)
					require.Empty(t, fallback.got)
					require.NoError(t, err)
					return
				}
				require.Equal(t, publisher.RouteFallback, receipt.Route)
				require.Len(t, fallback.got, 1)
				require.ErrorIs(t, err, publisher.ErrTooFewReceivers)
				require.False(t, failure(t, err).Unknown)
				require.Equal(t, uint64(1), with.Stats().TooFewReceivers)
				require.False(t, with.Stats().BreakerOpen)
				require.False(t, without.Stats().BreakerOpen)
			})
		})
	}
}

// One attempt without an answer, then an answer: that answer counts.
func TestPublisher_Publish_lostAnswerThenTooFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.answer = onPublish(cut, ":0\r\n")
		p := newPublisher(t, s.client(t), publisher.Options{})
		_, err := p.Publish(t.Context(), update("Åby IF"))
		e := failure(t, err)
		require.ErrorIs(t, err, publisher.ErrTooFewReceivers)
		require.True(t, e.Unknown)
		require.Len(t, e.Redis, 2)
	})
}

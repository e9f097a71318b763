package fogispubsub_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// fallbackToken holds the password that no log may show.

const fallbackToken = "t0ken-of-the-" + logcheck.Password

// budget is what a publish may spend at Redis where a test sets it. The first
// attempt has a quarter of it, and on a busy machine that must be enough.

const budget = 2 * time.Second

// pair is a publishing and a receiving service: they share a Redis, and the

// publisher's fallback leads to the receiver's HTTP server.

type pair struct {
	t         *testing.T
	publisher *fogispubsub.Client
	receiver  *fogispubsub.Client
	handled   <-chan message.Message[message.MatchUpdates]
	posts     *posts
	fallback  string // URL
	gaps      func() []subscriber.Gap

	next int   // ID of the next match
	want []int // IDs of all matches that were published
}

// newPair makes both with short waits. env adds to the publisher's settings.

// Neither runs yet.

func newPair(t *testing.T, publisherAddr, receiverAddr string, env environment) *pair {
	t.Helper()
	p := &pair{t: t, next: 6200001}
	var mu sync.Mutex
	var gaps []subscriber.Gap
	p.gaps = func() []subscriber.Gap {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(gaps)
	}
	p.receiver = newClient(t, environment{
		"REDIS_URL": "redis://" + receiverAddr, "FOGIS_FALLBACK_TOKEN": fallbackToken,
	}, fogispubsub.Options{Subscriber: subscriber.Options{
		PingInterval: time.Second, HandshakeTimeout: 5 * time.Second,
		OnGap: func(g subscriber.Gap) {
			mu.Lock()
			defer mu.Unlock()
			gaps = append(gaps, g)
		},
	}})
	p.handled = listen(p.receiver)
	h, err := p.receiver.FallbackHandler()
	require.NoError(t, err)
	p.posts = &posts{Handler: h}
	p.fallback = serve(t, p.posts).URL + "/manual-sync"

	settings := environment{
		"REDIS_URL": "redis://" + publisherAddr, "FOGIS_FALLBACK_URL": p.fallback, "FOGIS_FALLBACK_TOKEN": fallbackToken,
		"REDIS_CONNECTION_TIMEOUT": budget.String(), "REDIS_RETRY_DELAY": "20ms",
	}
	for name, value := range env {
		settings[name] = value
	}
	p.publisher = newClient(t, settings, fogispubsub.Options{})
	return p
}

// publish sends the next snapshot, of three matches.

func (p *pair) publish() (publisher.Receipt, error) {
	u := snapshot(p.t, p.next, 3)
	p.next += 3
	receipt, err := p.publisher.Publish(p.t.Context(), u)
	if err == nil {
		p.want = append(p.want, matchIDs(u)...)
	}
	return receipt, err
}

// publishBy is publish that must take this route.

func (p *pair) publishBy(route publisher.Route) publisher.Receipt {
	p.t.Helper()
	receipt, err := p.publish()
	require.NoError(p.t, err)
	require.Equal(p.t, route, receipt.Route)
	return receipt
}

// requireHandled checks that the receiver handles every match that was

// published once, in order, and no other.

func (p *pair) requireHandled() {
	p.t.Helper()
	var got []int
	for len(got) < len(p.want) {
		got = append(got, matchIDs(receive(p.t, p.handled).Payload)...)
	}
	require.Equal(p.t, p.want, got)
	p.want = nil
}

// requireNothingElse checks that no copy was handled again: a message that is

// sent now comes next.

func (p *pair) requireNothingElse() {
	p.t.Helper()
	require.Empty(p.t, p.want)
	_, err := p.publish()
	require.NoError(p.t, err)
	p.requireHandled()
	require.Empty(p.t, p.handled)
}

// waitRecovered waits until both are back at Redis.

func (p *pair) waitRecovered() {
	p.t.Helper()
	waitState(p.t, p.receiver, subscriber.StateSubscribed)
	wait(p.t, "the publisher to find Redis again", func() bool { return !p.publisher.Stats().Publisher.BreakerOpen })
}

// A service that starts before Redis needs no help when Redis comes.

// trouble is a way in which Redis is away.

type trouble struct {
	name string
	// begin returns what ends it.
	begin func(t *testing.T, server *realredis.Server, proxy *faultnet.Proxy) (end func())
}

var troubles = []trouble{
	{"down", func(t *testing.T, server *realredis.Server, _ *faultnet.Proxy) func() {
		server.Stop()
		return server.Start
	}},
	{"refused", func(t *testing.T, _ *realredis.Server, proxy *faultnet.Proxy) func() {
		proxy.Refuse(true)
		proxy.Cut()
		return func() { proxy.Refuse(false) }
	}},
	{"black-holed", func(t *testing.T, _ *realredis.Server, proxy *faultnet.Proxy) func() {
		proxy.BlackHole(true)
		return func() { proxy.BlackHole(false) }
	}},
	// The kernel takes connections and bytes, and the server works them off
	// when it goes on.
	{"frozen", func(t *testing.T, server *realredis.Server, _ *faultnet.Proxy) func() {
		server.Pause()
		return server.Resume
	}},
	{"answers are lost", func(t *testing.T, _ *realredis.Server, proxy *faultnet.Proxy) func() {
		proxy.SwallowAnswers(true)
		return func() { proxy.SwallowAnswers(false) }
	}},
}

// While Redis is away match updates arrive by HTTP within the budget, each

// once and in order; afterwards Redis is used again, and what was stuck on

// the way there is not handled a second time.

func TestClient_Publish_redisAway(t *testing.T) {
	t.Parallel()
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			proxy := faultnet.New(t, server.Addr())
			p := newPair(t, proxy.Addr(), proxy.Addr(), nil)
			runSubscribed(t, p.receiver)
			run(t, p.publisher)
			for range 2 {
				p.publishBy(publisher.RoutePubSub)
			}
			p.requireHandled()

			for range 2 { // twice, to see that the first recovery was whole
				end := trouble.begin(t, server, proxy)
				for range 5 {
					p.publishBy(publisher.RouteFallback)
				}
				p.requireHandled()
				wait(t, "the receiver to notice", func() bool { return p.receiver.Status().State != subscriber.StateSubscribed })
				end()
				p.waitRecovered()
				for range 2 {
					p.publishBy(publisher.RoutePubSub)
				}
				p.requireHandled()
			}
			p.requireNothingElse()
			stats := p.receiver.Stats().Subscriber
			require.Zero(t, stats.Failed+stats.Invalid)
			require.GreaterOrEqual(t, len(p.gaps()), 2, "the outages are told")
			t.Logf("%d duplicates recognised", stats.Duplicates)
		})
	}
}

// What a frozen server works off when it goes on reaches a subscription that

// lasted, after the same messages came by HTTP: known again, not handled.

func TestClient_Publish_lateCopies(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	p := newPair(t, server.Addr(), server.Addr(), nil)
	receiver := newClient(t, environment{"REDIS_URL": server.URL(), "FOGIS_FALLBACK_TOKEN": fallbackToken}, fogispubsub.Options{})
	p.receiver, p.handled = receiver, listen(receiver)
	h, err := receiver.FallbackHandler()
	require.NoError(t, err)
	p.posts.Handler = h
	runSubscribed(t, receiver)
	run(t, p.publisher)
	p.publishBy(publisher.RoutePubSub)
	p.requireHandled() // Redis answers a PUBLISH before it has passed it on
	for n := range 3 {
		server.Pause()
		p.publishBy(publisher.RouteFallback)
		p.publishBy(publisher.RouteFallback)
		p.requireHandled()
		server.Resume()
		p.waitRecovered()
		wait(t, "the copy of what Redis had got", func() bool { return receiver.Stats().Subscriber.Duplicates == uint64(n+1) })
		p.publishBy(publisher.RoutePubSub)
		p.requireHandled()
	}
	p.requireNothingElse()
	require.Equal(t, subscriber.StateSubscribed, receiver.Status().State)
	require.Zero(t, receiver.Stats().Subscriber.Gaps)
}

// A server that loads its data answers PUBLISH and SUBSCRIBE, and refuses

// most else.

func TestClient_Publish_redisLoading(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024")
	direct := server.Client(t)
	pipe := direct.Pipeline()
	for i := range 1000 {
		pipe.Set(t.Context(), fmt.Sprintf("key%d", i), strings.Repeat("x", 1100), 0)
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	require.NoError(t, direct.Save(t.Context()).Err())

	p := newPair(t, server.Addr(), server.Addr(), nil)
	runSubscribed(t, p.receiver)
	run(t, p.publisher)
	p.publishBy(publisher.RoutePubSub)
	p.requireHandled()

	server.Stop()
	updates := make([]message.MatchUpdates, 1000) // more than are sent
	for i := range updates {
		updates[i] = snapshot(t, 6300000+i, 1)
	}
	routes, failed := map[publisher.Route]int{}, make(chan error, 1)
	go func() {
		loading := func() bool { return redis.IsLoadingError(direct.Ping(t.Context()).Err()) }
		for deadline := time.Now().Add(patience); !loading() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		for _, u := range updates {
			if !loading() {
				break
			}
			receipt, err := p.publisher.Publish(t.Context(), u)
			if err != nil {
				failed <- err
				return
			}
			routes[receipt.Route]++
			p.want = append(p.want, matchIDs(u)...)
			time.Sleep(50 * time.Millisecond) // some messages over the whole time
		}
		failed <- nil
	}()
	server.Start() // returns when it has loaded
	require.NoError(t, receive(t, failed))
	require.NotEmpty(t, p.want)
	t.Logf("while Redis was loading: %v", routes)
	p.requireHandled()
	p.waitRecovered()
	p.publishBy(publisher.RoutePubSub)
	p.requireHandled()
	p.requireNothingElse()
}

// With the breaker open the fallback begins at once, with Run and without.

func TestClient_Publish_breakerOpen(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"with Run": true, "without Run": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			proxy := faultnet.New(t, server.Addr())
			p := newPair(t, proxy.Addr(), server.Addr(), nil)
			runSubscribed(t, p.receiver)
			if running {
				run(t, p.publisher)
			}
			proxy.BlackHole(true)
			p.publishBy(publisher.RouteFallback)
			require.True(t, p.publisher.Stats().Publisher.BreakerOpen)

			var waits []time.Duration
			for range 9 {
				if !running {
					// A publish that comes a second later pays for a PING.
					if len(waits)%3 == 0 {
						time.Sleep(1010 * time.Millisecond)
					}
				}
				before := len(p.posts.times())
				began := time.Now()
				receipt := p.publishBy(publisher.RouteFallback)
				require.Zero(t, receipt.Attempts, "Redis is left out")
				waits = append(waits, p.posts.times()[before].Sub(began))
			}
			slices.Sort(waits)
			t.Logf("from Publish to the POST at the receiver: median %s, longest %s", waits[len(waits)/2], waits[len(waits)-1])
			p.requireHandled()
			proxy.BlackHole(false)
			if running {
				p.waitRecovered()
				p.publishBy(publisher.RoutePubSub)
			} else {
				// The next publish after a second finds out for itself.
				wait(t, "Redis to be used again", func() bool {
					receipt, err := p.publish()
					require.NoError(t, err)
					return receipt.Route == publisher.RoutePubSub
				})
			}
			p.requireHandled()
			p.requireNothingElse()
		})
	}
}

// With the settings' defaults the error of a publish that found no route is

// there within 10 s, and names both causes.

func TestClient_Publish_bothDown(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T) (redisAddr, fallbackAddr string, cause error){
		"both refuse": func(t *testing.T) (string, string, error) {
			return faultnet.Reserve(t), faultnet.Reserve(t), syscall.ECONNREFUSED
		},
		"Redis is silent": func(t *testing.T) (string, string, error) {
			proxy := faultnet.New(t, faultnet.Reserve(t))
			proxy.BlackHole(true)
			return proxy.Addr(), faultnet.Reserve(t), syscall.ECONNREFUSED
		},
		"both are cut": func(t *testing.T) (string, string, error) {
			// Connections are taken and closed at once.
			return faultnet.New(t, faultnet.Reserve(t)).Addr(), faultnet.New(t, faultnet.Reserve(t)).Addr(), io.EOF
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redisAddr, fallbackAddr, cause := begin(t)
			client := newClient(t, environment{
				"REDIS_URL":          "redis://:" + logcheck.Password + "@" + redisAddr,
				"FOGIS_FALLBACK_URL": "http://fogis:" + logcheck.Password + "@" + fallbackAddr + "/manual-sync",
			}, fogispubsub.Options{})
			_, err := client.Publish(t.Context(), snapshot(t, 6200001, 2))
			var failed *publisher.Error
			require.ErrorAs(t, err, &failed)
			require.NotEmpty(t, failed.Redis)
			require.Error(t, failed.Fallback)
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, redisAddr)
			require.ErrorContains(t, err, fallbackAddr)
			logcheck.Clean(t, "the error", err.Error())
			require.EqualValues(t, 1, client.Stats().Publisher.Failed)
		})
	}
}

// The answer to one PUBLISH is lost: the retry, or the fallback, brings a

// second copy, which is not handled.

func TestClient_Publish_lostAnswer(t *testing.T) {
	t.Parallel()
	for name, retry := range map[string]string{"sent again": "true", "sent by HTTP": "false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			proxy := faultnet.New(t, server.Addr())
			p := newPair(t, proxy.Addr(), server.Addr(), environment{"REDIS_RETRY_ON_TIMEOUT": retry})
			runSubscribed(t, p.receiver)
			run(t, p.publisher)
			p.publishBy(publisher.RoutePubSub) // opens the connection, which may take longer than an attempt
			p.requireHandled()
			for n := range 3 {
				lost := proxy.SwallowNextAnswer("publish")
				receipt, err := p.publish()
				require.NoError(t, err)
				receive(t, lost)
				if retry == "true" {
					require.Equal(t, publisher.RoutePubSub, receipt.Route)
					require.Equal(t, 2, receipt.Attempts)
				} else {
					require.Equal(t, publisher.RouteFallback, receipt.Route)
					require.Equal(t, 1, receipt.Attempts)
				}
				p.requireHandled()
				wait(t, "the copy, and the handler's return", func() bool {
					stats := p.receiver.Stats().Subscriber
					return stats.Duplicates == uint64(n+1) && stats.Handled == uint64(n+2)
				})
				p.waitRecovered()
			}
			p.requireNothingElse()
		})
	}
}

// A message has one handling over all routes, whichever brings it first, also

// while the other copy is in its handler.

// Run that is cancelled in the middle of a handler lets it finish; one that

// does not finish is told to stop when the drain's bound has passed.

// What Redis refuses at the start ends Run, with the channel's name and

// without the password.

// Disabled, everything goes by HTTP and nobody asks Redis.

// A handler that fails is called again, on both routes; given up, the HTTP

// sender learns of it and pub/sub goes on with the next message.

package fogispubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// budget is what a publish may spend at Redis where a test sets it.
const budget = 500 * time.Millisecond

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
		PingInterval: 100 * time.Millisecond, HandshakeTimeout: 500 * time.Millisecond,
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
func TestClient_Run_startedBeforeRedis(t *testing.T) {
	t.Parallel()
	server := realredis.New(t)
	p := newPair(t, server.Addr(), server.Addr(), environment{"FOGIS_FALLBACK_URL": ""})
	run(t, p.receiver)
	run(t, p.publisher)
	wait(t, "three attempts", func() bool {
		s := p.receiver.Status()
		return len(s.Sessions) == 1 && s.Sessions[0].Attempts >= 3
	})
	require.Equal(t, subscriber.StateConnecting, p.receiver.Status().State)
	_, err := p.publish()
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	server.Start()
	came := time.Now()
	waitState(t, p.receiver, subscriber.StateSubscribed)
	t.Logf("subscribed %s after Redis came up", time.Since(came))
	require.Less(t, time.Since(came), 10*time.Second, "a backoff step is at most 5 s")
	wait(t, "the publisher to find Redis", func() bool { return !p.publisher.Stats().Publisher.BreakerOpen })
	p.publishBy(publisher.RoutePubSub)
	p.requireHandled()
	require.Empty(t, p.gaps(), "nothing can be missed before the first time up")
}

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
				for i := range 5 {
					receipt := p.publishBy(publisher.RouteFallback)
					require.Less(t, receipt.Elapsed, budget+5*time.Second, "message %d", i)
				}
				p.requireHandled()
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
			require.LessOrEqual(t, waits[len(waits)/2], 50*time.Millisecond)
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
			began := time.Now()
			_, err := client.Publish(t.Context(), snapshot(t, 6200001, 2))
			took := time.Since(began)
			t.Logf("after %s: %v", took, err)
			require.LessOrEqual(t, took, 10*time.Second)
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
				wait(t, "the copy", func() bool { return p.receiver.Stats().Subscriber.Duplicates == uint64(n+1) })
				require.EqualValues(t, n+1, p.receiver.Stats().Subscriber.Handled)
				p.waitRecovered()
			}
			p.requireNothingElse()
		})
	}
}

// A message has one handling over all routes, whichever brings it first, also
// while the other copy is in its handler.
func TestClient_oneHandlingOverBothRoutes(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	direct := server.Client(t)
	receiver := newClient(t, environment{"REDIS_URL": server.URL(), "FOGIS_FALLBACK_TOKEN": "t0ken"}, fogispubsub.Options{})
	entered, leave := make(chan message.Via, 100), make(chan struct{})
	fogispubsub.On(receiver, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		entered <- m.Via
		<-leave
		return nil
	})
	url := serveFallback(t, receiver).URL
	runSubscribed(t, receiver)
	body := func(id string) string {
		data, err := message.AppendEncode(nil, message.Header{ID: id, Source: "test"}, snapshot(t, 6200001, 1))
		require.NoError(t, err)
		return string(data)
	}
	post := func(body string) <-chan string {
		answers := make(chan string, 1)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer t0ken")
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			answers <- fmt.Sprint(resp.StatusCode, " ", string(text))
		}()
		return answers
	}
	publish := func(body string) {
		require.EqualValues(t, 1, direct.Publish(t.Context(), message.ChannelMatchUpdates, body).Val())
	}
	duplicates := func(n uint64) {
		t.Helper()
		wait(t, "duplicates", func() bool { return receiver.Stats().Subscriber.Duplicates == n })
	}

	// By pub/sub, and by HTTP while that is being handled and once it is.
	publish(body("one"))
	require.Equal(t, message.ViaPubSub, receive(t, entered))
	waiting := post(body("one"))
	wait(t, "the POST to arrive", func() bool { return receiver.Stats().Subscriber.Received == 2 })
	require.Empty(t, waiting, "it waits for the outcome")
	leave <- struct{}{}
	require.Contains(t, receive(t, waiting), "200 ")
	require.Contains(t, receive(t, post(body("one"))), "200 ")
	duplicates(2)

	// By HTTP, and by pub/sub meanwhile and afterwards.
	waiting = post(body("two"))
	require.Equal(t, message.ViaHTTP, receive(t, entered))
	publish(body("two"))
	leave <- struct{}{}
	require.Contains(t, receive(t, waiting), "200 ")
	duplicates(3)
	publish(body("two"))
	duplicates(4)
	require.Empty(t, entered)

	// 2 000 copies by both routes at once.
	close(leave)
	var all []<-chan string
	for i := range 1000 {
		publish(body("three"))
		if i%50 == 0 {
			all = append(all, post(body("three")))
		}
	}
	for _, answer := range all {
		require.Contains(t, receive(t, answer), "200 ")
	}
	duplicates(4 + 1000 + 20 - 1)
	require.EqualValues(t, 3, receiver.Stats().Subscriber.Handled)
	require.Len(t, entered, 1)
}

// Run that is cancelled in the middle of a handler lets it finish; one that
// does not finish is told to stop when the drain's bound has passed.
func TestClient_Run_cancelledInHandler(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	direct := server.Client(t)
	for name, heedless := range map[string]bool{"finishes": false, "overstays": true} {
		t.Run(name, func(t *testing.T) {
			// Not parallel: the two would listen on the same channel.
			receiver := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
				Subscriber: subscriber.Options{DrainTimeout: 300 * time.Millisecond},
			})
			entered, leave, seen := make(chan struct{}, 10), make(chan struct{}), make(chan error, 10)
			fogispubsub.On(receiver, func(ctx context.Context, _ message.Message[message.ProcessingStatus]) error {
				entered <- struct{}{}
				select {
				case <-leave:
				case <-ctx.Done():
				}
				seen <- context.Cause(ctx)
				return ctx.Err()
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- receiver.Run(ctx) }()
			waitState(t, receiver, subscriber.StateSubscribed)
			body, err := message.AppendEncode(nil, message.Header{Source: "test"}, message.ProcessingStatus{Status: message.StatusStarted})
			require.NoError(t, err)
			require.EqualValues(t, 1, direct.Publish(t.Context(), message.ChannelProcessingStatus, body).Val())
			receive(t, entered)
			cancel()
			if !heedless {
				wait(t, "the subscription to end", func() bool {
					return direct.PubSubNumSub(t.Context(), message.ChannelProcessingStatus).Val()[message.ChannelProcessingStatus] == 0
				})
				require.Empty(t, ended, "Run waits for the handler")
				leave <- struct{}{}
				require.NoError(t, receive(t, seen), "the handler's context lives on")
				require.NoError(t, receive(t, ended))
				require.EqualValues(t, 1, receiver.Stats().Subscriber.Handled)
				return
			}
			began := time.Now()
			require.ErrorIs(t, receive(t, seen), subscriber.ErrDrainTimeout)
			require.ErrorIs(t, receive(t, ended), subscriber.ErrDrainTimeout)
			t.Logf("Run ended %s after it was cancelled", time.Since(began))
			require.Zero(t, receiver.Stats().Subscriber.Handled)
		})
	}
}

// What Redis refuses at the start ends Run, with the channel's name and
// without the password.
func TestClient_Run_refused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		user string // in the URL
		text string
	}{
		{"no right to the channel", "reader:" + logcheck.Password + "@", "NOPERM"},
		{"wrong password", "reader:hemligt@", "WRONGPASS"},
		{"no password", "", "NOAUTH"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t, "--requirepass", logcheck.Password)
			o := server.Options()
			o.Password = logcheck.Password
			admin := redis.NewClient(o)
			defer admin.Close()
			require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">"+logcheck.Password,
				"~*", "+@all", "resetchannels", "&"+message.ChannelProcessingStatus).Err())
			client := newClient(t, environment{"REDIS_URL": "redis://" + row.user + server.Addr()}, fogispubsub.Options{})
			listenAll(client)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := client.Run(ctx)
			require.NoError(t, ctx.Err(), "Run goes on trying")
			require.ErrorContains(t, err, row.text)
			if row.text == "NOPERM" {
				require.False(t, strings.Contains(err.Error(), message.ChannelProcessingStatus), "that one is allowed")
			}
			require.Regexp(t, "fogis:(matches:updates|processor:status|system:alerts)", err.Error())
			logcheck.Clean(t, "the error", err.Error())
			logcheck.CleanValue(t, "the status", client.Status())

			_, err = client.Publish(t.Context(), snapshot(t, 6200001, 1))
			require.ErrorContains(t, err, row.text)
			logcheck.Clean(t, "the error", err.Error())
			require.False(t, client.Stats().Publisher.BreakerOpen, "Redis lives")
		})
	}
}

// Disabled, everything goes by HTTP and nobody asks Redis.
func TestClient_disabled(t *testing.T) {
	t.Parallel()
	nowhere := faultnet.New(t, faultnet.Reserve(t))
	p := newPair(t, nowhere.Addr(), nowhere.Addr(), environment{"REDIS_ENABLED": "no"})
	require.NoError(t, p.receiver.Close())
	p.receiver = newClient(t, environment{"REDIS_URL": "redis://" + nowhere.Addr(), "REDIS_PUBSUB_ENABLED": "off", "FOGIS_FALLBACK_TOKEN": fallbackToken}, fogispubsub.Options{})
	p.handled = listen(p.receiver)
	h, err := p.receiver.FallbackHandler()
	require.NoError(t, err)
	p.posts.Handler = h
	run(t, p.receiver)
	run(t, p.publisher)
	waitState(t, p.receiver, subscriber.StateDisabled)
	for range 3 {
		p.publishBy(publisher.RouteFallback)
	}
	p.requireHandled()
	receipt, err := p.publisher.Publish(t.Context(), message.ProcessingStatus{Status: message.StatusStarted})
	require.NoError(t, err)
	require.Equal(t, publisher.RouteNone, receipt.Route)
	total, _ := nowhere.Conns()
	require.Zero(t, total)
}

// A handler that fails is called again, on both routes; given up, the HTTP
// sender learns of it and pub/sub goes on with the next message.
func TestClient_handlerFails(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	p := newPair(t, server.Addr(), server.Addr(), environment{"FOGIS_REQUIRE_RECEIVERS": "-1"})
	receiver := newClient(t, environment{"REDIS_URL": server.URL(), "FOGIS_FALLBACK_TOKEN": "t0ken"}, fogispubsub.Options{
		Subscriber: subscriber.Options{RetryDelay: time.Millisecond, MaxRetries: 2},
	})
	calls := make(chan int, 100)
	fogispubsub.On(receiver, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		calls <- int(m.Payload.Matches[0].ID.Int)
		if m.Payload.Matches[0].ID.Int == 6200001 {
			return errors.New("not today")
		}
		return nil
	})
	runSubscribed(t, receiver)
	p.publishBy(publisher.RoutePubSub)
	p.publishBy(publisher.RoutePubSub)
	var got []int
	for range 4 {
		got = append(got, receive(t, calls))
	}
	require.Equal(t, []int{6200001, 6200001, 6200001, 6200004}, got)
	wait(t, "the counters", func() bool { return receiver.Stats().Subscriber.Handled == 1 })
	require.EqualValues(t, 1, receiver.Stats().Subscriber.Failed)
}

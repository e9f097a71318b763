package fogispubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	wait(t, "the publisher to find Redis", func() bool { return !p.publisher.Stats().Publisher.BreakerOpen })
	p.publishBy(publisher.RoutePubSub)
	p.requireHandled()
	require.Empty(t, p.gaps(), "nothing can be missed before the first time up")
}

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
		req.Header.Set("Content-Type", "application/json")
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
	wait(t, "the handler's return", func() bool { return receiver.Stats().Subscriber.Handled == 3 })
	require.Len(t, entered, 1)
}

func TestClient_Run_cancelledInHandler(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	direct := server.Client(t)
	for name, drain := range map[string]time.Duration{"finishes": patience, "overstays": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			// Not parallel: the two would listen on the same channel.
			receiver := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
				Subscriber: subscriber.Options{DrainTimeout: drain},
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
			if name == "finishes" {
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

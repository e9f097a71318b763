package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

var kept = publisher.DurableOptions{Mode: publisher.DurableOn}

func TestPublisher_durable_keepsAndPublishesTheSameBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		heard := k.listener(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})

		receipt, err := p.Publish(t.Context(), update("Åby IF"))

		require.NoError(t, err)
		entries := k.entries(t)
		require.Len(t, entries, 1)
		require.Equal(t, publisher.Receipt{
			ID: entries[0].ID, Route: publisher.RouteStream, Receivers: 1, StreamID: entries[0].StreamID,
			Fallback: publisher.FallbackNone, Attempts: 1,
		}, receipt)
		synctest.Wait()
		require.Equal(t, [][]byte{entries[0].Body}, heard())
		e, err := message.Decode(entries[0].Body)
		require.NoError(t, err)
		require.True(t, e.Stream)
		require.Empty(t, fallback.got)
		require.Equal(t, uint64(1), p.Stats().Stream)
	})
}

// A service without streams may be reached by HTTP though its subscription is
// dead; the stream has the message whatever becomes of that.
func TestPublisher_durable_tooFewListeners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, publisher.FallbackAccepted, receipt.Fallback)
		require.Equal(t, receipt.StreamID, fallback.got[0].StreamID)
		require.True(t, bytes.HasPrefix(fallback.got[0].Body, []byte(`{"stream":true,`)))

		fallback.take = func(context.Context) error { return errors.New("no") }
		receipt, err = p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.FallbackFailed, receipt.Fallback)
		receipt, err = p.Publish(t.Context(), status("started"))
		require.NoError(t, err)
		require.Equal(t, publisher.FallbackNone, receipt.Fallback, "only match updates need listeners")
		require.Equal(t, names(1, 2), k.kept(t))
		require.Equal(t, uint64(2), p.Stats().TooFewReceivers)
	})
}

func TestPublisher_durable_lostAnswerIsNotKeptTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		k.listener(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.lose(2)
		receipt, err := p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, 3, receipt.Attempts)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, names(1, 2), k.kept(t))
		require.Equal(t, uint64(2), p.Stats().UnknownOutcomes)
	})
}

func TestPublisher_durable_redisAway_fallbackGetsThePlainForm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		k.setDown(true)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, publisher.FallbackAccepted, receipt.Fallback)
		require.True(t, bytes.HasPrefix(fallback.got[0].Body, []byte(`{"message_id":`)), "the stream does not have it")
		require.Empty(t, fallback.got[0].StreamID)
	})
}

// noStreams answers as a server that is older than streams.
func noStreams(args []string) string {
	switch strings.ToLower(args[0]) {
	case "evalsha", "eval", "multi", "exec", "xadd":
		return "-ERR unknown command '" + args[0] + "', with args beginning with: 'x' \r\n"
	}
	return ""
}

func TestPublisher_durableAuto_serverWithoutStreams_publishesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.answer = noStreams
		p := newPublisher(t, s.client(t), publisher.Options{Durable: publisher.DurableOptions{Mode: publisher.DurableAuto}})
		for range 2 {
			receipt, err := p.Publish(t.Context(), update("1"))
			require.NoError(t, err)
			require.Equal(t, publisher.RoutePubSub, receipt.Route)
			require.Equal(t, 1, receipt.Attempts)
			require.Empty(t, receipt.StreamID)
		}
		for _, r := range s.requests("publish") {
			require.True(t, strings.HasPrefix(r.args[2], `{"message_id":`), "no stream has it")
		}
		require.Len(t, s.requests("multi"), 1, "asked once")
		require.True(t, p.Stats().Degraded)
	})
}

func TestPublisher_durableOn_serverWithoutStreams_isAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.answer = noStreams
		p := newPublisher(t, s.client(t), publisher.Options{Durable: kept})
		_, err := p.Publish(t.Context(), update("1"))
		require.ErrorIs(t, failure(t, err), durable.ErrUnsupported)
		require.Empty(t, s.requests("publish"))
	})
}

// A process that kept a message once does not let another one go unkept.
func TestPublisher_durableAuto_neverDegradesLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		streams := true
		s.answer = func(args []string) string {
			switch strings.ToLower(args[0]) {
			case "evalsha":
				return "*1\r\n$3\r\n0-0\r\n"
			case "multi":
				if !streams {
					return noStreams(args)
				}
				return "+OK\r\n"
			case "xadd", "publish":
				if !streams {
					return "-ERR unknown command '" + args[0] + "'\r\n"
				}
				return "+QUEUED\r\n"
			case "exec":
				return "*2\r\n$3\r\n1-1\r\n:1\r\n"
			}
			return ""
		}
		p := newPublisher(t, s.client(t), publisher.Options{Durable: publisher.DurableOptions{Mode: publisher.DurableAuto}})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		streams = false
		_, err = p.Publish(t.Context(), update("2"))
		require.ErrorIs(t, failure(t, err), durable.ErrUnsupported)
		require.False(t, p.Stats().Degraded)
	})
}

func TestNew_durable_faults(t *testing.T) {
	t.Parallel()
	s := newServer()
	for _, test := range []struct {
		opts publisher.Options
		want string
	}{
		{publisher.Options{Durable: publisher.DurableOptions{Mode: "yes"}}, `unknown mode "yes"`},
		{publisher.Options{Durable: publisher.DurableOptions{MaxLen: 1}}, "no Mode"},
		{publisher.Options{Durable: kept, Channels: map[message.Type]string{message.TypeMatchUpdates: "a{b}"}}, `"a{b}"`},
	} {
		_, err := publisher.New(s.client(t), test.opts)
		require.ErrorContains(t, err, test.want)
	}
}

func TestPublisher_durable_realRedis(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	proxy := faultnet.New(t, s.Addr())
	heard := listen(t, s.Addr(), message.ChannelMatchUpdates)
	p := newPublisher(t, newClient(t, proxy.Addr()), publisher.Options{Durable: kept, RetryDelay: time.Millisecond, Budget: patience})
	for _, name := range names(1, 3) {
		swallowed := (<-chan struct{})(nil)
		if name == "2" {
			swallowed = proxy.SwallowNextAnswer("xadd")
		}
		receipt, err := p.Publish(t.Context(), update(name))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, int64(1), receipt.Receivers)
		require.Equal(t, name, homeTeam(t, []byte(receive(t, heard).Payload)))
		if swallowed != nil {
			<-swallowed
			require.Equal(t, name, homeTeam(t, []byte(receive(t, heard).Payload)), "once more, under its ID")
		}
	}
	var got []string
	for e, err := range durable.Replay(t.Context(), newClient(t, s.Addr()), message.ChannelMatchUpdates, durable.Position{}) {
		require.NoError(t, err)
		got = append(got, homeTeam(t, e.Body))
	}
	require.Equal(t, names(1, 3), got)
}

func TestPublisher_durable_realRedis_missingRight(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	require.NoError(t, s.Client(t).Do(t.Context(), "ACL", "SETUSER", "default", "-xadd").Err())
	p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Durable: publisher.DurableOptions{Mode: publisher.DurableAuto}})
	_, err := p.Publish(t.Context(), update("1"))
	require.ErrorContains(t, failure(t, err), "+xadd")
	require.False(t, p.Stats().Degraded, "a missing right is no missing command")
}

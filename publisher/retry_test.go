package publisher_test

import (
	"errors"
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

// A caller may give the error of the last attempt whatever it is.
func TestRetry_noError_leavesTheOtherOptions(t *testing.T) {
	t.Parallel()
	for _, none := range []error{
		nil, errors.New("of something else"), (*publisher.Error)(nil),
		&publisher.Error{Outbox: errors.New("not opened")}, // of a message that has no ID yet
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPublisher(t, newServer().client(t), publisher.Options{})
			receipt, err := p.Publish(t.Context(), update("1"), publisher.WithID("own"), publisher.Retry(none))
			require.NoError(t, err)
			require.Equal(t, "own", receipt.ID)
		})
	}
}

func TestRetry_andWithID_theLastOneCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t, newServer().client(t), publisher.Options{})
		failed := &publisher.Error{ID: "failed"}
		receipt, err := p.Publish(t.Context(), update("1"), publisher.WithID("own"), publisher.Retry(failed))
		require.NoError(t, err)
		require.Equal(t, "failed", receipt.ID)
		receipt, err = p.Publish(t.Context(), update("1"), publisher.Retry(failed), publisher.WithID("own"))
		require.NoError(t, err)
		require.Equal(t, "own", receipt.ID)
	})
}

// A Retry that was refused before anything was sent is still one of the first attempt.
func TestRetry_refused_isStillARetry(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]message.Payload{
		"nil": nil, "a pointer": &message.MatchUpdates{}, "no channel": blob{"x"}, "invalid": status(""),
		"too large": long("1", message.DefaultMaxBytes),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeeper(t)
				p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, MaxRetries: -1})
				_, err := p.Publish(t.Context(), update("0"))
				require.NoError(t, err)
				k.lose(1)
				_, err = p.Publish(t.Context(), update("1"))
				first := failure(t, err)
				require.True(t, first.Unknown)
				_, err = p.Publish(t.Context(), bad, publisher.Retry(err))
				require.ErrorIs(t, err, message.ErrInvalid)
				require.Equal(t, first.ID, failure(t, err).ID)
				time.Sleep(2 * time.Second)
				_, err = p.Publish(t.Context(), update("1"), publisher.Retry(err))
				require.NoError(t, err)
				require.Equal(t, names(0, 1), k.kept(t))
			})
		})
	}
}

// Redis kept the message and its answer was lost: sent again with the error it is
// in the stream once.
func TestRetry_realRedis_lostAnswer_isKeptOnce(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	proxy := faultnet.New(t, s.Addr())
	p := newPublisher(t, newClient(t, proxy.Addr()), publisher.Options{Durable: kept, MaxRetries: -1, RequireReceivers: -1})
	_, err := p.Publish(t.Context(), update("1"))
	require.NoError(t, err)
	lost := proxy.SwallowNextAnswer("xadd")
	_, err = p.Publish(t.Context(), update("2"))
	<-lost
	failed := failure(t, err)
	require.True(t, failed.Unknown)
	require.Eventually(t, func() bool {
		var receipt publisher.Receipt
		receipt, err = p.Publish(t.Context(), update("2"), publisher.Retry(err))
		return err == nil && receipt.ID == failed.ID && receipt.Route == publisher.RouteStream
	}, patience, 50*time.Millisecond, "the breaker lets it through after a second")

	var got []string
	for e, err := range durable.Replay(t.Context(), s.Client(t), message.ChannelMatchUpdates, durable.Position{}) {
		require.NoError(t, err)
		got = append(got, homeTeam(t, e.Body))
	}
	require.Equal(t, names(1, 2), got)
}

// What the first failure knew is not lost when the retry fails as well, whether
// Redis was asked then or not.
func TestRetry_ofARetry_isNotKeptTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, MaxRetries: -1})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.lose(1)
		_, err = p.Publish(t.Context(), update("2"))
		first := failure(t, err)
		require.True(t, first.Unknown)
		_, err = p.Publish(t.Context(), update("2"), publisher.Retry(err))
		second := failure(t, err)
		require.Zero(t, second.Attempts, "the breaker is open")
		require.True(t, second.Unknown)
		_, err = p.Publish(cancelled(t), update("2"), publisher.Retry(err))
		third := failure(t, err)
		require.True(t, third.Unknown)
		time.Sleep(2 * time.Second)
		receipt, err := p.Publish(t.Context(), update("2"), publisher.Retry(err))
		require.NoError(t, err)
		require.Equal(t, first.ID, receipt.ID)
		require.Equal(t, names(1, 2), k.kept(t))
	})
}

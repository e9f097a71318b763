package bench_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// settled is how many messages are handled between a return and the next kill.
const settled = 50

// returnAfterKill kills the subscriber's connection while statuses are being
// published and takes the time from before the kill to the handling of a
// status that was published after it.
func returnAfterKill(t *testing.T, server *realredis.Server) *result {
	client := newClient(t, server, fogispubsub.Options{})
	var killed atomic.Int64 // when, in µs; zero while no kill waits for its return
	returned := make(chan time.Time, 1)
	handled := newTally()
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.ProcessingStatus]) error {
		if at := killed.Load(); at != 0 && m.Timestamp.UnixMicro() > at {
			killed.Store(0)
			returned <- time.Now()
		}
		handled.one()
		return nil
	})
	run(t, client)

	stop := publishSteadily(t, newHand(t, handOptions(server)), message.ChannelProcessingStatus)
	defer stop()
	admin := newHand(t, handOptions(server))
	r := &result{unit: "ms"}
	for range slice(*pairs, 2) {
		handled.expect(settled)
		handled.wait(t)
		begin := time.Now()
		n, err := admin.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result()
		require.NoError(t, err)
		require.EqualValues(t, 1, n, "killed connections")
		killed.Store(time.Now().UnixMicro())
		select {
		case at := <-returned:
			r.values = append(r.values, float64(at.Sub(begin))/float64(time.Millisecond))
		case <-time.After(patience):
			t.Fatal("the handler was not called again")
		}
	}
	stats := client.Stats().Subscriber
	require.EqualValues(t, len(r.values), stats.Reconnects)
	require.GreaterOrEqual(t, stats.Gaps, stats.Reconnects, "each kill is a reported gap")
	return r
}

// publishSteadily publishes a status every 200 µs until the returned function
// is called.
func publishSteadily(t *testing.T, conn *redis.Client, channel string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ticker := time.NewTicker(200 * time.Microsecond)
		defer ticker.Stop()
		for n := uint64(1); ctx.Err() == nil; n++ {
			<-ticker.C
			body, err := message.AppendEncode(nil, header(n), status())
			if err == nil {
				err = conn.Publish(context.Background(), channel, body).Err()
			}
			if err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	return sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

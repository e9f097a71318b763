package subscriber_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestTest_goesThroughRedisAndTheLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, _ := box(t, subscriber.Options{}, got.handle)
		results, err := r.Test(t.Context())
		require.NoError(t, err)
		require.Len(t, results, 1)
		require.NoError(t, results[0].Err)
		require.Positive(t, results[0].Delivered)
		require.GreaterOrEqual(t, results[0].Handled, results[0].Delivered)
		require.Empty(t, got.IDs(), "no handler of the user's is called")
		require.Zero(t, r.Stats().Received, "nothing is counted")

		b.cut(true)
		synctest.Wait()
		results, err = r.Test(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, results[0].Err, subscriber.ErrNotDelivered)
		require.NoError(t, r.stop())
		_, err = r.Test(t.Context())
		require.ErrorIs(t, err, subscriber.ErrNotRunning)
	})
}

func TestTest_redisThatDeliversNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, _ := box(t, subscriber.Options{}, func(context.Context, *message.Envelope) error { return nil })
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PUBLISH" {
				c.WriteInt(1)
			}
			return cmd == "PUBLISH"
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results, err := r.Test(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, results[0].Err, subscriber.ErrNotDelivered)
		require.Zero(t, results[0].Delivered)
		require.NoError(t, r.stop())
	})
}

// A handler that hangs is what a test of the connection alone would not see.
func TestTest_handlerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b, r, _ := box(t, subscriber.Options{}, func(context.Context, *message.Envelope) error { <-release; return nil })
		b.Publish(statusChannel, string(status(t, "x")))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results, err := r.Test(ctx)
		require.NoError(t, err)
		require.ErrorContains(t, results[0].Err, "waits behind others")
		require.Positive(t, results[0].Delivered)
		require.Zero(t, results[0].Handled)
		close(release)
		require.NoError(t, r.stop())
	})
}

func TestTest_probesOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r, _ := box(t, subscriber.Options{ProbeInterval: -1}, func(context.Context, *message.Envelope) error { return nil })
		_, err := r.Test(t.Context())
		require.ErrorContains(t, err, "ProbeInterval")
		require.NoError(t, r.stop())
	})
}

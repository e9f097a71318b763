package bench_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// patience bounds every wait. A healthy run needs a fraction of it.
const patience = time.Minute

// newClient is the SDK as a service has it, logging at level info. It is
// closed when t ends.
func newClient(t *testing.T, server *realredis.Server, opts fogispubsub.Options) *fogispubsub.Client {
	t.Helper()
	opts.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	client, err := fogispubsub.New(config.Config{
		ServiceName: source,
		Redis:       config.Redis{URL: config.NewURL(server.URL())},
	}, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// run runs client until t ends, and returns when it is subscribed.
func run(t *testing.T, client *fogispubsub.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool { return client.Status().State == subscriber.StateSubscribed },
		patience, time.Millisecond, "the client is not subscribed")
}

// handOptions are those that the SDK gives its own client, so that the two
// sides differ in the SDK alone.
func handOptions(server *realredis.Server) *redis.Options {
	o := server.Options()
	o.ContextTimeoutEnabled, o.DisableIdentity, o.DialerRetries = true, true, 1
	return o
}

// newHand is the go-redis client of the hand-written side.
func newHand(t *testing.T, options *redis.Options) *redis.Client {
	t.Helper()
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// feed publishes messages as fast as Redis takes them, to be read by either
// side.
type feed struct {
	conn    *redis.Client
	channel string
	encode  func(t *testing.T, n uint64) []byte // message n
	sent    uint64
}

// batchBytes is how much a feed gives Redis at once.
const batchBytes = 1 << 20

// send publishes n messages and returns when Redis has taken them all, each
// for one listener.
func (f *feed) send(t *testing.T, n int) {
	t.Helper()
	pipe := f.conn.Pipeline()
	size := 0
	for i := range n {
		f.sent++
		body := f.encode(t, f.sent)
		pipe.Publish(t.Context(), f.channel, body)
		if size += len(body); size < batchBytes && i < n-1 {
			continue
		}
		size = 0
		answers, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		for _, answer := range answers {
			require.EqualValues(t, 1, answer.(*redis.IntCmd).Val(), "listeners to %s", f.channel)
		}
	}
}

// encodes makes the messages of a feed of p.
func encodes(p message.Payload) func(*testing.T, uint64) []byte {
	return func(t *testing.T, n uint64) []byte {
		t.Helper()
		return encoded(t, p, n)
	}
}

package fogispubsub_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func TestNew_makesTheClientOfTheAddress(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused by the test")
	for url, want := range map[string]struct {
		client  any
		dialled []string
	}{
		"redis://a:1/3":                    {&redis.Client{}, []string{"a:1"}},
		"redis://u:pw@a:1,b:2":             {&redis.ClusterClient{}, []string{"a:1", "b:2"}},
		"redis+sentinel://a:1,b:2/main/3":  {&redis.Client{}, []string{"a:1", "b:2"}},
		"rediss+sentinel://a:1,b:2/main/3": {&redis.Client{}, []string{"a:1", "b:2"}},
	} {
		var mu sync.Mutex
		var dialled []string
		var options []*redis.Options
		client, err := fogispubsub.New(config.Config{Redis: config.Redis{URL: config.NewURL(url)}}, fogispubsub.Options{
			Logger: logcheck.New(t),
			Redis: func(o *redis.Options) {
				options = append(options, o)
				o.Dialer = func(_ context.Context, _, addr string) (net.Conn, error) {
					mu.Lock()
					defer mu.Unlock()
					dialled = append(dialled, addr)
					return nil, &net.OpError{Op: "dial", Err: refused}
				}
			},
		})
		require.NoError(t, err, url)
		require.IsType(t, want.client, client.Redis(), url)
		require.Len(t, options, 1, url)
		require.Equal(t, url[:6] == "rediss", options[0].TLSConfig != nil, url)
		require.ErrorIs(t, client.Redis().Ping(t.Context()).Err(), refused, url)
		mu.Lock()
		require.Subset(t, want.dialled, dialled, url)
		require.NotEmpty(t, dialled, url)
		mu.Unlock()
		require.NoError(t, client.Close())
	}
}

func TestNew_refusesWhatRepeatsCommands(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://a", "redis://a,b", "redis+sentinel://a/main"} {
		_, err := fogispubsub.New(config.Config{Redis: config.Redis{URL: config.NewURL(url)}}, fogispubsub.Options{
			Logger: logcheck.New(t), Redis: func(o *redis.Options) { o.MaxRetries = 3 },
		})
		require.ErrorContains(t, err, "MaxRetries: -1", url)
		_, err = fogispubsub.New(config.Config{Redis: config.Redis{URL: config.NewURL(url)}}, fogispubsub.Options{
			Logger: logcheck.New(t), Redis: func(o *redis.Options) { o.ContextTimeoutEnabled = false },
		})
		require.ErrorContains(t, err, "ContextTimeoutEnabled", url)
	}
}

// A port without TLS waits for the rest of a command that never comes: the error
// names TLS, however little time the caller has.
func TestClient_Publish_tlsToAPlainPort(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	for mode, durable := range map[string]string{"plain": "false", "durable": "true"} {
		for name, limit := range map[string]time.Duration{"own time": 0, "a second": time.Second, "less": 200 * time.Millisecond} {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				client := newClient(t, environment{
					"REDIS_URL": "rediss://" + server.Addr(), "REDIS_DURABLE": durable, "FOGIS_SERVICE_NAME": "processor",
					"REDIS_CONNECTION_TIMEOUT": "2", "REDIS_MAX_RETRIES": "0",
				}, fogispubsub.Options{})
				ctx := t.Context()
				if limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, limit)
					defer cancel()
				}
				_, err := client.Publish(ctx, snapshot(t, 6200001, 1))
				require.ErrorContains(t, err, "TLS")
			})
		}
	}
}

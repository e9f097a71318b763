package health_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Password: "", ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestConnectionAndRoundTrip_healthy(t *testing.T) {
	t.Parallel()
	client := newClient(t, realredis.Start(t).Addr())
	for _, check := range []health.Check{health.Connection(t.Context(), client), health.RoundTrip(t.Context(), client)} {
		require.NoError(t, check.Err())
		require.Equal(t, health.Healthy, check.Status)
		require.Positive(t, check.Elapsed)
	}
}

func TestConnection_away_namesTheAddress(t *testing.T) {
	t.Parallel()
	addr := faultnet.Reserve(t)
	client := redis.NewClient(&redis.Options{Addr: addr, Password: logcheck.Password, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for _, check := range []health.Check{health.Connection(t.Context(), client), health.RoundTrip(t.Context(), client)} {
		require.Equal(t, health.Unhealthy, check.Status)
		require.ErrorContains(t, check.Err(), addr)
		logcheck.Clean(t, "error", check.Err().Error())
	}
}

func TestRoundTrip_serverThatDeliversNothing_isUnhealthy(t *testing.T) {
	t.Parallel()
	proxy := faultnet.New(t, realredis.Start(t).Addr())
	proxy.DropMessages(true)
	client := newClient(t, proxy.Addr())
	require.Equal(t, health.Healthy, health.Connection(t.Context(), client).Status, "it answers PING")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	check := health.RoundTrip(ctx, client)
	require.Equal(t, health.Unhealthy, check.Status)
	require.ErrorContains(t, check.Err(), "did not come back")
}

func TestConnection_blackHole_endsWithTheContext(t *testing.T) {
	t.Parallel()
	proxy := faultnet.New(t, realredis.Start(t).Addr())
	proxy.BlackHole(true)
	client := newClient(t, proxy.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.Equal(t, health.Unhealthy, health.Connection(ctx, client).Status)
	require.Equal(t, health.Unhealthy, health.RoundTrip(ctx, client).Status)
}

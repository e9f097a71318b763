package health_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
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

// The embedded server answers every question, as a real one does.
func TestServer_embeddedAndReal(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"embedded": strings.TrimPrefix(pubsubtest.StartRedis(t).URL(), "redis://"), "real": realredis.Start(t).Addr()} {
		checks := health.Server(t.Context(), newClient(t, addr), health.Question{
			Channels: []string{"fogis:matches:updates"},
			Commands: map[string][][]any{"fogis:matches:updates": {{"PUBLISH", "fogis:matches:updates", ""}, {"SUBSCRIBE", "fogis:matches:updates"}}},
		})
		require.Len(t, checks, 6)
		for _, check := range checks {
			require.Equal(t, health.Healthy, check.Status, "%s: %s: %v", name, check.Name, check.Findings)
			require.Positive(t, check.Elapsed, "%s: %s", name, check.Name)
		}
	}
}

// Of a Redis that is away, or takes no such command, nothing is made up.
func TestServer_away_isUnknown(t *testing.T) {
	t.Parallel()
	for _, check := range health.Server(t.Context(), newClient(t, faultnet.Reserve(t)), health.Question{}) {
		require.Equal(t, health.Unknown, check.Status, check.Name)
		require.NotEmpty(t, check.Findings)
	}
}

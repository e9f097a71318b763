package fogispubsub_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

// A fallback that refuses the token is seen though the stream has the message, so
// that nobody learns it in an outage: by asking, and by the message that failed.
func TestClient_Health_fallbackThatFailsBesideTheStream(t *testing.T) {
	t.Parallel()
	receiving := pubsubtest.StartRedis(t)
	receiving.Set("FOGIS_FALLBACK_TOKEN", logcheck.Password)
	url := serveFallback(t, newLocal(t, receiving, fogispubsub.Options{})).URL

	for name, test := range map[string]struct {
		token string
		want  health.State
	}{"wrong": {"guess", health.Unhealthy}, "none": {"", health.Unhealthy}, "right": {logcheck.Password, health.Healthy}} {
		sending := pubsubtest.StartRedis(t)
		sending.Set("REDIS_DURABLE", "true")
		sending.Set("FOGIS_SERVICE_NAME", "processor")
		sending.Set("FOGIS_FALLBACK_URL", url+"/manual-sync")
		sending.Set("FOGIS_FALLBACK_TOKEN", test.token)
		client := newLocal(t, sending, fogispubsub.Options{})
		fallback := client.Health(t.Context()).Check(health.NameFallback)
		require.Equal(t, test.want, fallback.Status, name)
		require.Equal(t, health.Healthy, client.Health(t.Context()).Check("publisher").Status)
		if test.want == health.Healthy {
			continue
		}
		require.ErrorContains(t, fallback.Err(), "FOGIS_FALLBACK_TOKEN")
		_, err := client.Publish(t.Context(), snapshot(t, 6200000, 1))
		require.NoError(t, err, "the stream has it")
		require.Eventually(t, func() bool {
			return client.Health(t.Context()).Check("publisher").Status == health.Degraded
		}, patience, patience/1000)
		publishing := client.Health(t.Context()).Check("publisher")
		require.ErrorContains(t, publishing.Err(), "401")
		logcheck.Clean(t, "finding", publishing.Err().Error())
	}
}

// What the settings warn of is a note of the report: it changes no state.
func TestClient_Health_notesUnusualSettings(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_MAX_RETRIES", "50")
	settings := newLocal(t, redis, fogispubsub.Options{}).Health(t.Context()).Check("settings")
	require.Equal(t, health.Healthy, settings.Status)
	require.Contains(t, settings.Findings[0].Reason, "REDIS_MAX_RETRIES is 50")
}

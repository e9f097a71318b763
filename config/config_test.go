package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
)

func TestConfig_Channel_falls_back_to_the_types_default(t *testing.T) {
	t.Parallel()
	var c config.Config
	require.Equal(t, "fogis:matches:updates", c.Channel(message.TypeMatchUpdates))
	require.Equal(t, "fogis:processor:status", c.Channel(message.TypeProcessingStatus))
	require.Equal(t, "fogis:system:alerts", c.Channel(message.TypeSystemAlert))
	require.Empty(t, c.Channel("weather"))

	c.Channels = config.Channels{MatchUpdates: "a", ProcessorStatus: "b", SystemAlerts: "c"}
	require.Equal(t, "a", c.Channel(message.TypeMatchUpdates))
	require.Equal(t, "b", c.Channel(message.TypeProcessingStatus))
	require.Equal(t, "c", c.Channel(message.TypeSystemAlert))
	require.Empty(t, c.Channel("weather"))
}

func TestConfig_WithDefaults_keeps_what_is_set(t *testing.T) {
	t.Parallel()
	c := config.Config{
		Redis:            config.Redis{URL: config.NewURL("redis://custom-redis:6379"), MaxRetries: -1, RetryDelay: -1, HealthCheckInterval: -1},
		Channels:         config.Channels{MatchUpdates: "custom:matches"},
		RequireReceivers: -1,
	}
	got := c.WithDefaults()
	require.Equal(t, "redis://custom-redis:6379", got.Redis.URL.Reveal())
	require.Equal(t, -1, got.Redis.MaxRetries)
	require.Equal(t, time.Duration(-1), got.Redis.RetryDelay)
	require.Equal(t, time.Duration(-1), got.Redis.HealthCheckInterval)
	require.Equal(t, -1, got.RequireReceivers)
	require.Equal(t, "custom:matches", got.Channels.MatchUpdates)
	require.Equal(t, "fogis:system:alerts", got.Channels.SystemAlerts)
	require.Equal(t, got, got.WithDefaults())
	require.Empty(t, c.ServiceName, "the receiver is a copy")
}

func TestConfig_Validate_accepts_zero_and_defaults(t *testing.T) {
	t.Parallel()
	require.NoError(t, config.Config{}.Validate())
	require.NoError(t, config.Config{}.WithDefaults().Validate())
}

func TestConfig_Validate_names_field_and_variable(t *testing.T) {
	t.Parallel()
	c := config.Config{
		ServiceName: "a b",
		Redis: config.Redis{
			URL:                 config.NewURL("http://redis"),
			ConnectionTimeout:   -1,
			SocketTimeout:       25 * time.Hour,
			RetryDelay:          25 * time.Hour,
			HealthCheckInterval: 25 * time.Hour,
		},
		Channels: config.Channels{MatchUpdates: "{a}", ProcessorStatus: "b", SystemAlerts: "b"},
		Fallback: config.Fallback{URL: config.NewURL("ftp://calendar"), Token: config.NewSecret("a b"), BatchSize: -1, Timeout: -1},
	}
	err := c.Validate()
	var settings *config.Error
	require.ErrorAs(t, err, &settings)
	var got [][2]string
	for _, f := range settings.Faults {
		got = append(got, [2]string{f.Field, f.Variable})
	}
	require.Equal(t, [][2]string{
		{"Redis.URL", "REDIS_URL"},
		{"Redis.ConnectionTimeout", "REDIS_CONNECTION_TIMEOUT"},
		{"Redis.SocketTimeout", "REDIS_SOCKET_TIMEOUT"},
		{"Redis.RetryDelay", "REDIS_RETRY_DELAY"},
		{"Redis.HealthCheckInterval", "REDIS_HEALTH_CHECK_INTERVAL"},
		{"Channels.MatchUpdates", "REDIS_MATCH_UPDATES_CHANNEL"},
		{"Channels.SystemAlerts", "REDIS_SYSTEM_ALERTS_CHANNEL"},
		{"ServiceName", "FOGIS_SERVICE_NAME"},
		{"Fallback.URL", "FOGIS_FALLBACK_URL"},
		{"Fallback.Token", "FOGIS_FALLBACK_TOKEN"},
		{"Fallback.BatchSize", "FOGIS_FALLBACK_BATCH_SIZE"},
		{"Fallback.Timeout", "FOGIS_FALLBACK_TIMEOUT"},
	}, got)
	require.ErrorContains(t, err, "Redis.URL (REDIS_URL): got a URL with scheme http, want redis://")
}

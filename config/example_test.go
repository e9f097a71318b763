package config_test

import (
	"fmt"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
)

func ExampleFromEnv() {
	environment := map[string]string{ // a program passes os.Getenv
		"REDIS_URL":                   "redis://calendar:hemligt@redis.example.com:6379",
		"REDIS_TIMEOUT":               "2.5",
		"REDIS_MATCH_UPDATES_CHANNEL": "club:matches",
	}
	cfg, err := config.FromEnv(func(name string) string { return environment[name] })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Redis.URL, cfg.Redis.SocketTimeout)
	fmt.Println(cfg.Channel(message.TypeMatchUpdates), cfg.Channel(message.TypeSystemAlert))
	// Output:
	// redis://***@redis.example.com:6379 2.5s
	// club:matches fogis:system:alerts
}

func ExampleFromEnv_faults() {
	environment := map[string]string{
		"REDIS_ENABLED":     "perhaps",
		"REDIS_MAX_RETRIES": "-3",
	}
	_, err := config.FromEnv(func(name string) string { return environment[name] })
	fmt.Println(err)
	// Output:
	// REDIS_ENABLED: got 7 letters, want true, 1, yes, y, on or enabled; or false, 0, no, n, off or disabled
	// REDIS_MAX_RETRIES: got a negative number, want a whole number from 0
}

func ExampleConfig_Validate() {
	cfg := config.Config{
		Redis: config.Redis{URL: config.NewURL("redis://custom-redis:6379")},
		Channels: config.Channels{
			MatchUpdates:    "custom:matches",
			ProcessorStatus: "custom:status",
			SystemAlerts:    "custom:status",
		},
	}
	fmt.Println(cfg.Validate())
	// Output:
	// Channels.SystemAlerts (REDIS_SYSTEM_ALERTS_CHANNEL): got the channel of REDIS_PROCESSOR_STATUS_CHANNEL, want a name without white space, control characters, {, } and ://, and of no other type
}

package fogispubsub

import (
	"log/slog"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// newFallback makes the HTTP route of the settings, or nil without a URL.
func newFallback(cfg config.Config, logger *slog.Logger) (*httpfallback.Client, error) {
	if cfg.Fallback.URL.IsZero() {
		return nil, nil
	}
	return httpfallback.New(cfg.Fallback.URL.Reveal(), httpfallback.Options{
		Token:     cfg.Fallback.Token,
		BatchSize: cfg.Fallback.BatchSize,
		Timeout:   cfg.Fallback.Timeout,
		Logger:    logger,
	})
}

// publisherOptions fills what o leaves zero from the settings.
func publisherOptions(cfg config.Config, o publisher.Options, logger *slog.Logger) publisher.Options {
	setZero(&o.Source, cfg.ServiceName)
	setZero(&o.RequireReceivers, cfg.RequireReceivers)
	setZero(&o.Budget, cfg.Redis.ConnectionTimeout)
	setZero(&o.MaxRetries, cfg.Redis.MaxRetries)
	setZero(&o.RetryDelay, cfg.Redis.RetryDelay)
	setZero(&o.Logger, logger)
	o.Channels = channels(cfg, o.Channels)
	setZero(&o.Durable.Mode, publisher.DurableMode(cfg.Durable.Mode))
	setZero(&o.Durable.MaxAge, cfg.Durable.MaxAge)
	setZero(&o.Durable.MaxLen, cfg.Durable.MaxLen)
	setZero(&o.Durable.MaxBytes, cfg.Durable.MaxBytes)
	o.Durable.NoRepeat = o.Durable.NoRepeat || cfg.Durable.NoLegacyRepeat
	if o.Durable.Mode == publisher.DurableOff {
		o.Durable = publisher.DurableOptions{} // the settings switch it off: what else is set is of no use
	}
	o.NoRetryOnTimeout = o.NoRetryOnTimeout || cfg.Redis.NoRetryOnTimeout
	o.Disabled = o.Disabled || cfg.Redis.Disabled
	return o
}

// subscriberOptions fills what o leaves zero from the settings.
func subscriberOptions(cfg config.Config, o subscriber.Options, logger *slog.Logger) subscriber.Options {
	setZero(&o.ProbeInterval, cfg.Redis.HealthCheckInterval)
	setZero(&o.Logger, logger)
	o.ChannelNames = channels(cfg, o.ChannelNames)
	if o.Durable.Group == "" {
		o.Durable.Group = cfg.Group()
		o.Durable.Auto = o.Durable.Auto || cfg.Durable.Mode == config.DurableAuto
	}
	if o.Durable.Group == "" {
		o.Durable = subscriber.DurableOptions{} // the settings switch it off
	}
	o.NoReconnect = o.NoReconnect || cfg.Redis.NoReconnect
	o.Disabled = o.Disabled || cfg.Redis.Disabled
	return o
}

// channels gives the settings' channel of each type, and over them the names
// that the caller set in code.
func channels(cfg config.Config, set map[message.Type]string) map[message.Type]string {
	names := map[message.Type]string{}
	for _, t := range message.Types() {
		names[t] = cfg.Channel(t)
	}
	for t, name := range set {
		names[t] = name
	}
	return names
}

func setZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

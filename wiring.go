package fogispubsub

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// redisOptions gives the options of a connection that repeats no write by
// itself and honours deadlines, as [publisher.New] demands.
func redisOptions(cfg config.Config) (*redis.Options, error) {
	endpoint, err := cfg.Redis.Endpoint()
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	o := &redis.Options{
		Network:               endpoint.Network,
		Addr:                  endpoint.Address,
		Username:              endpoint.Username,
		Password:              endpoint.Password.Reveal(),
		DB:                    endpoint.DB,
		DialTimeout:           cfg.Redis.ConnectionTimeout,
		ReadTimeout:           cfg.Redis.SocketTimeout,
		WriteTimeout:          cfg.Redis.SocketTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		DisableIdentity:       true,
		// Its automatic mode looks the host up by DNS while a client is made.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if endpoint.TLS {
		o.TLSConfig = &tls.Config{
			ServerName:         endpoint.ServerName,
			InsecureSkipVerify: endpoint.SkipVerify, // only if the URL says ssl_cert_reqs=none
			MinVersion:         tls.VersionTLS12,
		}
	}
	return o, nil
}

// tlsDialer heeds its context during the handshake, which that of go-redis does
// not.
func tlsDialer(o *redis.Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: o.DialTimeout}, Config: o.TLSConfig}).DialContext
}

// newFallback makes the HTTP route of the settings, or nil without a URL.
func newFallback(cfg config.Config, logger *slog.Logger) (*httpfallback.Client, error) {
	if cfg.Fallback.URL.IsZero() {
		return nil, nil
	}
	return httpfallback.New(cfg.Fallback.URL.Reveal(), httpfallback.Options{
		Token:     cfg.Fallback.Token.Reveal(),
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
	if o.Durable == (publisher.DurableOptions{}) && cfg.Durable.Mode != config.DurableOff {
		o.Durable = publisher.DurableOptions{
			Mode:   publisher.DurableMode(cfg.Durable.Mode),
			MaxAge: cfg.Durable.MaxAge, MaxLen: cfg.Durable.MaxLen, MaxBytes: cfg.Durable.MaxBytes,
			NoRepeat: cfg.Durable.NoLegacyRepeat,
		}
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
		if o.Durable.Group = cfg.Group(); o.Durable.Group != "" {
			o.Durable.Auto = o.Durable.Auto || cfg.Durable.Mode == config.DurableAuto
		}
	}
	o.NoReconnect = o.NoReconnect || cfg.Redis.NoReconnect
	o.Disabled = o.Disabled || cfg.Redis.Disabled
	return o
}

// channels gives the settings' channel of each type, and over them the names
// that the caller set in code.
func channels(cfg config.Config, set map[message.Type]string) map[message.Type]string {
	names := map[message.Type]string{}
	for _, t := range []message.Type{message.TypeMatchUpdates, message.TypeProcessingStatus, message.TypeSystemAlert} {
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

package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// The defaults that are no channel name.
const (
	defaultServiceName         = "fogispubsub"
	defaultHost                = "fogis-redis"
	defaultPort                = "6379"
	defaultSentinelPort        = "26379"
	defaultRedisURL            = "redis://" + defaultHost + ":" + defaultPort
	defaultTimeout             = 5 * time.Second
	defaultMaxRetries          = 3
	defaultRetryDelay          = time.Second
	defaultHealthCheckInterval = 30 * time.Second
	defaultBatchSize           = 1
	defaultFallbackTimeout     = 4500 * time.Millisecond
	defaultRequireReceivers    = 1
)

// Config is every setting of a client. The zero value is valid and means the
// defaults; it is a plain value, to be copied and changed at will before a
// client is made of it.
type Config struct {
	// ServiceName is the source in every message that the process sends.
	// "" means fogispubsub.
	ServiceName string

	Redis    Redis
	Channels Channels
	Fallback Fallback
	Durable  Durable

	// OutboxPath is the file that keeps what Redis did not take. "" means none.
	OutboxPath string

	// RequireReceivers is how many listeners Redis must report for match
	// updates before they count as delivered. Zero means 1; negative: none
	// needed.
	RequireReceivers int

	// Ineffective names the variables that were set and checked but change
	// nothing, in the order of the package's table. Only [FromEnv] fills it.
	Ineffective []string
	// Exposed names the _FILE variables whose file every user of the computer may
	// read. Only [FromEnvAndFiles] fills it.
	Exposed []string
}

// Redis says where Redis is and how patiently it is treated.
type Redis struct {
	// Disabled sends everything by the fallback and subscribes to nothing.
	Disabled bool
	// DecidedBy is the variable that settled Disabled, REDIS_PUBSUB_ENABLED
	// or REDIS_ENABLED; "" when neither was set.
	DecidedBy string

	// URL is the address of a server, of a Cluster or of Sentinels; see
	// [Redis.Endpoint].
	// Zero means redis://fogis-redis:6379.
	URL URL

	// ConnectionTimeout bounds a dial and the whole Redis part of one
	// Publish. Zero means 5 s.
	ConnectionTimeout time.Duration
	// SocketTimeout bounds the answer to a command. It is never applied to
	// the wait for the next message: a subscription may be silent for days.
	// Zero means 5 s.
	SocketTimeout time.Duration

	// MaxRetries is how often a Publish tries Redis again, within
	// ConnectionTimeout. Zero means 3; negative: never.
	MaxRetries int
	// RetryDelay is the pause before the first such attempt. Zero means 1 s;
	// negative: none.
	RetryDelay time.Duration
	// HealthCheckInterval is the silence after which a subscription proves
	// by a probe that messages still arrive. Zero means 30 s; negative: never.
	HealthCheckInterval time.Duration

	// NoReconnect makes Run return the error that ended a subscription's
	// connection (REDIS_AUTO_RECONNECT=false).
	NoReconnect bool
	// NoRetryOnTimeout hands a message to the next route as soon as an
	// attempt ended without an answer (REDIS_RETRY_ON_TIMEOUT=false).
	NoRetryOnTimeout bool
}

// Channels are the channel names of the three message types. "" means the
// type's [message.Type.DefaultChannel]. No two may be equal.
type Channels struct {
	MatchUpdates    string
	ProcessorStatus string
	SystemAlerts    string
}

// Fallback says where match updates go when Redis did not take them.
type Fallback struct {
	// URL is an http:// or https:// address, with the path. Zero: no fallback.
	URL URL
	// Token is sent as a bearer token, and asked for by a receiver of ours.
	Token Secret
	// BatchSize is how many matches go into one request to a Python
	// receiver. Zero means 1: it answers 200 when a match of many failed.
	BatchSize int
	// Timeout is how long the fallback goes on without an accepted request.
	// Zero means 4.5 s: with ConnectionTimeout it keeps a Publish below 10 s when
	// Redis and the receiver are both down.
	Timeout time.Duration
}

// DurableMode says whether messages are kept in Redis streams.
type DurableMode string

// The modes.
const (
	DurableOff  DurableMode = ""     // published only
	DurableAuto DurableMode = "auto" // kept, unless the server has no streams
	DurableOn   DurableMode = "on"   // kept; a server without streams is an error
)

// Durable says how messages are kept, so that those who were down get them
// later. The group that reads them is named by ServiceName.
type Durable struct {
	Mode DurableMode
	// MaxAge, MaxLen and MaxBytes bound each stream. Zero means 168 h, 1 000
	// and 96 MiB; negative: no bound.
	MaxAge   time.Duration
	MaxLen   int
	MaxBytes int64
	// NoLegacyRepeat ends the repeat of the newest snapshot for listeners that
	// come later (FOGIS_LEGACY_REPEAT=false).
	NoLegacyRepeat bool
}

// Group is the group that reads the streams for this process: ServiceName, or
// "" while messages are not kept or the service has no name of its own. Two
// services of one group would share the messages, and each would miss what the
// other one got.
func (c Config) Group() string {
	if c.Durable.Mode == DurableOff || c.ServiceName == defaultServiceName {
		return ""
	}
	return c.ServiceName
}

// WithDefaults returns a copy of c in which every zero field that has a
// default holds it. Fields that mean "off" by a negative number keep it.
func (c Config) WithDefaults() Config {
	setDefault(&c.ServiceName, defaultServiceName)
	if c.Redis.URL.IsZero() {
		c.Redis.URL = NewURL(defaultRedisURL)
	}
	setDefault(&c.Redis.ConnectionTimeout, defaultTimeout)
	setDefault(&c.Redis.SocketTimeout, defaultTimeout)
	setDefault(&c.Redis.MaxRetries, defaultMaxRetries)
	setDefault(&c.Redis.RetryDelay, defaultRetryDelay)
	setDefault(&c.Redis.HealthCheckInterval, defaultHealthCheckInterval)
	for _, t := range message.Types() {
		if name := c.Channels.of(t); name != nil {
			setDefault(name, t.DefaultChannel())
		}
	}
	setDefault(&c.Fallback.BatchSize, defaultBatchSize)
	setDefault(&c.Fallback.Timeout, defaultFallbackTimeout)
	setDefault(&c.RequireReceivers, defaultRequireReceivers)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// of is the setting of t's channel; nil for a type that has none.
func (c *Channels) of(t message.Type) *string {
	switch t {
	case message.TypeMatchUpdates:
		return &c.MatchUpdates
	case message.TypeProcessingStatus:
		return &c.ProcessorStatus
	case message.TypeSystemAlert:
		return &c.SystemAlerts
	}
	return nil
}

// Channel returns the channel that carries t: the configured one, else t's
// default; "" for a type that has neither.
func (c Config) Channel(t message.Type) string {
	name := ""
	if set := c.Channels.of(t); set != nil {
		name = *set
	}
	if name == "" {
		return t.DefaultChannel()
	}
	return name
}

// fallbackWarnings looks at who can read the token, and at the time that a
// Publish takes when Redis and the receiver are both down.
func (c Config) fallbackWarnings() (warnings []string) {
	u, err := url.Parse(c.Fallback.URL.Reveal())
	if err != nil || c.Fallback.URL.IsZero() {
		return nil
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || ip.IsLoopback()
	if u.Scheme == "http" && !local && (u.User != nil || !c.Fallback.Token.IsZero()) {
		warnings = append(warnings, "FOGIS_FALLBACK_URL is http://: whoever can read the network can read the token or password that is sent there; use https://, or a network of your own")
	}
	d := c.WithDefaults()
	if both := d.Redis.ConnectionTimeout + d.Fallback.Timeout; both >= 10*time.Second {
		warnings = append(warnings, fmt.Sprintf("FOGIS_FALLBACK_TIMEOUT and REDIS_CONNECTION_TIMEOUT: a Publish takes up to %s when Redis and the receiver are both down; together below 10s is usual", both))
	}
	return warnings
}

// Warnings returns what is allowed but looks like a mistake, a sentence each,
// in the order of the package's table. The limits are those of the first
// configuration class of the Python services.
func (c Config) Warnings() []string {
	var warnings []string
	if endpoint, err := c.Redis.Endpoint(); err == nil && endpoint.SkipVerify {
		warnings = append(warnings, "REDIS_URL has ssl_cert_reqs=none: any server can pretend to be Redis and read the password; remove it, or write required")
	}
	for _, variable := range c.Exposed {
		warnings = append(warnings, fmt.Sprintf("%s: every user of this computer may read the file; take the right away (chmod o-r)", variable))
	}
	if t := c.Redis.SocketTimeout; t > 30*time.Second {
		warnings = append(warnings, fmt.Sprintf("REDIS_SOCKET_TIMEOUT is %s: a Redis that hangs is noticed only after that; 30s or less is usual", t))
	}
	if n := c.Redis.MaxRetries; n > 10 {
		warnings = append(warnings, fmt.Sprintf("REDIS_MAX_RETRIES is %d: the fallback waits for them; 10 or fewer is usual", n))
	}
	if t := c.Redis.HealthCheckInterval; t > 0 && t < 10*time.Second {
		warnings = append(warnings, fmt.Sprintf("REDIS_HEALTH_CHECK_INTERVAL is %s: every subscriber probes that often; 10s or more is usual", t))
	}
	warnings = append(warnings, c.fallbackWarnings()...)
	if c.Durable.Mode == DurableAuto && (c.ServiceName == "" || c.ServiceName == defaultServiceName) {
		warnings = append(warnings, "FOGIS_SERVICE_NAME is not set: without a name of its own this process reads no streams, and what comes while it is down is not handled later")
	}
	return warnings
}

package config

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxDuration = 24 * time.Hour
	maxAge      = 366 * 24 * time.Hour
	wantAge     = "seconds as 600, or a time as 168h, at most 8784h, 0 for no bound"
	wantMode    = "auto, or a switch: true, 1, yes, y, on or enabled; or false, 0, no, n, off or disabled"
	wantGroup   = "a name of its own for this service, which its instances share: with REDIS_DURABLE it is the group that reads the streams"
	wantName    = "a name without white space, control characters, {, } and ://"
	wantToken   = "visible ASCII characters without spaces, and no user in FOGIS_FALLBACK_URL"
	wantBatch   = "a whole number from 1"
)

// zeroTime tells whether a time may be 0, which then means off.
type zeroTime bool

const (
	notZero zeroTime = false
	orZero  zeroTime = true
)

func (z zeroTime) want() string {
	if z {
		return "seconds as 5 or 0.5, or a time as 5s, at most 24h, 0 for off"
	}
	return "seconds as 5 or 0.5, or a time as 5s, above 0 and at most 24h"
}

// Validate reports every setting that cannot be used as one [*Error], in the
// order of the package's table, by field and by variable. Zero fields are
// valid: they mean their defaults.
func (c Config) Validate() error { return newError(c.faults()) }

func (c Config) faults() []Fault {
	var faults []Fault
	add := func(variable, field, got, want string) {
		if got != "" {
			faults = append(faults, Fault{Variable: variable, Field: field, Got: got, Want: want})
		}
	}
	if !c.Redis.URL.IsZero() {
		_, got := parseEndpoint(c.Redis.URL.Reveal())
		add("REDIS_URL", "Redis.URL", got, wantRedisURL)
	}
	addTime := func(variable, field string, d time.Duration, zero zeroTime) {
		add(variable, field, checkTime(d, zero), zero.want())
	}
	addTime("REDIS_CONNECTION_TIMEOUT", "Redis.ConnectionTimeout", c.Redis.ConnectionTimeout, notZero)
	addTime("REDIS_SOCKET_TIMEOUT", "Redis.SocketTimeout", c.Redis.SocketTimeout, notZero)
	addTime("REDIS_RETRY_DELAY", "Redis.RetryDelay", c.Redis.RetryDelay, orZero)
	addTime("REDIS_HEALTH_CHECK_INTERVAL", "Redis.HealthCheckInterval", c.Redis.HealthCheckInterval, orZero)

	c.channelFaults(add)
	add("FOGIS_SERVICE_NAME", "ServiceName", checkName(c.ServiceName), wantName)
	if c.Durable.Mode == DurableOn && (c.ServiceName == "" || c.ServiceName == defaultServiceName) {
		add("FOGIS_SERVICE_NAME", "ServiceName", "none", wantGroup)
	}

	if !c.Fallback.URL.IsZero() {
		add("FOGIS_FALLBACK_URL", "Fallback.URL", checkFallbackURL(c.Fallback.URL.Reveal()), wantHTTPURL)
	}
	add("FOGIS_FALLBACK_TOKEN", "Fallback.Token", checkToken(c.Fallback), wantToken)
	if c.Fallback.BatchSize < 0 {
		add("FOGIS_FALLBACK_BATCH_SIZE", "Fallback.BatchSize", "a negative number", wantBatch)
	}
	addTime("FOGIS_FALLBACK_TIMEOUT", "Fallback.Timeout", c.Fallback.Timeout, notZero)
	switch c.Durable.Mode {
	case DurableOff, DurableAuto, DurableOn:
	default:
		add("REDIS_DURABLE", "Durable.Mode", shape(string(c.Durable.Mode)), wantMode)
	}
	if c.Durable.MaxAge > maxAge {
		add("REDIS_STREAM_MAX_AGE", "Durable.MaxAge", "a time above 8784h", wantAge)
	}
	if strings.ContainsFunc(c.OutboxPath, unicode.IsControl) || !utf8.ValidString(c.OutboxPath) {
		add("FOGIS_OUTBOX_PATH", "OutboxPath", shape(c.OutboxPath)+" with control characters", "the path of a file in a directory that exists")
	}
	return faults
}

// channelFaults refuses bad names, and one channel for two types: a reader
// would meet messages that its handler does not know.
func (c Config) channelFaults(add func(variable, field, got, want string)) {
	c = c.WithDefaults()
	channels := []struct{ variable, field, name string }{
		{"REDIS_MATCH_UPDATES_CHANNEL", "Channels.MatchUpdates", c.Channels.MatchUpdates},
		{"REDIS_PROCESSOR_STATUS_CHANNEL", "Channels.ProcessorStatus", c.Channels.ProcessorStatus},
		{"REDIS_SYSTEM_ALERTS_CHANNEL", "Channels.SystemAlerts", c.Channels.SystemAlerts},
	}
	for i, channel := range channels {
		got := checkName(channel.name)
		for _, earlier := range channels[:i] {
			if got == "" && channel.name == earlier.name {
				got = "the channel of " + earlier.variable
			}
		}
		add(channel.variable, channel.field, got, wantName+", and of no other type")
	}
}

// checkTime refuses what the variable would refuse; a negative time in a
// Config is the variable's 0.
func checkTime(d time.Duration, zero zeroTime) (got string) {
	switch {
	case d < 0 && !bool(zero):
		return "a negative time"
	case d > maxDuration:
		return "a time above 24h"
	}
	return ""
}

func checkName(name string) (got string) {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '{' || r == '}' }
	switch {
	case !utf8.ValidString(name):
		return shape(name)
	case strings.ContainsAny(name, "{}"):
		return shape(name) + " with { or }"
	case strings.Contains(name, "://"):
		// Names are logged; a URL in the wrong variable can hold a password.
		return shape(name) + " with ://"
	case strings.ContainsFunc(name, bad):
		return shape(name) + " with white space or control characters"
	}
	return ""
}

func checkToken(f Fallback) (got string) {
	token := f.Token.Reveal()
	if !only(token, func(r rune) bool { return '!' <= r && r <= '~' }) {
		return shape(token) + ", not all of them visible ASCII"
	}
	if u, err := url.Parse(f.URL.Reveal()); err == nil && u.User != nil && token != "" {
		return "a token beside a user in FOGIS_FALLBACK_URL"
	}
	return ""
}

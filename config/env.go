package config

import (
	"cmp"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// variables holds every variable that FromEnv reads, in the order of the
// package's table; faults and ineffective variables are reported in it.
var variables = [...]string{
	"REDIS_PUBSUB_ENABLED",
	"REDIS_ENABLED",
	"REDIS_URL",
	"REDIS_URL_FILE",
	"REDIS_PASSWORD",
	"REDIS_PASSWORD_FILE",
	"REDIS_HOST",
	"REDIS_PORT",
	"REDIS_DB",
	"REDIS_CONNECTION_TIMEOUT",
	"REDIS_SOCKET_TIMEOUT",
	"REDIS_TIMEOUT",
	"REDIS_MAX_RETRIES",
	"REDIS_RETRY_DELAY",
	"REDIS_HEALTH_CHECK_INTERVAL",
	"REDIS_AUTO_RECONNECT",
	"REDIS_RETRY_ON_TIMEOUT",
	"REDIS_SUBSCRIPTION_TIMEOUT",
	"REDIS_DECODE_RESPONSES",
	"REDIS_MATCH_UPDATES_CHANNEL",
	"REDIS_PROCESSOR_STATUS_CHANNEL",
	"REDIS_SYSTEM_ALERTS_CHANNEL",
	"FOGIS_SERVICE_NAME",
	"FOGIS_FALLBACK_URL",
	"FOGIS_FALLBACK_URL_FILE",
	"FOGIS_FALLBACK_TOKEN",
	"FOGIS_FALLBACK_TOKEN_FILE",
	"FOGIS_FALLBACK_BATCH_SIZE",
	"FOGIS_FALLBACK_TIMEOUT",
	"FOGIS_REQUIRE_RECEIVERS",
	"REDIS_DURABLE",
	"REDIS_STREAM_MAX_AGE",
	"REDIS_STREAM_MAX_LEN",
	"REDIS_STREAM_MAX_BYTES",
	"FOGIS_LEGACY_REPEAT",
	"FOGIS_OUTBOX_PATH",
}

// FromEnv reads the settings that the package's table names through getenv,
// usually [os.Getenv], and returns them with their defaults filled in. The
// error is a [*Error] with every fault, and then the Config is zero. A command
// line overrides a variable by a getenv of its own. It reads no files: a _FILE
// variable is a fault, for which see [FromEnvAndFiles].
func FromEnv(getenv func(string) string) (Config, error) { return FromEnvAndFiles(getenv, nil) }

// FromEnvAndFiles is [FromEnv] that also reads the files of the _FILE variables,
// through open, usually a function around [os.Open].
func FromEnvAndFiles(getenv func(string) string, open func(name string) (fs.File, error)) (Config, error) {
	r := reader{getenv: getenv, open: open}
	var c Config
	r.enabled(&c.Redis)
	c.Redis.URL = r.redisURL()
	r.timeouts(&c.Redis)
	c.Redis.MaxRetries = offIfZero(r.number("REDIS_MAX_RETRIES", 0, "a whole number from 0"))
	c.Redis.RetryDelay = offIfZero(r.duration("REDIS_RETRY_DELAY", orZero))
	c.Redis.HealthCheckInterval = offIfZero(r.duration("REDIS_HEALTH_CHECK_INTERVAL", orZero))
	c.Redis.NoReconnect = r.off("REDIS_AUTO_RECONNECT")
	c.Redis.NoRetryOnTimeout = r.off("REDIS_RETRY_ON_TIMEOUT")
	r.duration("REDIS_SUBSCRIPTION_TIMEOUT", orZero)
	r.toggle("REDIS_DECODE_RESPONSES")
	r.unused("REDIS_SUBSCRIPTION_TIMEOUT", "REDIS_DECODE_RESPONSES")

	c.Channels.MatchUpdates = r.text("REDIS_MATCH_UPDATES_CHANNEL")
	c.Channels.ProcessorStatus = r.text("REDIS_PROCESSOR_STATUS_CHANNEL")
	c.Channels.SystemAlerts = r.text("REDIS_SYSTEM_ALERTS_CHANNEL")
	c.ServiceName = r.text("FOGIS_SERVICE_NAME")

	c.Fallback.URL = NewURL(withoutQuotes(r.secret("FOGIS_FALLBACK_URL")))
	c.Fallback.Token = NewSecret(r.unquoted("FOGIS_FALLBACK_TOKEN"))
	c.Fallback.BatchSize, _ = r.number("FOGIS_FALLBACK_BATCH_SIZE", 1, wantBatch)
	c.Fallback.Timeout, _ = r.duration("FOGIS_FALLBACK_TIMEOUT", notZero)
	c.RequireReceivers = r.requireReceivers()
	c.Durable = r.durable()
	c.OutboxPath = r.text("FOGIS_OUTBOX_PATH")

	c.Ineffective, c.Exposed = r.ineffective, r.exposed
	if err := newError(r.allFaults(c)); err != nil {
		return Config{}, err
	}
	return c.WithDefaults(), nil
}

// reader collects what is wrong with the variables while it reads them.
type reader struct {
	getenv      func(string) string
	open        func(string) (fs.File, error) // nil: no files
	faults      []Fault
	ineffective []string
	exposed     []string              // variables whose file others may read
	files       map[string]secretFile // by the variable whose value they hold
}

// allFaults joins the faults of single values with those that only the whole
// Config shows.
func (r *reader) allFaults(c Config) []Fault {
	faults := r.faults
	for _, f := range c.faults() {
		if file, found := r.files[f.Variable]; found {
			f.Variable, f.Got = file.variable, f.Got+" in "+file.shown()
		}
		if !slices.ContainsFunc(faults, func(g Fault) bool { return g.Variable == f.Variable }) {
			f.Field = ""
			faults = append(faults, f)
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Compare(slices.Index(variables[:], a.Variable), slices.Index(variables[:], b.Variable))
	})
	return faults
}

func (r *reader) fault(variable, value, want string) {
	r.faults = append(r.faults, Fault{Variable: variable, Got: shape(value), Want: want})
}

// unused notes which of the variables are set, though they change nothing.
func (r *reader) unused(variables ...string) {
	for _, variable := range variables {
		if r.text(variable) != "" {
			r.ineffective = append(r.ineffective, variable)
		}
	}
}

// text reads a variable. Docker hands over the quotes of an env file; no value
// but a secret begins and ends with them.
func (r *reader) text(variable string) string {
	return withoutQuotes(strings.TrimSpace(r.getenv(variable)))
}

// enabled settles whether Redis is used at all. Off wins, so that either of
// the two old switches still is the way back to HTTP that the guides promise.
func (r *reader) enabled(redis *Redis) {
	for _, variable := range []string{"REDIS_PUBSUB_ENABLED", "REDIS_ENABLED"} {
		on, set := r.toggle(variable)
		if !set || redis.Disabled {
			continue
		}
		if redis.DecidedBy == "" || !on {
			redis.DecidedBy = variable
		}
		redis.Disabled = !on
	}
}

// toggle reads a switch; set is false when it is unset or at fault.
func (r *reader) toggle(variable string) (on, set bool) {
	value := r.text(variable)
	switch strings.ToLower(value) {
	case "":
		return false, false
	case "true", "1", "yes", "y", "on", "enabled":
		return true, true
	case "false", "0", "no", "n", "off", "disabled":
		return false, true
	}
	r.fault(variable, value, "true, 1, yes, y, on or enabled; or false, 0, no, n, off or disabled")
	return false, false
}

func (r *reader) off(variable string) bool {
	on, set := r.toggle(variable)
	return set && !on
}

// redisURL returns REDIS_URL or the URL of its parts, with REDIS_PASSWORD.
func (r *reader) redisURL() URL {
	address := r.addressOfRedis()
	password := r.unquoted("REDIS_PASSWORD")
	if password == "" {
		return NewURL(address)
	}
	address, got := withPassword(cmp.Or(address, defaultRedisURL), password)
	if got != "" {
		variable := "REDIS_PASSWORD"
		if file, found := r.files[variable]; found {
			variable = file.variable
		}
		r.faults = append(r.faults, Fault{Variable: variable, Got: got, Want: wantOne})
	}
	return NewURL(address)
}

// addressOfRedis returns "" for the default. The parts are not even
// checked beside a URL: Kubernetes sets REDIS_PORT to tcp://… for a service
// that is named redis.
func (r *reader) addressOfRedis() string {
	parts := []string{"REDIS_HOST", "REDIS_PORT", "REDIS_DB"}
	if text := withoutQuotes(r.secret("REDIS_URL")); text != "" || r.text("REDIS_URL_FILE") != "" {
		r.unused(parts...)
		return text
	}
	host, port, db := r.text(parts[0]), r.text(parts[1]), r.text(parts[2])
	if host == "" && port == "" && db == "" {
		return ""
	}
	before := len(r.faults)
	if inner, found := strings.CutPrefix(host, "["); found && strings.HasSuffix(inner, "]") && strings.Contains(inner, ":") {
		host = strings.TrimSuffix(inner, "]")
	}
	host = cmp.Or(host, defaultHost)
	if !isHost(host) {
		r.fault(parts[0], r.text(parts[0]), "a host name or IP address, without scheme, port and user")
	}
	if _, ok := wholeNumber(cmp.Or(port, defaultPort), 1, maxPort); !ok {
		r.fault(parts[1], port, "a whole number from 1 to 65535")
	}
	if _, ok := wholeNumber(cmp.Or(db, "0"), 0, maxDB); !ok {
		r.fault(parts[2], db, "a whole number from 0")
	}
	if len(r.faults) > before {
		return ""
	}
	return "redis://" + net.JoinHostPort(host, cmp.Or(port, defaultPort)) + "/" + cmp.Or(db, "0")
}

// isHost takes the letters of host names, with the underscore of Compose
// services, and IP addresses without a zone.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	return only(host, func(r rune) bool {
		return r == '-' || r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	})
}

// timeouts gives REDIS_TIMEOUT, the calendar's only one, to whichever specific
// time is unset.
func (r *reader) timeouts(redis *Redis) {
	connection, ownConnection := r.duration("REDIS_CONNECTION_TIMEOUT", notZero)
	socket, ownSocket := r.duration("REDIS_SOCKET_TIMEOUT", notZero)
	common, _ := r.duration("REDIS_TIMEOUT", notZero)
	redis.ConnectionTimeout, redis.SocketTimeout = cmp.Or(connection, common), cmp.Or(socket, common)
	if ownConnection && ownSocket {
		r.unused("REDIS_TIMEOUT")
	}
}

// duration reads a time; set is false when it is unset or at fault.
func (r *reader) duration(variable string, zero zeroTime) (d time.Duration, set bool) {
	value := r.text(variable)
	if value == "" {
		return 0, false
	}
	d, ok := parseDuration(value)
	if !ok || d == 0 && !bool(zero) {
		r.fault(variable, value, zero.want())
		return 0, false
	}
	return d, true
}

func parseDuration(value string) (time.Duration, bool) { return parseTime(value, maxDuration) }

func parseTime(value string, most time.Duration) (time.Duration, bool) {
	if only(value, func(r rune) bool { return r == '.' || '0' <= r && r <= '9' }) {
		value += "s"
	}
	d, err := time.ParseDuration(value)
	return d, err == nil && d >= 0 && d <= most
}

// number reads a whole number without sign; set is false when it is unset or
// at fault.
func (r *reader) number(variable string, low int, want string) (n int, set bool) {
	value := r.text(variable)
	if value == "" {
		return 0, false
	}
	n, ok := wholeNumber(value, low, 1<<31-1)
	if !ok {
		r.fault(variable, value, want)
		return 0, false
	}
	return n, true
}

func (r *reader) requireReceivers() int {
	value := r.text("FOGIS_REQUIRE_RECEIVERS")
	if value == "" {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		r.fault("FOGIS_REQUIRE_RECEIVERS", value, "a whole number; 0 means 1, a negative one that none is needed")
	}
	return int(n)
}

func (r *reader) durable() (d Durable) {
	before := len(r.faults)
	if text := r.text("REDIS_DURABLE"); text == "" || strings.EqualFold(text, "auto") {
		d.Mode = DurableAuto
	} else if on, _ := r.toggle("REDIS_DURABLE"); on {
		d.Mode = DurableOn
	} else if len(r.faults) > before {
		r.faults[before].Want = wantMode
	}
	if value := r.text("REDIS_STREAM_MAX_AGE"); value != "" {
		age, ok := parseTime(value, maxAge)
		if !ok {
			r.fault("REDIS_STREAM_MAX_AGE", value, wantAge)
		}
		d.MaxAge = offIfZero(age, ok)
	}
	d.MaxLen = offIfZero(r.number("REDIS_STREAM_MAX_LEN", 0, "a whole number from 0"))
	bytes, set := r.number("REDIS_STREAM_MAX_BYTES", 0, "a whole number of bytes from 0 to 2147483647")
	d.MaxBytes = int64(offIfZero(bytes, set))
	d.NoLegacyRepeat = r.off("FOGIS_LEGACY_REPEAT")
	return d
}

// offIfZero turns a set zero into the negative number that means "off" in a
// Config, where zero means the default.
func offIfZero[T int | time.Duration](value T, set bool) T {
	if set && value == 0 {
		return -1
	}
	return value
}

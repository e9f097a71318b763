package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
)

// env is an environment of its own for each test.
type env map[string]string

func (e env) get(name string) string { return e[name] }

func (e env) with(name, value string) env {
	copied := env{name: value}
	for k, v := range e {
		if k != name {
			copied[k] = v
		}
	}
	return copied
}

func read(t *testing.T, e env) config.Config {
	t.Helper()
	c, err := config.FromEnv(e.get)
	require.NoError(t, err)
	return c
}

func faults(t *testing.T, e env) []config.Fault {
	t.Helper()
	c, err := config.FromEnv(e.get)
	var settings *config.Error
	require.ErrorAs(t, err, &settings)
	require.Equal(t, config.Config{}, c, "a faulty environment gives no Config")
	require.NotEmpty(t, settings.Faults)
	return settings.Faults
}

func faultOf(t *testing.T, variable, value string) config.Fault {
	t.Helper()
	found := faults(t, env{variable: value})
	require.Len(t, found, 1, "%v", found)
	require.Equal(t, variable, found[0].Variable)
	require.Empty(t, found[0].Field)
	return found[0]
}

func TestFromEnv_without_any_variable_gives_the_defaults(t *testing.T) {
	t.Parallel()
	c := read(t, nil)
	require.Equal(t, config.Config{
		ServiceName: "fogispubsub",
		Redis: config.Redis{
			URL:                 config.NewURL("redis://fogis-redis:6379"),
			ConnectionTimeout:   5 * time.Second,
			SocketTimeout:       5 * time.Second,
			MaxRetries:          3,
			RetryDelay:          time.Second,
			HealthCheckInterval: 30 * time.Second,
		},
		Channels: config.Channels{
			MatchUpdates:    "fogis:matches:updates",
			ProcessorStatus: "fogis:processor:status",
			SystemAlerts:    "fogis:system:alerts",
		},
		Fallback:         config.Fallback{BatchSize: 1, Timeout: 4500 * time.Millisecond},
		RequireReceivers: 1,
		Durable:          config.Durable{Mode: config.DurableAuto},
	}, c)
	c.Durable = config.Durable{} // a zero Config is plain
	require.Equal(t, c, config.Config{}.WithDefaults(), "by hand and by environment the same defaults")
	require.Empty(t, c.Warnings())
}

// The guide's own example environment must be taken as it stands.
func TestFromEnv_takes_the_guides_environment(t *testing.T) {
	t.Parallel()
	c := read(t, env{
		"REDIS_URL":                      "redis://fogis-redis:6379",
		"REDIS_PUBSUB_ENABLED":           "true",
		"REDIS_CONNECTION_TIMEOUT":       "5",
		"REDIS_SOCKET_TIMEOUT":           "5",
		"REDIS_MAX_RETRIES":              "3",
		"REDIS_RETRY_DELAY":              "1.0",
		"REDIS_HEALTH_CHECK_INTERVAL":    "30",
		"REDIS_SUBSCRIPTION_TIMEOUT":     "1",
		"REDIS_MATCH_UPDATES_CHANNEL":    "fogis:matches:updates",
		"REDIS_PROCESSOR_STATUS_CHANNEL": "fogis:processor:status",
		"REDIS_SYSTEM_ALERTS_CHANNEL":    "fogis:system:alerts",
		"REDIS_DECODE_RESPONSES":         "true",
		"REDIS_AUTO_RECONNECT":           "true",
		"REDIS_RETRY_ON_TIMEOUT":         "true",
	})
	want := read(t, nil)
	want.Redis.DecidedBy = "REDIS_PUBSUB_ENABLED"
	want.Ineffective = []string{"REDIS_SUBSCRIPTION_TIMEOUT", "REDIS_DECODE_RESPONSES"}
	require.Equal(t, want, c)
}

func TestFromEnv_reads_every_setting(t *testing.T) {
	t.Parallel()
	c := read(t, env{
		"REDIS_PUBSUB_ENABLED":           "off",
		"REDIS_URL":                      "rediss://calendar:pw@redis.example.com:6380/2",
		"REDIS_CONNECTION_TIMEOUT":       "3",
		"REDIS_SOCKET_TIMEOUT":           "1500ms",
		"REDIS_MAX_RETRIES":              "7",
		"REDIS_RETRY_DELAY":              "0.25",
		"REDIS_HEALTH_CHECK_INTERVAL":    "1m",
		"REDIS_AUTO_RECONNECT":           "no",
		"REDIS_RETRY_ON_TIMEOUT":         "0",
		"REDIS_MATCH_UPDATES_CHANNEL":    "club:matches",
		"REDIS_PROCESSOR_STATUS_CHANNEL": "club:status",
		"REDIS_SYSTEM_ALERTS_CHANNEL":    "club:alerts",
		"FOGIS_SERVICE_NAME":             "kalender-öst",
		"FOGIS_FALLBACK_URL":             "http://calendar.example.com:5003/manual-sync",
		"FOGIS_FALLBACK_TOKEN":           "t0ken",
		"FOGIS_FALLBACK_BATCH_SIZE":      "10",
		"FOGIS_FALLBACK_TIMEOUT":         "45",
		"FOGIS_REQUIRE_RECEIVERS":        "2",
	})
	require.Equal(t, config.Config{
		ServiceName: "kalender-öst",
		Redis: config.Redis{
			Disabled:            true,
			DecidedBy:           "REDIS_PUBSUB_ENABLED",
			URL:                 config.NewURL("rediss://calendar:pw@redis.example.com:6380/2"),
			ConnectionTimeout:   3 * time.Second,
			SocketTimeout:       1500 * time.Millisecond,
			MaxRetries:          7,
			RetryDelay:          250 * time.Millisecond,
			HealthCheckInterval: time.Minute,
			NoReconnect:         true,
			NoRetryOnTimeout:    true,
		},
		Channels: config.Channels{MatchUpdates: "club:matches", ProcessorStatus: "club:status", SystemAlerts: "club:alerts"},
		Fallback: config.Fallback{
			URL:       config.NewURL("http://calendar.example.com:5003/manual-sync"),
			Token:     config.NewSecret("t0ken"),
			BatchSize: 10,
			Timeout:   45 * time.Second,
		},
		Durable:          config.Durable{Mode: config.DurableAuto},
		RequireReceivers: 2,
	}, c)
}

func TestFromEnv_takes_an_empty_variable_as_unset(t *testing.T) {
	t.Parallel()
	defaults := read(t, nil)
	for _, blank := range []string{"", " ", "\t\r\n"} {
		require.Equal(t, defaults, read(t, blankEverywhere(blank)))
	}
}

func blankEverywhere(blank string) env {
	e := env{}
	for _, name := range documented() {
		e[name] = blank
	}
	return e
}

// documented returns the variables of the table in the package's comment.
func documented() []string {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, row := range regexp.MustCompile(`(?m)^//\t((?:REDIS|FOGIS)_[A-Z_]+) `).FindAllSubmatch(source, -1) {
		names = append(names, string(row[1]))
	}
	return names
}

func TestFromEnv_reads_exactly_the_documented_variables(t *testing.T) {
	t.Parallel()
	var asked []string
	_, err := config.FromEnv(func(name string) string {
		asked = append(asked, name)
		return ""
	})
	require.NoError(t, err)
	slices.Sort(asked)
	want := documented()
	slices.Sort(want)
	require.Equal(t, want, slices.Compact(asked))
}

func TestFromEnv_settles_the_two_switches(t *testing.T) {
	t.Parallel()
	const pubsub, plain = "REDIS_PUBSUB_ENABLED", "REDIS_ENABLED"
	for _, test := range []struct {
		pubsub, plain string
		disabled      bool
		decidedBy     string
	}{
		{"", "", false, ""},
		{"true", "", false, pubsub},
		{"", "true", false, plain},
		{"true", "true", false, pubsub},
		{"false", "", true, pubsub},
		{"", "false", true, plain},
		{"false", "false", true, pubsub},
		{"false", "true", true, pubsub},
		{"true", "false", true, plain},
	} {
		c := read(t, env{pubsub: test.pubsub, plain: test.plain})
		require.Equal(t, test.disabled, c.Redis.Disabled, "%+v", test)
		require.Equal(t, test.decidedBy, c.Redis.DecidedBy, "%+v", test)
	}
}

// REDIS_ENABLED=1 turns the Python calendar off; here nothing but a known
// spelling of "off" does.
func TestFromEnv_knows_the_spellings_of_a_switch(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"REDIS_PUBSUB_ENABLED", "REDIS_ENABLED", "REDIS_AUTO_RECONNECT", "REDIS_RETRY_ON_TIMEOUT"} {
		for _, on := range []string{"true", "1", "yes", "y", "on", "enabled", "TRUE", "Yes", " on ", "True\r\n"} {
			c := read(t, env{variable: on})
			require.False(t, c.Redis.Disabled || c.Redis.NoReconnect || c.Redis.NoRetryOnTimeout, "%s=%q", variable, on)
		}
		for _, off := range []string{"false", "0", "no", "n", "off", "disabled", "FALSE", "No", " off ", "Disabled\r\n"} {
			c := read(t, env{variable: off})
			require.True(t, c.Redis.Disabled || c.Redis.NoReconnect || c.Redis.NoRetryOnTimeout, "%s=%q", variable, off)
		}
	}
	for _, variable := range []string{"REDIS_PUBSUB_ENABLED", "REDIS_ENABLED", "REDIS_AUTO_RECONNECT", "REDIS_RETRY_ON_TIMEOUT", "REDIS_DECODE_RESPONSES"} {
		for value, got := range map[string]string{"maybe": "5 letters", "2": "1 digit", "-1": "a negative number", `"true`: "5 characters", "ja": "2 letters", "t": "1 letter"} {
			fault := faultOf(t, variable, value)
			require.Equal(t, got, fault.Got, "%s=%q", variable, value)
			require.Contains(t, fault.Want, "true, 1, yes, y, on or enabled")
			require.Contains(t, fault.Want, "false, 0, no, n, off or disabled")
		}
	}
}

func TestFromEnv_prefers_the_specific_timeout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		connection, socket, common string
		wantConnection, wantSocket time.Duration
		ineffective                []string
	}{
		{"", "", "", 5 * time.Second, 5 * time.Second, nil},
		{"", "", "7", 7 * time.Second, 7 * time.Second, nil},
		{"2", "", "", 2 * time.Second, 5 * time.Second, nil},
		{"2", "", "7", 2 * time.Second, 7 * time.Second, nil},
		{"", "3", "7", 7 * time.Second, 3 * time.Second, nil},
		{"2", "3", "7", 2 * time.Second, 3 * time.Second, []string{"REDIS_TIMEOUT"}},
		{"0.5", "5s", "", 500 * time.Millisecond, 5 * time.Second, nil},
	} {
		c := read(t, env{"REDIS_CONNECTION_TIMEOUT": test.connection, "REDIS_SOCKET_TIMEOUT": test.socket, "REDIS_TIMEOUT": test.common})
		require.Equal(t, test.wantConnection, c.Redis.ConnectionTimeout, "%+v", test)
		require.Equal(t, test.wantSocket, c.Redis.SocketTimeout, "%+v", test)
		require.Equal(t, test.ineffective, c.Ineffective, "%+v", test)
	}
}

func TestFromEnv_reads_times(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"5": 5 * time.Second, "0.5": 500 * time.Millisecond, "5s": 5 * time.Second, "1.0": time.Second, ".5": 500 * time.Millisecond,
		"250ms": 250 * time.Millisecond, "2m": 2 * time.Minute, "24h": 24 * time.Hour, " 5\n": 5 * time.Second, "007": 7 * time.Second,
	} {
		require.Equal(t, want, read(t, env{"REDIS_TIMEOUT": value}).Redis.SocketTimeout, "%q", value)
	}
	for value, got := range map[string]string{
		"0": "1 digit", "0.0": "a decimal number", "-5": "a negative number", "five": "4 letters", "0,5": "3 characters", "5 s": "3 characters",
		"86401": "5 digits", "25h": "3 characters", "1e3": "a decimal number", "NaN": "3 letters", "Inf": "3 letters",
		"99999999999999999999": "20 digits", ".": "1 character", "1.2.3": "5 characters", "\xff": "text that is not UTF-8",
	} {
		for _, variable := range []string{"REDIS_TIMEOUT", "REDIS_CONNECTION_TIMEOUT", "REDIS_SOCKET_TIMEOUT", "FOGIS_FALLBACK_TIMEOUT"} {
			fault := faultOf(t, variable, value)
			require.Equal(t, got, fault.Got, "%s=%q", variable, value)
			require.Equal(t, "seconds as 5 or 0.5, or a time as 5s, above 0 and at most 24h", fault.Want)
		}
	}
}

func TestFromEnv_turns_a_written_zero_into_off(t *testing.T) {
	t.Parallel()
	c := read(t, env{"REDIS_MAX_RETRIES": "0", "REDIS_RETRY_DELAY": "0", "REDIS_HEALTH_CHECK_INTERVAL": "0s", "FOGIS_REQUIRE_RECEIVERS": "-1"})
	require.Negative(t, c.Redis.MaxRetries)
	require.Negative(t, c.Redis.RetryDelay)
	require.Negative(t, c.Redis.HealthCheckInterval)
	require.Negative(t, c.RequireReceivers)
	require.NoError(t, c.Validate())
	require.Equal(t, 1, read(t, env{"FOGIS_REQUIRE_RECEIVERS": "0"}).RequireReceivers)
}

func TestFromEnv_refuses_other_numbers(t *testing.T) {
	t.Parallel()
	for variable, values := range map[string][]string{
		"REDIS_MAX_RETRIES":         {"-1", "1.5", "three", "0x3", "1_000", "+3", "99999999999"},
		"FOGIS_FALLBACK_BATCH_SIZE": {"0", "-1", "ten", "2.0"},
		"FOGIS_REQUIRE_RECEIVERS":   {"one", "1.0", "99999999999", "--1"},
		"REDIS_DB":                  {"-1", "x", "99999999999"},
		"REDIS_PORT":                {"0", "65536", "-1", "http"},
	} {
		for _, value := range values {
			require.Contains(t, faultOf(t, variable, value).Want, "whole number", "%s=%q", variable, value)
		}
	}
}

func TestFromEnv_builds_the_url_of_its_parts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env  env
		want string
	}{
		{env{"REDIS_HOST": "redis"}, "redis://redis:6379/0"},
		{env{"REDIS_PORT": "6380"}, "redis://fogis-redis:6380/0"},
		{env{"REDIS_DB": "3"}, "redis://fogis-redis:6379/3"},
		{env{"REDIS_HOST": "10.0.0.7", "REDIS_PORT": "7000", "REDIS_DB": "1"}, "redis://10.0.0.7:7000/1"},
		{env{"REDIS_HOST": "fogis_redis.internal"}, "redis://fogis_redis.internal:6379/0"},
		{env{"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"},
		{env{"REDIS_HOST": "[::1]"}, "redis://[::1]:6379/0"},
	} {
		c := read(t, test.env)
		require.Equal(t, test.want, c.Redis.URL.Reveal())
		require.NoError(t, c.Validate())
	}
	for _, host := range []string{"redis:6379", "redis://redis", "user@redis", "redis/0", "a b", "a,b", "::1:x", "fe80::1%eth0", "]", "[", "[]", "[redis]", "[::1", "::1]", "h;db=1"} {
		require.Contains(t, faultOf(t, "REDIS_HOST", host).Want, "without scheme, port and user", "%q", host)
	}
}

func TestFromEnv_reads_no_parts_beside_a_url(t *testing.T) {
	t.Parallel()
	// Kubernetes sets such a REDIS_PORT for a service that is named redis.
	kubernetes := env{"REDIS_PORT": "tcp://10.0.0.9:6379", "REDIS_HOST": "elsewhere"}
	c := read(t, kubernetes.with("REDIS_URL", "redis://here:6379"))
	require.Equal(t, "redis://here:6379", c.Redis.URL.Reveal())
	require.Equal(t, []string{"REDIS_HOST", "REDIS_PORT"}, c.Ineffective)

	found := faults(t, kubernetes)
	require.Equal(t, "a URL with scheme tcp", found[0].Got)
}

func TestFromEnv_reports_all_faults_in_the_order_of_the_table(t *testing.T) {
	t.Parallel()
	bad := env{}
	for _, name := range documented() {
		bad[name] = "\x01{"
	}
	order := func(e env) (names []string) {
		for _, f := range faults(t, e) {
			names = append(names, f.Variable)
		}
		return names
	}
	withoutParts := slices.DeleteFunc(documented(), func(name string) bool {
		// Any text may be a password.
		return slices.Contains([]string{"REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"}, name)
	})
	for range 20 {
		require.Equal(t, withoutParts, order(bad))
	}
	withoutURL := slices.DeleteFunc(documented(), func(name string) bool {
		return slices.Contains([]string{"REDIS_URL", "REDIS_URL_FILE", "REDIS_PASSWORD"}, name)
	})
	require.Equal(t, withoutURL, order(bad.with("REDIS_URL", "").with("REDIS_URL_FILE", "")))
}

func TestError_has_a_line_for_each_fault(t *testing.T) {
	t.Parallel()
	_, err := config.FromEnv(env{"REDIS_ENABLED": "maybe", "REDIS_URL": "http://redis:6379", "REDIS_MAX_RETRIES": "many"}.get)
	require.EqualError(t, err, strings.Join([]string{
		"REDIS_ENABLED: got 5 letters, want true, 1, yes, y, on or enabled; or false, 0, no, n, off or disabled",
		"REDIS_URL: got a URL with scheme http, want redis://[user:password@]host[:port][/db], rediss://… or unix://[user:password@]/path, redis://…host[:port],host[:port] for a Cluster, or redis+sentinel://[user:password@]host[:port],host[:port]/master[/db], special characters percent-encoded",
		"REDIS_MAX_RETRIES: got 4 letters, want a whole number from 0",
	}, "\n"))
	var fault config.Fault
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "REDIS_ENABLED", fault.Variable)
}

func TestFromEnv_refuses_bad_names(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"REDIS_MATCH_UPDATES_CHANNEL", "REDIS_PROCESSOR_STATUS_CHANNEL", "REDIS_SYSTEM_ALERTS_CHANNEL", "FOGIS_SERVICE_NAME"} {
		for _, name := range []string{"{a}", "a}", "a b", "a\nb", "a\x00b", "a\u00a0b", "\xff\xfe"} {
			require.Contains(t, faultOf(t, variable, name).Want, "a name without", "%s=%q", variable, name)
		}
	}
	require.Equal(t, "12 characters with { or }", faultOf(t, "REDIS_MATCH_UPDATES_CHANNEL", "{fogis}:matc").Got)
}

func TestFromEnv_refuses_one_channel_for_two_types(t *testing.T) {
	t.Parallel()
	found := faults(t, env{"REDIS_MATCH_UPDATES_CHANNEL": "all", "REDIS_PROCESSOR_STATUS_CHANNEL": "all", "REDIS_SYSTEM_ALERTS_CHANNEL": "all"})
	require.Len(t, found, 2)
	require.Equal(t, "REDIS_PROCESSOR_STATUS_CHANNEL", found[0].Variable)
	require.Equal(t, "the channel of REDIS_MATCH_UPDATES_CHANNEL", found[0].Got)
	require.Equal(t, "REDIS_SYSTEM_ALERTS_CHANNEL", found[1].Variable)

	// A default collides as well.
	found = faults(t, env{"REDIS_SYSTEM_ALERTS_CHANNEL": message.ChannelMatchUpdates})
	require.Len(t, found, 1)
}

func TestFromEnv_refuses_a_token_that_no_header_can_carry(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"two words", "line\nbreak", "lösen", "nul\x00"} {
		require.Contains(t, faultOf(t, "FOGIS_FALLBACK_TOKEN", token).Want, "visible ASCII", "%q", token)
	}
	require.Equal(t, "dG9rZW4=", read(t, env{"FOGIS_FALLBACK_TOKEN": " dG9rZW4=\n"}).Fallback.Token.Reveal())
}

func TestConfig_Warnings_names_what_looks_wrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env   env
		names []string
	}{
		{env{"FOGIS_SERVICE_NAME": "calendar", "REDIS_SOCKET_TIMEOUT": "30", "REDIS_MAX_RETRIES": "10", "REDIS_HEALTH_CHECK_INTERVAL": "10"}, nil},
		{env{"REDIS_DURABLE": "false", "REDIS_HEALTH_CHECK_INTERVAL": "0"}, nil},
		{env{}, []string{"FOGIS_SERVICE_NAME is not set"}},
		{env{"FOGIS_SERVICE_NAME": "calendar", "REDIS_SOCKET_TIMEOUT": "31", "REDIS_MAX_RETRIES": "11", "REDIS_HEALTH_CHECK_INTERVAL": "9"},
			[]string{"REDIS_SOCKET_TIMEOUT is 31s", "REDIS_MAX_RETRIES is 11", "REDIS_HEALTH_CHECK_INTERVAL is 9s"}},
	} {
		warnings := read(t, test.env).Warnings()
		require.Len(t, warnings, len(test.names))
		for i, name := range test.names {
			require.Contains(t, warnings[i], name)
		}
	}
}

func TestFromEnv_durable(t *testing.T) {
	t.Parallel()
	require.Equal(t, config.Durable{Mode: config.DurableAuto}, read(t, env{}).Durable)
	require.Equal(t, config.Durable{}, read(t, env{"REDIS_DURABLE": "false"}).Durable)
	c := read(t, env{
		"REDIS_DURABLE": "Auto", "REDIS_STREAM_MAX_AGE": "48h", "REDIS_STREAM_MAX_LEN": "20", "REDIS_STREAM_MAX_BYTES": "0",
		"FOGIS_LEGACY_REPEAT": "off", "FOGIS_OUTBOX_PATH": "/var/lib/fogis/outbox", "FOGIS_SERVICE_NAME": "calendar",
	})
	require.Equal(t, config.Durable{Mode: config.DurableAuto, MaxAge: 48 * time.Hour, MaxLen: 20, MaxBytes: -1, NoLegacyRepeat: true}, c.Durable)
	require.Equal(t, "/var/lib/fogis/outbox", c.OutboxPath)
	require.Equal(t, "calendar", c.Group())
	require.Empty(t, c.Warnings())
	require.Equal(t, config.DurableOn, read(t, env{"REDIS_DURABLE": "yes", "FOGIS_SERVICE_NAME": "calendar"}).Durable.Mode)
}

// Two services that read as one group would each miss what the other one got.
func TestFromEnv_durable_needsANameOfItsOwn(t *testing.T) {
	t.Parallel()
	c := read(t, env{"REDIS_DURABLE": "auto"})
	require.Empty(t, c.Group())
	require.Len(t, c.Warnings(), 1)
	_, err := config.FromEnv(env{"REDIS_DURABLE": "true"}.get)
	require.ErrorContains(t, err, "FOGIS_SERVICE_NAME")
	for variable, value := range map[string]string{
		"REDIS_DURABLE": "maybe", "REDIS_STREAM_MAX_AGE": "9000h", "REDIS_STREAM_MAX_LEN": "-1", "REDIS_STREAM_MAX_BYTES": "1GB", "FOGIS_LEGACY_REPEAT": "2",
	} {
		_, err := config.FromEnv(env{variable: value}.get)
		require.ErrorContains(t, err, variable)
	}
}

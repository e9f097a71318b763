package config_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
)

// files opens what a map holds, below /run/secrets.
func files(files fstest.MapFS) func(string) (fs.File, error) {
	return func(name string) (fs.File, error) { return files.Open(strings.TrimPrefix(name, "/run/secrets/")) }
}

func TestFromEnvAndFiles_reads_secrets(t *testing.T) {
	t.Parallel()
	own := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o600} }
	c, err := config.FromEnvAndFiles(env{
		"REDIS_URL_FILE":            "/run/secrets/redis_url",
		"REDIS_PASSWORD_FILE":       "/run/secrets/password",
		"FOGIS_FALLBACK_URL_FILE":   "/run/secrets/fallback_url",
		"FOGIS_FALLBACK_TOKEN_FILE": "'/run/secrets/token'",
	}.get, files(fstest.MapFS{
		"redis_url":    own("rediss://user@redis.example.com:6380/2\r\n"),
		"password":     own(" \"p@ss\"\n\n"),
		"fallback_url": own("https://calendar.example.com/manual-sync"),
		"token":        {Data: []byte("\ufefft0ken\n"), Mode: 0o644},
	}))
	require.NoError(t, err)
	endpoint, err := c.Redis.Endpoint()
	require.NoError(t, err)
	require.Equal(t, "redis.example.com:6380", endpoint.Address)
	require.Equal(t, "user", endpoint.Username)
	require.Equal(t, " \"p@ss\"\n", endpoint.Password.Reveal(), "one line end goes")
	require.Equal(t, "https://calendar.example.com/manual-sync", c.Fallback.URL.Reveal())
	require.Equal(t, "t0ken", c.Fallback.Token.Reveal())
	require.Equal(t, []string{"FOGIS_FALLBACK_TOKEN_FILE"}, c.Exposed)
	require.Len(t, c.Warnings(), 2) // and no service name
	require.Contains(t, c.Warnings()[0], "FOGIS_FALLBACK_TOKEN_FILE: every user of this computer may read the file")
}

func TestFromEnvAndFiles_names_what_is_wrong_with_a_file(t *testing.T) {
	t.Parallel()
	open := files(fstest.MapFS{
		"good":  {Data: []byte("t0ken")},
		"empty": {Data: []byte("\n")},
		"utf16": {Data: []byte("\xff\xfet\x000\x00")},
		"bytes": {Data: []byte("t\xffken")},
		"large": {Data: []byte(strings.Repeat("t", 64<<10+1))},
		"lines": {Data: []byte(marker + "\nb")},
		"dir/x": {},
	})
	for path, got := range map[string]string{
		"/run/secrets/none":        "/run/secrets/none, which does not exist",
		"/run/secrets/empty":       "/run/secrets/empty, which is empty",
		"/run/secrets/utf16":       "/run/secrets/utf16, which is in UTF-16; save it as UTF-8",
		"/run/secrets/bytes":       "/run/secrets/bytes, which is not UTF-8",
		"/run/secrets/large":       "/run/secrets/large, which is larger than 64 KiB",
		"/run/secrets/lines":       "17 characters, not all of them visible ASCII in /run/secrets/lines",
		"/run/secrets/dir":         "/run/secrets/dir, which is a directory",
		marker:                     "a path of 15 characters, which does not exist",
		"redis://:" + marker + "@": "a path of a URL with scheme redis, which does not exist",
		"/" + marker + "@h":        "a path of 18 characters, which does not exist",
	} {
		_, err := config.FromEnvAndFiles(env{"FOGIS_FALLBACK_TOKEN_FILE": path}.get, open)
		var settings *config.Error
		require.ErrorAs(t, err, &settings)
		require.Len(t, settings.Faults, 1)
		require.Equal(t, "FOGIS_FALLBACK_TOKEN_FILE", settings.Faults[0].Variable)
		require.Equal(t, got, settings.Faults[0].Got)
		requireHidden(t, err)
	}
	for _, variable := range []string{"REDIS_URL", "REDIS_PASSWORD", "FOGIS_FALLBACK_URL", "FOGIS_FALLBACK_TOKEN"} {
		value := "t0ken"
		if strings.HasSuffix(variable, "URL") {
			value = "redis://h"
		}
		_, err := config.FromEnvAndFiles(env{variable: value, variable + "_FILE": "/run/secrets/good"}.get, open)
		require.ErrorContains(t, err, variable+"_FILE: got a file beside "+variable+", want one of the two")
		_, err = config.FromEnv(env{variable + "_FILE": "/run/secrets/good"}.get)
		require.ErrorContains(t, err, variable+"_FILE: got a file, and this program reads none")
	}
}

// A REDIS_PASSWORD belongs to the address that has none.
func TestFromEnv_puts_the_password_into_the_address(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ address, want string }{
		{"", "redis://:p%40%2Fs@fogis-redis:6379"},
		{"redis://h", "redis://:p%40%2Fs@h"},
		{"redis://:@h", "redis://:p%40%2Fs@h"},
		{"rediss://u@h:1/2?ssl_cert_reqs=none", "rediss://u:p%40%2Fs@h:1/2?ssl_cert_reqs=none"},
		{"redis://:p%40%2Fs@h", "redis://:p%40%2Fs@h"},
		{"redis://h?password=p%40%2Fs", "redis://h?password=p%40%2Fs"},
		{"unix:///run/redis.sock", "unix://:p%40%2Fs@/run/redis.sock"},
		{"redis+sentinel://a,b/main", "redis+sentinel://:p%40%2Fs@a,b/main"},
	} {
		c := read(t, env{"REDIS_URL": test.address, "REDIS_PASSWORD": "p@/s"})
		require.Equal(t, test.want, c.Redis.URL.Reveal())
		endpoint, err := c.Redis.Endpoint()
		require.NoError(t, err)
		require.Equal(t, "p@/s", endpoint.Password.Reveal())
	}
	require.Equal(t, "redis://:pw@h:6379/0", read(t, env{"REDIS_HOST": "h", "REDIS_PASSWORD": "pw"}).Redis.URL.Reveal())
	found := faults(t, env{"REDIS_URL": "redis://:other@h", "REDIS_PASSWORD": marker})
	require.Equal(t, "REDIS_PASSWORD", found[0].Variable)
	require.Equal(t, "another password than the one in REDIS_URL", found[0].Got)
}

// Docker hands over the quotes of an env file as they stand.
func TestFromEnv_reads_values_in_quotes(t *testing.T) {
	t.Parallel()
	want := read(t, env{"REDIS_ENABLED": "false", "REDIS_URL": "redis://h:1", "REDIS_TIMEOUT": "7", "FOGIS_SERVICE_NAME": "calendar", "FOGIS_FALLBACK_URL": "http://c/x"})
	for _, quote := range []string{`"`, "'"} {
		quoted := func(text string) string { return quote + text + quote }
		require.Equal(t, want, read(t, env{
			"REDIS_ENABLED": quoted("false"), "REDIS_URL": quoted("redis://h:1"), "REDIS_TIMEOUT": quoted(" 7 "),
			"FOGIS_SERVICE_NAME": quoted("calendar"), "FOGIS_FALLBACK_URL": quoted("http://c/x"), "REDIS_DURABLE": quoted(""),
		}))
		for _, variable := range []string{"FOGIS_FALLBACK_TOKEN", "REDIS_PASSWORD"} {
			fault := faultOf(t, variable, quoted(marker))
			require.Equal(t, "a text in quotes", fault.Got)
			require.Contains(t, fault.Want, variable+"_FILE")
		}
	}
}

func TestConfig_Warnings_name_what_lets_others_read_secrets(t *testing.T) {
	t.Parallel()
	fallback := func(url, token string) config.Config {
		return config.Config{Fallback: config.Fallback{URL: config.NewURL(url), Token: config.NewSecret(token)}}
	}
	redis := func(url string) config.Config { return config.Config{Redis: config.Redis{URL: config.NewURL(url)}} }
	for _, test := range []struct {
		config config.Config
		text   string // "" = no warning
	}{
		{redis("rediss://h?ssl_cert_reqs=none"), "REDIS_URL has ssl_cert_reqs=none"},
		{redis("rediss://h?ssl_cert_reqs=required"), ""},
		{fallback("http://calendar/x", "t"), "FOGIS_FALLBACK_URL is http://"},
		{fallback("http://u:p@calendar/x", ""), "FOGIS_FALLBACK_URL is http://"},
		{fallback("http://calendar/x", ""), ""},
		{fallback("https://calendar/x", "t"), ""},
		{fallback("http://localhost:5003/x", "t"), ""},
		{fallback("http://[::1]/x", "t"), ""},
		{fallback("http://127.0.0.1/x", "t"), ""},
	} {
		if test.text == "" {
			require.Empty(t, test.config.Warnings())
			continue
		}
		require.Len(t, test.config.Warnings(), 1)
		require.Contains(t, test.config.Warnings()[0], test.text)
		requireHidden(t, test.config.Warnings())
	}
	slow := fallback("https://calendar/x", "")
	slow.Fallback.Timeout = 30 * 1e9
	require.Contains(t, slow.Warnings()[0], "up to 35s when Redis and the receiver are both down")
}

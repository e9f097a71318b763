package config_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
)

// marker is the secret that must appear nowhere.
const marker = "s3kret-l0senord"

// verbs are all of fmt's, those that do not suit a string included.
var verbs = strings.Fields("%v %+v %#v %s %q %#q %+q %x %X %#x % x %d %o %b %c %e %f %g %p %t %T %U %O %-50v %050s %.3v %w")

// printed returns value in every form that a program may print it in.
func printed(value any) []string {
	forms := []string{fmt.Sprint(value), fmt.Sprintln(value), fmt.Errorf("settings %v", value).Error()}
	for _, verb := range verbs {
		forms = append(forms, fmt.Sprintf(verb, value))
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		logger := slog.New(handler).With(slog.Any("with", value))
		logger.Info("message", slog.Any("value", value), slog.Group("group", slog.Any("inner", value)))
		logger.Info("message", slog.String("text", fmt.Sprint(value)))
	}
	forms = append(forms, log.String())
	if encoded, err := json.Marshal(value); err == nil {
		forms = append(forms, string(encoded))
	}
	// A failed test shows both values, and follows pointers for it.
	said := &failure{}
	require.Equal(said, reflect.Zero(reflect.TypeOf(value)).Interface(), value)
	return append(forms, said.text)
}

// failure stands for a test that fails.
type failure struct{ text string }

func (f *failure) Errorf(format string, args ...any) { f.text = fmt.Sprintf(format, args...) }
func (f *failure) FailNow()                          {}

func requireHidden(t *testing.T, value any) {
	t.Helper()
	for _, form := range printed(value) {
		lower := strings.ToLower(form)
		require.NotContains(t, lower, marker)
		require.NotContains(t, strings.ReplaceAll(lower, " ", ""), hex.EncodeToString([]byte(marker)))
	}
}

func secretConfig(t *testing.T) config.Config {
	t.Helper()
	return read(t, env{
		"REDIS_URL":            "redis://calendar:" + marker + "@redis.example.com:6379/1",
		"FOGIS_FALLBACK_URL":   "https://calendar.example.com/manual-sync?key=" + marker,
		"FOGIS_FALLBACK_TOKEN": marker,
	})
}

func TestConfig_hides_secrets_in_every_printed_form(t *testing.T) {
	t.Parallel()
	c := secretConfig(t)
	require.Contains(t, c.Redis.URL.Reveal(), marker)
	require.Contains(t, c.Fallback.URL.Reveal(), marker)
	require.Equal(t, marker, c.Fallback.Token.Reveal())
	endpoint, err := c.Redis.Endpoint()
	require.NoError(t, err)
	require.Equal(t, marker, endpoint.Password.Reveal())

	// fmt calls no method on what lies in an unexported field.
	type client struct {
		settings config.Config
		pointer  *config.Config
	}
	for _, value := range []any{
		c, &c, c.Redis, c.Redis.URL, &c.Redis.URL, c.Fallback, c.Fallback.Token, &c.Fallback.Token, endpoint,
		client{c, &c}, &client{c, &c}, []config.URL{c.Redis.URL}, map[string]config.Secret{"token": c.Fallback.Token},
	} {
		requireHidden(t, value)
	}
}

func TestConfig_prints_what_helps(t *testing.T) {
	t.Parallel()
	c := secretConfig(t)
	for _, form := range []string{fmt.Sprintf("%v", c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		require.Contains(t, form, "redis://***@redis.example.com:6379/1")
		require.Contains(t, form, "https://calendar.example.com/manual-sync?***")
	}
	encoded, err := json.Marshal(c.Fallback)
	require.NoError(t, err)
	require.JSONEq(t, `{"URL":"https://calendar.example.com/manual-sync?***","Token":"***","BatchSize":1,"Timeout":4500000000}`, string(encoded))
}

func TestSecret_tells_only_whether_it_is_there(t *testing.T) {
	t.Parallel()
	var none config.Secret
	require.Equal(t, none, config.NewSecret(""))
	require.True(t, none.IsZero())
	require.Empty(t, none.Reveal())
	require.Empty(t, none.String())
	require.Equal(t, "***", config.NewSecret("a").String())
	require.Equal(t, `"***"`, fmt.Sprintf("%#v", config.NewSecret("a")))
	require.Equal(t, "   ***", fmt.Sprintf("%6s", config.NewSecret("a")))
}

func TestURL_String_shows_no_secret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "",
		"redis://fogis-redis:6379":           "redis://fogis-redis:6379",
		"redis://fogis-redis:6379/2":         "redis://fogis-redis:6379/2",
		"redis://:" + marker + "@r:6379":     "redis://***@r:6379",
		"redis://" + marker + "@r":           "redis://***@r",
		"redis://" + marker + ":@r":          "redis://***@r",
		"redis://r?password=" + marker:       "redis://r?***",
		"redis://u:a@" + marker + "@r":       "redis://***@r",
		"unix://:" + marker + "@/run/r.sock": "unix://***@/run/r.sock",
		"https://h/a%20b?key=" + marker:      "https://h/a%20b?***",
		"http://[::1]:80/x":                  "http://[::1]:80/x",
		"redis://a:1,[::2],c":                "redis://a:1,[::2],c",
		"redis://u:" + marker + ",x@a,b:1/0": "redis://***@a,b:1/0",
		"redis+sentinel://:" + marker + "@a,b:1/main/2?sentinel_password=" + marker: "redis+sentinel://***@a,b:1/main/2?***",
		// What no parser takes for a password may still be one.
		"redis://:1/" + marker + "@r":              "***",
		"redis://u:1?" + marker + "@r":             "***",
		"redis://u:1#" + marker + "@r":             "***",
		"redis://u:1/?#" + marker + "@r":           "***",
		"redis://:" + marker + "/x@r":              "***",
		"redis://:" + marker + "%zz@r":             "***",
		"redis:" + marker:                          "***",
		"redis:/" + marker + "@h":                  "***",
		"redis://a,b:" + marker:                    "***",
		"redis://a:1,2/" + marker + "@h":           "***",
		marker:                                     "***",
		marker + "://h":                            "***",
		"redis://:p@a:1,redis://:" + marker + "@b": "***",
	} {
		require.Equal(t, want, config.NewURL(text).String(), text)
		requireHidden(t, config.NewURL(text))
	}
}

func TestFromEnv_never_quotes_a_value_that_it_refuses(t *testing.T) {
	t.Parallel()
	refused := 0
	for _, variable := range documented() {
		for _, value := range []string{
			marker + " x{", "redis://:" + marker + "/{ @r", "http://u:" + marker + "%zz@r", marker + "://{ x", "\xff" + marker,
			"redis://h:" + marker, "redis://h/" + marker + "{ ", "redis://h?" + marker + "={ ", "redis+sentinel://:" + marker + "@{ ",
		} {
			_, err := config.FromEnv(env{variable: value}.get)
			if err != nil { // as the name of a channel some of them will do
				requireHidden(t, err)
				refused++
			}
		}
	}
	require.Greater(t, refused, 150)
}

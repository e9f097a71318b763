package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func TestTerminal_foreignControlCharacters_areEscaped(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"Åsa\tB\n", "Åsa\tB\n"},
		{"\x1b[2Jx\r", `\u001b[2Jx\u000d`},
		{"a\u009b2Jb\u0080c\u007f", `a\u009b2Jb\u0080c\u007f`},
		{"\u202eevil\u2066\u200f", `\u202eevil\u2066\u200f`},
		{"bad\x9b", `bad\ufffd`},
	} {
		var out bytes.Buffer
		n, err := terminal{w: &out}.Write([]byte(test.text))
		require.NoError(t, err)
		require.Equal(t, len(test.text), n)
		require.Equal(t, test.want, out.String())
	}
}

func TestCommand_foreignText_reachesNoTerminal(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	env := map[string]string{"REDIS_URL": redis.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "processor"}
	p := start(t, env, "", "publish", "alert", "--type", "a", "--message", "x\u009b2J\u007f\u202e")
	require.Equal(t, exitDone, p.wait(), p.stderr)
	replayed := start(t, env, "", "replay", "--type", "system_alert")
	require.Equal(t, exitDone, replayed.wait(), replayed.stderr)
	require.Contains(t, replayed.stdout.String(), `x\u009b2J\u007f\u202e`)
	require.Equal(t, "x\u009b2J\u007f\u202e", replayed.line()["payload"].(map[string]any)["message"], "the JSON has the same value")
	odd := start(t, env, "", "\x1b]0;title\x07")
	require.Equal(t, exitUsage, odd.wait())
	require.NotContains(t, odd.stderr.String(), "\x1b")
}

// Wherever an argument with a password is printed, the password is not.
func TestCommand_passwordInAnArgument_isNotShown(t *testing.T) {
	t.Parallel()
	const secret = "geheim/wort=7"
	url := "redis://user:" + secret + "@127.0.0.1:1/0"
	for _, args := range [][]string{
		{url}, {"check", url}, {"publish", url}, {"redis", url}, {"deadletter", url}, {"outbox", url},
		{"check", "--" + url}, {"subscribe", "--count", url}, {"subscribe", "--count=" + url}, {"publish", "matches", "--file", url},
		{"publish", "matches", "--changes=" + url, "--file", "none"}, {"redis", "status", "--file", url}, {"redis", "down", "--file", url},
		{"serve", "--allow-unauthenticated", "--addr", url}, {"outbox", "list", "--path", url}, {"outbox", "show", "--path", "none", url},
		{"check", "--redis", url}, {"check", "--fallback", url}, {"check", "--redis-file", url}, {"purge", "--before", url}, {"replay", "--type", url},
		{"deadletter", "list", "--type", url},
	} {
		p := start(t, map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}, "", args...)
		p.wait()
		said := p.stdout.String() + p.stderr.String()
		require.NotEmpty(t, said, args)
		require.NotContains(t, said, "geheim", args)
		require.NotContains(t, said, "wort", args)
	}
}

func TestCommand_redisFile(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t, "--requirepass", logcheck.Password)
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte("redis://:"+logcheck.Password+"@"+redis.Addr()+"\n"), 0o600))
	for _, env := range []map[string]string{nil, {"REDIS_URL": "redis://127.0.0.1:1"}, {"REDIS_URL_FILE": "none"}} {
		p := start(t, env, "", "replay", "--type", "match_updates", "--redis-file", file)
		require.Equal(t, exitDone, p.wait(), p.stderr)
	}
	over := start(t, map[string]string{"REDIS_URL_FILE": "none"}, "", "replay", "--type", "match_updates", "--redis", "redis://127.0.0.1:1")
	require.Equal(t, exitFailed, over.wait(), "--redis overrides the file")
	both := start(t, nil, "", "check", "--redis", "redis://127.0.0.1:1", "--redis-file", file)
	require.Equal(t, exitUsage, both.wait())
	help := start(t, nil, "", "help")
	require.Equal(t, exitDone, help.wait())
	require.Contains(t, help.stderr.String(), "(ps)")
}

func TestSubscribe_neverSubscribed_isAFailure(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "", "subscribe", "--redis", "redis://127.0.0.1:1", "--timeout", "100ms")
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), "never subscribed")
}

func TestRedis_otherServicesSecrets_areHiddenAlsoByDown(t *testing.T) {
	d := works(healthy, "127.0.0.1:1")
	long := strings.Repeat("x", 290)
	d.Rm = "echo '" + long + "andere-losung-99 secretfile-77' >&2; false"
	d.install(t)
	file := composeIn(t, `
services:
  redis: {image: "redis:7-alpine"}
  db: {image: postgres, environment: {POSTGRES_PASSWORD: andere-losung-99}}
secrets:
  other: {file: ./other}
`)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "other"), []byte("secretfile-77\n"), 0o600))
	p := start(t, nil, "", "redis", "down", "--file", file)
	require.Equal(t, exitDone, p.wait(), p.stderr)
	said := p.stdout.String() + p.stderr.String()
	require.Contains(t, said, "xxx***")
	require.NotContains(t, said, "losung")
	require.NotContains(t, said, "andere")
	require.NotContains(t, said, "secretfile")
}

func TestCompose_manyAliases_areBounded(t *testing.T) {
	t.Parallel()
	path := composeIn(t, "x-a: &a "+strings.Repeat("y", 200_000)+"\nservices:\n  redis:\n    image: redis:7-alpine\n    command: ["+
		strings.TrimSuffix(strings.Repeat("*a, ", 50_000), ", ")+"]\n")
	c := checkCompose(path, func(string) string { return "" })
	require.True(t, c.faulty())
	require.Contains(t, c.findings[0].text, "aliases make it too large")
	value := strings.Repeat("z", 100_000)
	many := expand(strings.Repeat("$A", 1000), func(string) string { return value })
	require.LessOrEqual(t, len(many), maxExpanded)
}

func TestCommand_theFormOfAURLIsNotTakenForOneWithAPassword(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "", "check", "--redis", "http://anna:fjord@192.0.2.1")
	require.Equal(t, exitUsage, p.wait())
	require.Contains(t, p.stderr.String(), "want redis://[user:password@]host")
	require.NotContains(t, p.stderr.String(), "fjord")
}

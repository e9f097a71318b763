package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommand_usage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   string
		code   int
		stderr string
	}{
		{"no command", "", exitUsage, "usage: fogis-pubsub COMMAND"},
		{"help", "help", exitDone, "usage: fogis-pubsub COMMAND"},
		{"help of a command", "subscribe -h", exitDone, "-count"},
		{"help of publish", "publish -h", exitDone, "publish matches --file F"},
		{"empty channel", "subscribe --channel=", exitUsage, "--channel is empty"},
		{"unknown command", "tail", exitUsage, `unknown command "tail"`},
		{"unknown flag", "subscribe --follow", exitUsage, "flag provided but not defined"},
		{"left over argument", "check now", exitUsage, `unexpected argument "now"`},
		{"publish nothing", "publish", exitUsage, "matches, status or alert"},
		{"publish something else", "publish referees", exitUsage, `not "referees"`},
		{"no file", "publish matches", exitUsage, "needs --file"},
		{"absent file", "publish matches --file does-not-exist.json", exitFailed, "does-not-exist.json"},
		{"endless file", "publish matches --file /dev/zero", exitFailed, "/dev/zero: larger than 16 MiB"},
		{"detail without value", "publish status --status started --detail cycle", exitUsage, "key=value"},
		{"empty status", "publish status", exitUsage, "status"},
		{"empty alert type", "publish alert --message text", exitUsage, "alert_type"},
		{"negative count", "subscribe --count -1", exitUsage, "must not be negative"},
		{"no address", "serve", exitUsage, "needs --addr"},
		{"bad URL", "check --redis http://127.0.0.1", exitUsage, "REDIS_URL"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, "", strings.Fields(test.args)...)
			require.Equal(t, test.code, p.wait(), p.stderr)
			require.Contains(t, p.stderr.String(), test.stderr)
			require.Empty(t, p.stdout.String())
		})
	}
}

func TestCommand_badSettings_namesEachVariable(t *testing.T) {
	t.Parallel()
	p := start(t, map[string]string{"REDIS_MAX_RETRIES": "many", "REDIS_PUBSUB_ENABLED": "perhaps"}, "", "check")
	require.Equal(t, exitUsage, p.wait())
	require.Contains(t, p.stderr.String(), "REDIS_MAX_RETRIES")
	require.Contains(t, p.stderr.String(), "REDIS_PUBSUB_ENABLED")
}

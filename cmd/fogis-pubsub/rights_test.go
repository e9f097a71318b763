package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// The users of docs/data-protection.md can do their work, and learn by name what
// right they lack.
func TestRights_ofThePage_areEnoughAndNamed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/data-protection.md")
	require.NoError(t, err)
	server := realredis.Start(t, "--appendonly", "yes")
	conn := redis.NewClient(server.Options())
	defer conn.Close()
	acl := func(words ...string) {
		args := []any{"ACL", "SETUSER"}
		for _, word := range words {
			args = append(args, word)
		}
		require.NoError(t, conn.Do(t.Context(), args...).Err(), words)
	}
	users := map[string]map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^ACL SETUSER (\w+) .*$`).FindAllStringSubmatch(string(page), -1) {
		acl(strings.Fields(strings.ReplaceAll(line[0], "<password>", logcheck.Password))[2:]...)
		users[line[1]] = map[string]string{
			"REDIS_URL":     "redis://" + line[1] + ":" + logcheck.Password + "@" + server.Addr(),
			"REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar",
		}
	}
	require.Len(t, users, 3)
	does := func(user string, code int, args ...string) string {
		p := start(t, users[user], `[{"matchid":1}]`, args...)
		require.Equal(t, code, p.wait(), "%s %v: %s", user, args, p.stderr)
		return p.stdout.String() + p.stderr.String()
	}

	does("publisher", exitDone, "publish", "matches", "--file", "-")
	does("publisher", exitDone, "publish", "status", "--status", "started")
	does("subscriber", exitDone, "subscribe", "--durable", "--count", "2")
	does("subscriber", exitDone, "subscribe", "--timeout", "500ms")
	require.NotContains(t, does("subscriber", exitDone, "check"), "permissions (degraded)")
	require.NotContains(t, does("operator", exitDone, "check"), "could not be asked")

	options := server.Options()
	options.Username, options.Password = "subscriber", logcheck.Password
	options.ContextTimeoutEnabled = true
	own := redis.NewClient(options)
	defer own.Close()
	reader, err := durable.NewReader(own, "fogis:matches:updates", "calendar", durable.ReaderOptions{})
	require.NoError(t, err)
	does("publisher", exitDone, "publish", "matches", "--file", "-")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lease, err := reader.Acquire(ctx)
	require.NoError(t, err)
	entries, err := lease.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, lease.Bury(ctx, entries[0], durable.Failure{Err: errors.New("odd"), Last: time.Now()}))
	require.NoError(t, lease.Release(ctx))
	require.Contains(t, does("operator", exitDone, "deadletter", "list"), `"error":"odd"`)
	does("operator", exitDone, "deadletter", "requeue", "--all", "--stale")
	does("subscriber", exitDone, "subscribe", "--durable", "--count", "1")
	does("operator", exitDone, "purge", "--match", "1", "--dry-run")

	acl("operator", "-xdel")
	require.Regexp(t, `(?i)NOPERM.*xdel`, does("operator", exitFailed, "purge", "--match", "1"))
	acl("operator", "+xdel")
	does("operator", exitDone, "purge", "--match", "1")
	acl("publisher", "-xadd")
	require.Regexp(t, `(?i)NOPERM.*xadd`, does("publisher", exitFailed, "publish", "matches", "--file", "-"))
	acl("subscriber", "-xreadgroup")
	require.Regexp(t, `(?i)NOPERM.*xreadgroup`, does("subscriber", exitFailed, "subscribe", "--durable", "--count", "1"))
}

package main

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
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
	does("subscriber", exitDone, "subscribe", "--timeout", "3s")
	checks := func(user string) string {
		var code int
		p := unhurried(func() (*program, string) {
			p := start(t, users[user], "", "check")
			code = p.wait()
			return p, p.stderr.String()
		})
		require.Equal(t, exitDone, code, "%s: %s", user, p.stderr)
		return p.stdout.String() + p.stderr.String()
	}
	require.NotContains(t, checks("subscriber"), "permissions (degraded)")
	require.NotContains(t, checks("operator"), "could not be asked")

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
	runWithRightsOf(t, server, "publisher")
	refused, err := conn.Do(t.Context(), "ACL", "LOG").Slice()
	require.NoError(t, err)
	for _, entry := range refused {
		require.Contains(t, fmt.Sprint(entry), "object:config|get", "only check asks for what the services need not have")
	}

	acl("operator", "-xdel")
	require.Regexp(t, `(?i)NOPERM.*xdel`, does("operator", exitFailed, "purge", "--match", "1"))
	acl("operator", "+xdel")
	does("operator", exitDone, "purge", "--match", "1")
	acl("publisher", "-xadd")
	require.Regexp(t, `(?i)NOPERM.*xadd`, does("publisher", exitFailed, "publish", "matches", "--file", "-"))
	acl("subscriber", "-xreadgroup")
	require.Regexp(t, `(?i)NOPERM.*xreadgroup`, does("subscriber", exitFailed, "subscribe", "--durable", "--count", "1"))
}

// runWithRightsOf lets a publisher's Run age its streams and repeat its newest
// snapshot.
func runWithRightsOf(t *testing.T, server *realredis.Server, user string) {
	options := server.Options()
	options.Username, options.Password = user, logcheck.Password
	options.ContextTimeoutEnabled, options.MaxRetries = true, -1
	conn := redis.NewClient(options)
	defer conn.Close()
	p, err := publisher.New(conn, publisher.Options{
		RequireReceivers: -1,
		Durable:          publisher.DurableOptions{Mode: publisher.DurableOn, MaxAge: time.Minute},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	_, err = p.Publish(ctx, message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(2)}}})
	require.NoError(t, err)
	listener := server.Client(t).Subscribe(ctx, "fogis:matches:updates")
	defer listener.Close()
	require.Eventually(t, func() bool { return p.Stats().Repeats > 0 }, patience, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

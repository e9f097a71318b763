package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// What is published while nobody runs is printed later, by one of the group,
// and can be read again.
func TestDurable_publishThenSubscribeThenReplay(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL(), "REDIS_DURABLE": "auto", "FOGIS_SERVICE_NAME": "processor"}
	var ids []string
	for i := range 3 {
		writer := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-")
		require.Equal(t, exitDone, writer.wait(), writer.stderr)
		receipt := writer.line()
		require.Equal(t, "stream", receipt["route"], i)
		require.NotEmpty(t, receipt["stream_id"])
		ids = append(ids, receipt["stream_id"].(string))
	}
	writer := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--plain")
	require.Equal(t, exitFailed, writer.wait(), "nobody listens")

	// One message is left to the group, not lost to --count.
	for _, want := range [][]string{ids[:2], ids[2:]} {
		reader := start(t, env, "", "subscribe", "--durable", "--group", "calendar", "--count", fmt.Sprint(len(want)))
		require.Equal(t, exitDone, reader.wait(), reader.stderr)
		for _, id := range want {
			line := reader.line()
			require.Equal(t, "stream", line["via"])
			require.Equal(t, id, line["stream_id"])
		}
	}

	replayed := start(t, env, "", "replay", "--type", "match_updates", "--after", ids[0])
	require.Equal(t, exitDone, replayed.wait(), replayed.stderr)
	for _, id := range ids[1:] {
		line := replayed.line()
		require.Equal(t, id, line["stream_id"])
		require.Equal(t, "6200045", line["matches"].([]any)[0].(map[string]any)["id"])
		require.Equal(t, "fogis:matches:updates", line["channel"])
	}
	recent := start(t, env, "", "replay", "--type", "match_updates", "--since", "1h")
	require.Equal(t, exitDone, recent.wait())
	require.Len(t, recent.stdout.lines, 3)
}

func TestReplay_wrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"replay"}, {"replay", "--type", "other"}, {"replay", "--type", "match_updates", "--since", "soon"},
		{"replay", "--type", "match_updates", "--after", "x"}, {"replay", "--type", "match_updates", "--since", "1h", "--after", "1-1"},
		{"subscribe", "--group", "g"},
	} {
		require.Equal(t, exitUsage, start(t, map[string]string{}, "", args...).wait(), "%v", args)
	}
}

func TestPublish_outbox_sendsLater(t *testing.T) {
	t.Parallel()
	away := map[string]string{
		"REDIS_URL": "redis://" + faultnet.Reserve(t), "REDIS_DURABLE": "auto", "REDIS_MAX_RETRIES": "0",
		"FOGIS_OUTBOX_PATH": filepath.Join(t.TempDir(), "outbox"), "FOGIS_SERVICE_NAME": "processor",
	}
	writer := start(t, away, "", "publish", "status", "--status", "one")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, "outbox", writer.line()["route"])

	away["REDIS_URL"] = realredis.Start(t).URL()
	listed := start(t, away, "", "outbox", "list")
	require.Equal(t, exitDone, listed.wait(), listed.stderr)
	require.Equal(t, "processing_status", listed.line()["type"])
	drained := start(t, away, "", "outbox", "drain")
	require.Equal(t, exitDone, drained.wait(), drained.stderr)
	require.Equal(t, map[string]any{"drained": json.Number("1"), "left": json.Number("0"), "set_aside": json.Number("0")}, drained.line())
	writer = start(t, away, "", "publish", "status", "--status", "two")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, "stream", writer.line()["route"])
	replayed := start(t, away, "", "replay", "--type", "processing_status")
	require.Equal(t, exitDone, replayed.wait(), replayed.stderr)
	for _, status := range []string{"one", "two"} {
		require.Equal(t, status, replayed.line()["payload"].(map[string]any)["status"])
	}
}

func TestOutbox_inUse_namesTheHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outbox")
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Put(message.Outgoing{ID: "a", Type: message.TypeSystemAlert, Body: []byte("{}")}, ""))
	env := map[string]string{"FOGIS_OUTBOX_PATH": path}
	listed := start(t, env, "", "outbox", "list")
	require.Equal(t, exitDone, listed.wait(), listed.stderr)
	require.Equal(t, "a", listed.line()["message_id"])
	discarding := start(t, env, "", "outbox", "discard", "a")
	require.Equal(t, exitFailed, discarding.wait())
	require.Contains(t, discarding.stderr.String(), fmt.Sprintf("by process %d", os.Getpid()))
}

// The service's environment is the operator's too, and its outbox is in use.
func TestOutbox_inUse_keepsNobodyFromLooking(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outbox")
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL(), "FOGIS_OUTBOX_PATH": path}
	for _, args := range [][]string{
		{"replay", "--type", "match_updates"}, {"deadletter", "list"}, {"check"}, {"subscribe", "--timeout", "3s"},
	} {
		var code int
		looking := unhurried(func() (*program, string) {
			p := start(t, env, "", args...)
			code = p.wait()
			return p, p.stderr.String()
		})
		require.Equal(t, exitDone, code, "%v: %s", args, looking.stderr)
	}
	sending := start(t, env, "", "publish", "status", "--status", "x")
	require.Equal(t, exitFailed, sending.wait())
	require.Contains(t, sending.stderr.String(), "in use by process")

	require.NoError(t, f.Close())
	reader := start(t, env, "", "subscribe", "--count", "1")
	reader.saw("subscribed")
	sending = start(t, env, "", "publish", "status", "--status", "x")
	require.Equal(t, exitDone, sending.wait(), "a subscriber does not hold it: %s", sending.stderr)
	require.Equal(t, exitDone, reader.wait())
}

func TestVerbs_help(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"publish", "deadletter", "outbox"} {
		require.Equal(t, exitDone, start(t, map[string]string{}, "", name, "-h").wait(), name)
	}
}

func TestDeadletter_listShowRequeueDiscard(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	env := map[string]string{"REDIS_URL": s.URL(), "REDIS_DURABLE": "auto", "FOGIS_SERVICE_NAME": "processor"}
	for range 3 {
		writer := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-")
		require.Equal(t, exitDone, writer.wait(), writer.stderr)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer client.Close()
	reader, err := durable.NewReader(client, message.ChannelMatchUpdates, "calendar", durable.ReaderOptions{})
	require.NoError(t, err)
	lease, err := reader.Acquire(t.Context())
	require.NoError(t, err)
	for buried := 0; buried < 3; {
		entries, err := lease.Read(t.Context())
		require.NoError(t, err)
		for _, e := range entries {
			require.NoError(t, lease.Bury(t.Context(), e, durable.Failure{Err: fmt.Errorf("fault %d", buried), Attempts: 1}))
			buried++
		}
	}
	require.NoError(t, lease.Release(t.Context()))

	call := func(want int, args ...string) *program {
		t.Helper()
		p := start(t, env, "", append([]string{"deadletter"}, args...)...)
		require.Equal(t, want, p.wait(), p.stderr)
		return p
	}
	listed := call(exitDone, "list", "--error", "FAULT 1", "--type", "match_updates")
	line := listed.line()
	require.Equal(t, "fault 1", line["error"])
	require.NotContains(t, line, "message", "a list shows nobody")
	id := line["letter_id"].(string)
	shown := call(exitDone, "show", "--type", "match_updates", id).line()
	require.Equal(t, "6200045", shown["message"].(map[string]any)["matches"].([]any)[0].(map[string]any)["id"])
	require.Equal(t, "fogis:matches:updates", shown["message"].(map[string]any)["channel"])
	require.Equal(t, "stream", shown["message"].(map[string]any)["via"])
	require.Equal(t, shown["stream_id"], shown["message"].(map[string]any)["stream_id"])
	call(exitDone, "requeue", "--type", "match_updates", id)
	call(exitFailed, "requeue", "--type", "match_updates", id)
	require.Len(t, call(exitDone, "list").stdout.lines, 2)
	require.Contains(t, call(exitDone, "discard", "--older", "0s", "--all").stderr.String(), "2 discarded")
	require.Empty(t, call(exitDone, "list").stdout.lines)
	for _, args := range [][]string{{}, {"bury"}, {"discard"}, {"show", "1-1"}, {"list", "--type", "x"}} {
		call(exitUsage, args...)
	}
}

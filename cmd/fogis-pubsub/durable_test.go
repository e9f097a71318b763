package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
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
	writer = start(t, away, "", "publish", "status", "--status", "two")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, "stream", writer.line()["route"])
	replayed := start(t, away, "", "replay", "--type", "processing_status")
	require.Equal(t, exitDone, replayed.wait(), replayed.stderr)
	for _, status := range []string{"one", "two"} {
		require.Equal(t, status, replayed.line()["payload"].(map[string]any)["status"])
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

const statusBody = `{"message_id":"b","timestamp":"2026-01-01T00:00:00Z","source":"s","version":"1.0","type":"processing_status","payload":{"status":"completed"}}`

// newOutboxFile has "a" waiting, "b" and "c" set aside.
func newOutboxFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outbox")
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	for _, id := range []string{"a", "b", "c"} {
		require.NoError(t, f.Put(message.Outgoing{ID: id, Type: message.TypeProcessingStatus, Body: []byte(statusBody)}, ""))
	}
	for _, id := range []string{"b", "c"} {
		require.NoError(t, f.SetAside(message.TypeProcessingStatus, id, "the receiver answered 413"))
	}
	require.NoError(t, f.Close())
	return path
}

func TestOutbox_recordsSetAside(t *testing.T) {
	t.Parallel()
	path := newOutboxFile(t)
	env := map[string]string{"FOGIS_OUTBOX_PATH": path}
	listed := start(t, env, "", "outbox", "list", "--aside")
	require.Equal(t, exitDone, listed.wait(), listed.stderr)
	first := listed.line()
	require.Equal(t, "b", first["message_id"])
	require.Equal(t, "set_aside", first["state"])
	require.Equal(t, "the receiver answered 413", first["reason"])
	require.Equal(t, "c", listed.line()["message_id"])

	shown := start(t, env, "", "outbox", "show", "b")
	require.Equal(t, exitDone, shown.wait(), shown.stderr)
	require.Equal(t, "completed", shown.line()["message"].(map[string]any)["payload"].(map[string]any)["status"])
	require.Equal(t, exitFailed, start(t, env, "", "outbox", "show", "none").wait())

	requeued := start(t, env, "", "outbox", "requeue", "b")
	require.Equal(t, exitDone, requeued.wait(), requeued.stderr)
	require.Equal(t, json.Number("1"), requeued.line()["requeued"])
	again := start(t, env, "", "outbox", "requeue", "b")
	require.Equal(t, exitFailed, again.wait())
	require.Contains(t, again.stderr.String(), `message "b" is not set aside`)
	require.Equal(t, exitUsage, start(t, env, "", "outbox", "discard").wait(), "neither IDs nor --all")
	discarded := start(t, env, "", "outbox", "discard", "--all")
	require.Equal(t, exitDone, discarded.wait(), discarded.stderr)
	require.Equal(t, json.Number("1"), discarded.line()["discarded"])
	records, err := outbox.Read(path)
	require.NoError(t, err)
	require.Len(t, records, 2)
	require.Equal(t, "a", records[0].ID)
	require.Equal(t, "b", records[1].ID)
}

func TestOutbox_ofAnotherProgram_isLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notes.txt")
	for _, image := range []string{"some notes", string(make([]byte, 20_000))} {
		require.NoError(t, os.WriteFile(path, []byte(image), 0o644))
		for _, args := range [][]string{{"list"}, {"show", "a"}, {"drain"}, {"requeue", "--all"}, {"discard", "a"}} {
			looking := start(t, map[string]string{"FOGIS_OUTBOX_PATH": path}, "", append([]string{"outbox"}, args...)...)
			require.Equal(t, exitFailed, looking.wait(), args)
			require.Contains(t, looking.stderr.String(), "not an outbox file", args)
		}
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, image, string(now))
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestOutbox_mistypedPath_isNotMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"list"}, {"show", "a"}, {"drain"}, {"requeue", "--all"}, {"discard", "a"}} {
		require.Equal(t, exitFailed, start(t, map[string]string{"FOGIS_OUTBOX_PATH": path}, "", append([]string{"outbox"}, args...)...).wait(), args)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestOutbox_salvage_putsBackWhatIsWhole(t *testing.T) {
	t.Parallel()
	path := newOutboxFile(t)
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	aside := path + ".set-aside-20260101T000000.000Z"
	require.NoError(t, os.WriteFile(aside, image, 0o600))
	require.NoError(t, os.Remove(path))
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	require.NoError(t, f.Put(message.Outgoing{ID: "new", Type: message.TypeProcessingStatus, Body: []byte(statusBody)}, ""))
	require.NoError(t, f.Close())

	env := map[string]string{"FOGIS_OUTBOX_PATH": path}
	salvaged := start(t, env, "", "outbox", "salvage", aside)
	require.Equal(t, exitDone, salvaged.wait(), salvaged.stderr)
	line := salvaged.line()
	require.Equal(t, json.Number("3"), line["salvaged"])
	require.Equal(t, path+".salvaged-20260101T000000.000Z", line["file"])
	records, err := outbox.Read(path)
	require.NoError(t, err)
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	require.Equal(t, []string{"a", "new", "b", "c"}, ids, "older ones come first, those set aside stay so")
	again := start(t, env, "", "outbox", "salvage", line["file"].(string))
	require.Equal(t, exitDone, again.wait(), again.stderr)
	require.Equal(t, json.Number("3"), again.line()["doubles"])
}

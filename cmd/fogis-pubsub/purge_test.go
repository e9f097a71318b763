package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// newPurgeable is an outbox with a message of match 1 waiting, one of match 1 set
// aside and one of match 2 set aside.
func newPurgeable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outbox")
	f, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	for id, match := range map[string]int{"waits": 1, "aside": 1, "other": 2} {
		require.NoError(t, f.Put(message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: holding(id, match)}, ""))
	}
	require.NoError(t, f.SetAside(message.TypeMatchUpdates, "aside", "no"))
	require.NoError(t, f.SetAside(message.TypeMatchUpdates, "other", "no"))
	require.NoError(t, f.Close())
	return path
}

func holding(id string, match int) []byte {
	return fmt.Appendf(nil, `{"message_id":"%s","type":"match_updates","payload":{"matches":[{"matchid":%d,"publiknamn":"Åsa Påhittad"}]}}`, id, match)
}

func recordIDs(t *testing.T, path string) (ids []string) {
	t.Helper()
	records, err := outbox.Read(path)
	require.NoError(t, err)
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

// purged runs purge and returns its lines by place and type.
func purged(t *testing.T, env map[string]string, code int, args ...string) (map[string]map[string]any, string) {
	t.Helper()
	p := start(t, env, "", append([]string{"purge"}, args...)...)
	require.Equal(t, code, p.wait(), p.stderr)
	found := map[string]map[string]any{}
	for text := range strings.Lines(p.stdout.String()) {
		l := decodeObject(t, text)
		place := fmt.Sprint(l["place"])
		if l["type"] != nil {
			place += " " + fmt.Sprint(l["type"])
		}
		found[place] = l
	}
	require.NotContains(t, p.stdout.String()+p.stderr.String(), "Påhittad")
	return found, p.stderr.String()
}

func TestPurge_match_isGoneFromStreamDeadLettersAndOutbox(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	path := newPurgeable(t)
	env := map[string]string{"REDIS_URL": redis.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}
	for n := 1; n <= 2; n++ {
		p := start(t, env, fmt.Sprintf(`[{"matchid":%d}]`, n), "publish", "matches", "--file", "-")
		require.Equal(t, exitDone, p.wait(), p.stderr)
	}
	env["FOGIS_OUTBOX_PATH"] = path

	found, _ := purged(t, env, exitDone, "--match", "1", "--dry-run")
	require.Len(t, found, 7, "the stream and the dead letters of three types, and the outbox")
	require.Equal(t, json.Number("1"), found["stream match_updates"]["purged"])
	require.Equal(t, json.Number("2"), found["outbox"]["purged"])
	require.Equal(t, json.Number("1"), found["outbox"]["unhandled"])
	require.Equal(t, true, found["outbox"]["dry_run"])
	require.Len(t, recordIDs(t, path), 3, "a dry run deletes nothing")

	found, stderr := purged(t, env, exitFailed, "--match", "1")
	require.Contains(t, stderr, "has not sent what is to be purged: 1 messages")
	require.Equal(t, json.Number("1"), found["stream match_updates"]["purged"], "the other places are purged")
	require.Equal(t, json.Number("0"), found["outbox"]["purged"])
	require.Len(t, recordIDs(t, path), 3)

	found, _ = purged(t, env, exitDone, "--match", "1", "--force")
	require.Equal(t, json.Number("0"), found["stream match_updates"]["purged"])
	require.Equal(t, json.Number("2"), found["outbox"]["purged"])
	require.Equal(t, []string{"other"}, recordIDs(t, path))
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(image), `"matchid":1`, "nor are its bytes in the file")
	require.Contains(t, string(image), `"matchid":2`)

	replayed := start(t, env, "", "replay", "--type", "match_updates")
	require.Equal(t, exitDone, replayed.wait(), replayed.stderr)
	require.Equal(t, 1, strings.Count(replayed.stdout.String(), "\n"))
}

func TestPurge_whatAGroupHasNotHandled_needsForce(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}
	send := func() {
		p := start(t, env, `[{"matchid":1}]`, "publish", "matches", "--file", "-")
		require.Equal(t, exitDone, p.wait(), p.stderr)
	}
	send()
	p := start(t, env, "", "subscribe", "--durable", "--count", "1")
	require.Equal(t, exitDone, p.wait(), p.stderr)
	send() // which the group has not read
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	found, stderr := purged(t, env, exitFailed, "--before", later)
	require.Contains(t, stderr, "a group has not handled what is to be purged")
	require.Equal(t, json.Number("0"), found["stream match_updates"]["purged"])
	require.Equal(t, json.Number("1"), found["stream match_updates"]["unhandled"])
	found, _ = purged(t, env, exitDone, "--before", later, "--force")
	require.Equal(t, json.Number("2"), found["stream match_updates"]["purged"])
	require.Equal(t, json.Number("1"), found["stream match_updates"]["unhandled"])
}

func TestPurge_outboxInUse_namesTheProcessAfterTheRest(t *testing.T) {
	t.Parallel()
	path := newPurgeable(t)
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL(), "FOGIS_OUTBOX_PATH": path}
	holder, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	found, stderr := purged(t, env, exitFailed, "--match", "1", "--force")
	require.Len(t, found, 6)
	require.Contains(t, stderr, "the outbox is not purged")
	require.Contains(t, stderr, fmt.Sprint(os.Getpid()))
	require.Contains(t, stderr, "purge again when that process has stopped")
	found, _ = purged(t, env, exitDone, "--match", "1", "--dry-run")
	require.Equal(t, json.Number("2"), found["outbox"]["purged"], "a dry run only reads it")
	require.NoError(t, holder.Close())
}

func TestPurge_filesBesideTheOutbox_areNamed(t *testing.T) {
	t.Parallel()
	path := newPurgeable(t)
	env := map[string]string{"REDIS_URL": "redis://127.0.0.1:1", "FOGIS_OUTBOX_PATH": path}
	for _, kind := range []string{".set-aside-", ".salvaged-"} {
		require.NoError(t, os.WriteFile(path+kind+"20260101T000000.000Z", []byte("damaged"), 0o600))
	}
	found, stderr := purged(t, env, exitFailed, "--before", "0s", "--force")
	require.Equal(t, json.Number("3"), found["outbox"]["purged"], "Redis is away, the outbox is purged nevertheless")
	require.Contains(t, stderr, path+".set-aside-20260101T000000.000Z is not purged")
	require.Contains(t, stderr, path+".salvaged-20260101T000000.000Z is not purged")
	require.Empty(t, recordIDs(t, path))
}

func TestPurge_wrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--match", "1", "--before", "1h"}, {"--before", "yesterday"}, {"--before", "-1h"}} {
		require.Equal(t, exitUsage, start(t, nil, "", append([]string{"purge"}, args...)...).wait(), args)
	}
}

func TestPurge_oneDamagedRecord_keepsNoOtherFromBeingPurged(t *testing.T) {
	t.Parallel()
	path := newPurgeable(t)
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := bytes.ReplaceAll(image, []byte(`"matchid":2`), []byte(`"matchid":9`))
	require.NotEqual(t, image, changed)
	require.NoError(t, os.WriteFile(path, changed, 0o600))
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL(), "FOGIS_OUTBOX_PATH": path}
	found, _ := purged(t, env, exitDone, "--match", "1", "--force")
	require.Equal(t, json.Number("2"), found["outbox"]["purged"])
	records, err := outbox.Read(path)
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.Equal(t, outbox.Damaged, records[0].State)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

// oddMatch has every spelling that a careless encoder changes.
const oddMatch = `{"matchid":"6200045","matchnr":"070311005","lag1namn":"IFK Höganäsby F13","lag2namn":"Kärrtorps \"Stjärnor\" & Co",` +
	`"tavlingnamn":"Flickor 13 år <höst>","tid":"\\/Date(1759566600000)\\/","anlaggningnamn":null,"installd":true,` +
	`"kontaktpersoner":null,"nytt":{"ordning":[1,2.50,1e3,12345678901234567890]}}`

func TestPublishAndSubscribe_printWhatTheDesignSays(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL()}
	reader := start(t, env, "", "subscribe", "--count", "1")
	reader.saw("subscribed")

	writer := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--source", "match-list-processor")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	receipt := writer.line()
	require.Equal(t, []string{"attempts", "elapsed_ms", "fallback", "message_id", "receivers", "route", "stream_id"}, keys(receipt))
	require.Equal(t, "pubsub", receipt["route"])
	require.Equal(t, "none", receipt["fallback"])
	require.Equal(t, json.Number("1"), receipt["receivers"])
	require.Equal(t, json.Number("1"), receipt["attempts"])

	require.Equal(t, exitDone, reader.wait(), reader.stderr)
	line := reader.line()
	require.Equal(t, []string{"changes", "channel", "has_changes", "high_priority", "matches", "message_id", "payload",
		"schema_version", "source", "timestamp", "type", "via"}, keys(line))
	require.Equal(t, receipt["message_id"], line["message_id"])
	require.Equal(t, "match_updates", line["type"])
	require.Equal(t, "match-list-processor", line["source"])
	require.Equal(t, "2.0", line["schema_version"])
	require.Equal(t, message.ChannelMatchUpdates, line["channel"])
	require.Equal(t, "pubsub", line["via"])
	require.Equal(t, true, line["has_changes"])
	require.Equal(t, false, line["high_priority"])
	require.Equal(t, []any{}, line["changes"])

	match := line["matches"].([]any)[0].(map[string]any)
	require.Equal(t, []string{"away", "cancelled", "home", "id", "kickoff", "number", "raw", "venue"}, keys(match))
	require.Equal(t, "6200045", match["id"], "an ID is printed as it came")
	require.Equal(t, "070311005", match["number"])
	require.Equal(t, "IFK Höganäsby F13", match["home"])
	require.Equal(t, "2025-10-04T10:30:00+02:00", match["kickoff"])
	require.Equal(t, true, match["cancelled"])
	require.Equal(t, exact(t, oddMatch), match["raw"])
	payload := line["payload"].(map[string]any)
	require.Equal(t, []any{exact(t, oddMatch)}, payload["matches"])
}

func TestPublish_fortyFullMatches_areValueExact(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL()}
	reader := start(t, env, "", "subscribe", "--count", "1")
	reader.saw("subscribed")

	full, err := os.ReadFile("testdata/match.json")
	require.NoError(t, err)
	matches := make([]string, 40)
	for i := range matches {
		matches[i] = strings.ReplaceAll(string(full), "6200001", fmt.Sprint(6200001+i))
	}
	file := filepath.Join(t.TempDir(), "matches.json")
	require.NoError(t, os.WriteFile(file, []byte("["+strings.Join(matches, ",\n")+"]"), 0o600))

	writer := start(t, env, "", "publish", "matches", "--file", file)
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, exitDone, reader.wait(), reader.stderr)
	got := reader.line()["matches"].([]any)
	require.Len(t, got, len(matches))
	for i, match := range got {
		require.Equal(t, exact(t, matches[i]), match.(map[string]any)["raw"])
	}
}

func TestPublish_wholeEnvelope_keepsIDAndChanges(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": realredis.Start(t).URL()}
	reader := start(t, env, "", "subscribe", "--count", "1")
	reader.saw("subscribed")
	envelope := `{"message_id":"match-update-123","timestamp":"2031-05-06T15:00:00Z","source":"upstream","version":"1.0","type":"match_updates",` +
		`"payload":{"matches":[{"matchid":6200001}],"metadata":{"has_changes":true}}}`
	changes := filepath.Join(t.TempDir(), "changes.json")
	require.NoError(t, os.WriteFile(changes, []byte(`{"summary":{"updated_matches":1},"detailed_changes":[`+
		`{"field":"avsparkstid","from":"16:00","to":"17:00","category":"time_change","priority":"high","description":"d"}]}`), 0o600))

	writer := start(t, env, envelope, "publish", "matches", "--file", "-", "--changes", changes)
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, exitDone, reader.wait(), reader.stderr)
	line := reader.line()
	require.Equal(t, "match-update-123", line["message_id"])
	require.Equal(t, "upstream", line["source"])
	require.Equal(t, true, line["high_priority"])
	require.Equal(t, "16:00", line["changes"].([]any)[0].(map[string]any)["from"])
	summary := line["payload"].(map[string]any)["metadata"].(map[string]any)["change_summary"].(map[string]any)
	require.Equal(t, json.Number("1"), summary["updated_matches"])
}

func TestPublish_statusAndAlert(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	env := map[string]string{"REDIS_URL": redis.URL()}
	reader := start(t, env, "", "subscribe", "--count", "2")
	reader.saw("subscribed")

	writer := start(t, env, "", "publish", "status", "--status", "completed", "--detail", "matches_processed=12", "--detail", "note=<plain>")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	status := reader.line()
	require.Equal(t, "processing_status", status["type"])
	require.Equal(t, []any{}, status["matches"])
	details := status["payload"].(map[string]any)["details"].(map[string]any)
	require.Equal(t, json.Number("12"), details["matches_processed"])
	require.Equal(t, "<plain>", details["note"])

	writer = start(t, env, "", "publish", "alert", "--type", "processing_error", "--severity", "error", "--message", "no answer")
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	alert := reader.line()
	require.Equal(t, "system_alert", alert["type"])
	require.Equal(t, "no answer", alert["payload"].(map[string]any)["message"])
	require.Equal(t, exitDone, reader.wait())
}

func TestSubscribe_timeAndChannels(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	env := map[string]string{"REDIS_URL": redis.URL()}

	quiet := start(t, env, "", "subscribe", "--timeout", "3s")
	require.Equal(t, exitDone, quiet.wait(), "the time is over: done")
	short := start(t, env, "", "subscribe", "--timeout", "3s", "--count", "1")
	require.Equal(t, exitFailed, short.wait(), "fewer messages than wanted: failed")
	require.Contains(t, short.stderr.String(), "fewer than 1 messages")

	extra := start(t, env, "", "subscribe", "--channel", "fogis_matches")
	extra.saw("subscribed")
	require.Equal(t, 1, redis.Publish("fogis_matches", []byte(`{"matches":[{"matchid":6200077}],"timestamp":"2025-10-04T15:00:00.000001","source":"match-list-processor","count":1}`)))
	line := extra.line()
	require.Equal(t, "fogis_matches", line["channel"])
	require.Equal(t, json.Number("6200077"), line["matches"].([]any)[0].(map[string]any)["id"])
	require.Equal(t, exitDone, extra.stop())
}

func TestSubscribe_outage_isReportedAndOver(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	reader := start(t, map[string]string{"REDIS_URL": redis.URL()}, "", "subscribe", "--count", "1")
	reader.saw("subscribed")
	redis.Stop()
	redis.Start()
	reader.saw("messages may have been lost")
	redis.WaitForListener(message.ChannelSystemAlerts)
	redis.WaitForListener(message.ChannelProcessingStatus)
	redis.WaitForListener(message.ChannelMatchUpdates)
	redis.Publish(message.ChannelProcessingStatus, []byte(`{"type":"processing_status","payload":{"status":"started"}}`))
	require.Equal(t, "processing_status", reader.line()["type"])
	require.Equal(t, exitDone, reader.wait())
}

func TestPublish_noRoute_failsAndNamesBoth(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Stop()
	env := map[string]string{
		"REDIS_URL":         strings.Replace(redis.URL(), "redis://", "redis://:s3kret-l0senord@", 1),
		"REDIS_MAX_RETRIES": "0",
	}
	p := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--fallback", "http://127.0.0.1:1/manual-sync")
	require.Equal(t, exitFailed, p.wait())
	require.Empty(t, p.stdout.String())
	require.Contains(t, p.stderr.String(), strings.TrimPrefix(redis.URL(), "redis://"), "the address of Redis")
	require.Contains(t, p.stderr.String(), "127.0.0.1:1", "the address of the fallback")
}

func TestPublish_disabledWithoutFallback_fails(t *testing.T) {
	t.Parallel()
	p := start(t, map[string]string{"REDIS_PUBSUB_ENABLED": "false"}, "["+oddMatch+"]", "publish", "matches", "--file", "-")
	require.Equal(t, exitFailed, p.wait())
	require.Equal(t, "none", p.line()["route"])
	require.Contains(t, p.stderr.String(), "nobody was told")
}

func TestPublish_badFile_namesTheField(t *testing.T) {
	t.Parallel()
	for input, field := range map[string]string{
		`[{"matchid":1},7]`:                "[1]",
		`[{"lag1namn":"Ängsviks IF"}]`:     "matchid",
		`{"type":"processing_status"}`:     "",
		`not json`:                         "",
		`{"type":"match_updates"}`:         "payload",
		`[{"matchid":1,"lag1namn":NaN}]`:   "NaN",
		"[{\"matchid\":1,\"x\":\"\xff\"}]": "UTF-8",
	} {
		p := start(t, nil, input, "publish", "matches", "--file", "-")
		require.NotEqual(t, exitDone, p.wait(), input)
		require.Contains(t, p.stderr.String(), "invalid message", input)
		require.Contains(t, p.stderr.String(), field, input)
	}
}

func TestPublish_badChanges_areRefused(t *testing.T) {
	t.Parallel()
	for _, changes := range []string{`{"foo":1}`, `{}`, `[]`, `{"detailed_changes":7}`} {
		file := filepath.Join(t.TempDir(), "changes.json")
		require.NoError(t, os.WriteFile(file, []byte(changes), 0o600))
		p := start(t, nil, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--changes", file)
		require.Equal(t, exitUsage, p.wait(), changes)
		require.Contains(t, p.stderr.String(), "detailed_changes", changes)
	}
}

func TestPublish_interruptedWhileReading_ends(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	silent, keep := io.Pipe()
	defer keep.Close()
	var stderr bytes.Buffer
	c := command{getenv: func(string) string { return "" }, stdin: silent, stdout: io.Discard, stderr: &stderr}
	code := make(chan int, 1)
	go func() { code <- c.run(ctx, []string{"publish", "matches", "--file", "-"}) }()
	cancel()
	select {
	case got := <-code:
		require.Equal(t, exitFailed, got)
		require.Contains(t, stderr.String(), "canceled")
	case <-time.After(patience):
		require.FailNow(t, "it still reads")
	}
}

// full is a standard output on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestSubscribe_outputThatFails_endsTheCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"subscribe"}, {"serve", "--addr", "127.0.0.1:0", "--allow-unauthenticated"}} {
		redis := pubsubtest.StartRedis(t) // one each: an ended command may still be counted as a listener
		env := map[string]string{"REDIS_URL": redis.URL()}
		stderr := newPipe()
		defer stderr.w.Close()
		c := command{getenv: func(name string) string { return env[name] }, stdin: strings.NewReader(""), stdout: full{}, stderr: stderr}
		code := make(chan int, 1)
		go func() { code <- c.run(t.Context(), args) }()
		redis.WaitForListener(message.ChannelProcessingStatus)
		redis.Publish(message.ChannelProcessingStatus, []byte(`{"type":"processing_status","payload":{"status":"started"}}`))
		select {
		case got := <-code:
			require.Equal(t, exitFailed, got)
			require.Contains(t, stderr.String(), "standard output: no space left on device")
		case <-time.After(patience):
			require.FailNow(t, "it goes on and loses what it cannot print")
		}
	}
}

func TestSubscribe_disabled_saysSo(t *testing.T) {
	t.Parallel()
	p := start(t, map[string]string{"REDIS_ENABLED": "false"}, "", "subscribe")
	p.saw("disabled by REDIS_PUBSUB_ENABLED or REDIS_ENABLED")
	require.Equal(t, exitDone, p.stop())
	require.NotContains(t, p.stderr.String(), "subscribed\n")
}

func keys(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// What FOGIS itself answers to a question for matches.
func TestReadUpdate_takesAnAnswerOfFOGIS(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		`{"matchlista":[{"matchid":1},{"matchid":2}],"anvandare":null}`,
		`{"d":{"matchlista":[{"matchid":1},{"matchid":2}]}}`,
		`{"d":"{\"matchlista\":[{\"matchid\":1},{\"matchid\":2}]}"}`,
	} {
		u, err := readUpdate([]byte(answer))
		require.NoError(t, err, answer)
		require.Len(t, u.payload.Matches, 2)
		require.Equal(t, `{"matchid":2}`, string(u.payload.Matches[1].Raw))
	}
	for answer, want := range map[string]string{
		`{"d":"no"}`:        `invalid message: d: want the answer of FOGIS, {"matchlista":[...]}`,
		`{"d":{}}`:          `invalid message: d: want the answer of FOGIS, {"matchlista":[...]}`,
		`{"matchlista":{}}`: "invalid message: matchlista: want a list",
		"\xff\xfe[\x00":     "invalid message: is UTF-16: send UTF-8",
	} {
		_, err := readUpdate([]byte(answer))
		require.EqualError(t, err, want)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// outboxEnv are the settings of a service with an outbox; Redis is away.
func outboxEnv(t *testing.T, pairs ...string) (env map[string]string, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "outbox")
	return with(map[string]string{
		"REDIS_URL":          "redis://" + faultnet.Reserve(t),
		"FOGIS_SERVICE_NAME": "processor",
		"REDIS_MAX_RETRIES":  "0",
		"REDIS_DURABLE":      "true",
		"FOGIS_OUTBOX_PATH":  path,
	}, pairs...), path
}

// listed are the records of an outbox.
func listed(t *testing.T, env map[string]string, args ...string) []map[string]any {
	t.Helper()
	r := operate(t, env, append([]string{"outbox", "list"}, args...)...)
	require.Equal(t, exitDone, r.code, r.stderr)
	return r.lines
}

// What the fallback took while streams were on does not hold up what follows
// when they are switched off.
func TestBlackbox_outbox_leavesByWhatIsLeft(t *testing.T) {
	t.Parallel()
	withoutStreams := realredis.Start(t, "--rename-command", "XADD", "")
	for _, test := range []struct {
		name  string
		pairs []string // of the settings afterwards
	}{
		{"pub/sub is switched off", []string{"REDIS_PUBSUB_ENABLED", "false"}},
		{"streams are switched off", []string{"REDIS_DURABLE", "false"}},
		{"auto finds no streams", []string{"REDIS_DURABLE", "auto", "REDIS_URL", withoutStreams.URL()}},
	} {
		for _, way := range []string{"publish", "drain"} {
			t.Run(test.name+", "+way, func(t *testing.T) {
				t.Parallel()
				receiver := newReceiver(t, nil)
				env, _ := outboxEnv(t, "FOGIS_FALLBACK_URL", receiver.URL+"/manual-sync")
				for number := 1; number <= 3; number++ {
					receipt, _ := publishes(t, env, number)
					require.Equal(t, "outbox", receipt["route"])
					require.Equal(t, "accepted", receipt["fallback"])
				}
				receiver.set(func(string, int) int { return http.StatusServiceUnavailable })
				receipt, stderr := publishes(t, with(env, "FOGIS_FALLBACK_TIMEOUT", "0.2"), 4)
				require.Equal(t, "outbox", receipt["route"], stderr)
				require.Equal(t, "failed", receipt["fallback"], stderr)
				require.Len(t, listed(t, env), 4)
				require.Equal(t, []string{"1", "2", "3"}, receiver.took())

				receiver.set(nil)
				env = with(env, test.pairs...)
				if way == "publish" {
					receipt, stderr := publishes(t, env, 5)
					require.Equal(t, "fallback", receipt["route"], stderr)
					require.Equal(t, []string{"1", "2", "3", "4", "5"}, receiver.took())
				} else {
					r := operate(t, env, "outbox", "drain")
					require.Equal(t, exitDone, r.code, r.stderr)
					require.Equal(t, json.Number("4"), r.lines[0]["drained"])
					require.Equal(t, json.Number("0"), r.lines[0]["left"])
					require.Equal(t, []string{"1", "2", "3", "4"}, receiver.took())
				}
				require.Empty(t, listed(t, env))
			})
		}
	}
}

// A damaged file is never replaced in silence: every command that opens it says
// so, check goes on saying it, and what is whole can be put back.
func TestBlackbox_outbox_damagedFileIsToldAndSalvaged(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	env, path := outboxEnv(t)
	var ids []string
	for number := 1; number <= 20; number++ {
		receipt, _ := publishes(t, env, number)
		require.Equal(t, "outbox", receipt["route"])
		ids = append(ids, receipt["message_id"].(string))
	}
	damagePage(t, path)

	// A look changes nothing, and says it.
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	looked := operate(t, env, "outbox", "list")
	require.NotEqual(t, exitDone, looked.code)
	require.Contains(t, looked.stderr, "damaged")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	receipt, stderr := publishes(t, env, 41)
	require.Equal(t, "outbox", receipt["route"])
	require.Contains(t, stderr, "set aside")
	aside, err := filepath.Glob(path + ".set-aside-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)

	check := operate(t, with(env, "REDIS_URL", server.URL()), "check")
	require.Equal(t, exitFailed, check.code, "%s%s", check.stdout, check.stderr)
	require.Contains(t, check.stdout, filepath.Base(aside[0]))
	require.Contains(t, check.stderr, filepath.Base(aside[0]))

	require.Contains(t, check.stderr, "outbox salvage")
	looked = operate(t, env, "outbox", "list")
	require.Equal(t, exitDone, looked.code, looked.stderr)
	require.Len(t, looked.lines, 1)
	require.Contains(t, looked.stderr, aside[0])
	service := launch(t, "service", with(env, "REDIS_DURABLE", "false"), "-run") // of which the outbox is
	require.Equal(t, "outbox", order(t, service, "publish 42")["Route"])
	require.Contains(t, fmt.Sprint(service.order("health")), filepath.Base(aside[0]))
	require.NoError(t, service.input.Close())
	require.Equal(t, exitDone, service.wait(), service.stderr)

	whole := operate(t, env, "outbox", "list", "--path", aside[0])
	require.NotEmpty(t, whole.lines)
	salvaged := operate(t, env, "outbox", "salvage", aside[0])
	require.Len(t, salvaged.lines, 1, salvaged.stderr)
	back := operate(t, env, "outbox", "list")
	require.Len(t, back.lines, len(whole.lines)+2, "each that can be read is back, before the newer ones")
	for i, line := range whole.lines {
		require.Equal(t, line["message_id"], back.lines[i]["message_id"])
		require.Contains(t, ids, line["message_id"])
	}
	require.NotContains(t, back.stderr, "set aside")
	drained := operate(t, with(env, "REDIS_URL", server.URL()), "outbox", "drain")
	require.Equal(t, exitDone, drained.code, drained.stderr)
	replayed := operate(t, map[string]string{"REDIS_URL": server.URL()}, "replay", "--type", "match_updates")
	require.Len(t, replayed.lines, len(back.lines), replayed.stderr)
}

// Only a damaged outbox of a known format is ever renamed. Anything else keeps
// its name and its bytes, whatever command meets it.
func TestBlackbox_outbox_ofNobodysFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	env, path := outboxEnv(t)
	publishes(t, env, 1)
	ours, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(ours), "fogispubsub outbox2")
	for _, test := range []struct {
		name, image, says string
	}{
		{"notes", "some notes of somebody\n", "not an outbox file"},
		{"zeros", string(make([]byte, 40_000)), "not an outbox file"},
		{"a newer format", strings.ReplaceAll(string(ours), "fogispubsub outbox2", "fogispubsub outbox9"), "another version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(path, []byte(test.image), 0o600))
			env := with(env, "FOGIS_OUTBOX_PATH", path)
			for _, args := range [][]string{
				{"outbox", "list"}, {"outbox", "drain"}, {"outbox", "requeue", "--all"}, {"outbox", "discard", "--all"},
				{"publish", "matches", "--file", snapshot(t, 2)},
			} {
				r := operate(t, env, args...)
				require.Equal(t, exitFailed, r.code, "%v: %s", args, r.stderr)
				require.Contains(t, r.stderr, test.says, args)
			}
			now, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, test.image, string(now))
			require.Equal(t, []string{"file"}, names(t, filepath.Dir(path)))
		})
	}
}

func TestBlackbox_outbox_mistypedPathIsNotMade(t *testing.T) {
	t.Parallel()
	env, path := outboxEnv(t)
	for _, args := range [][]string{{"list"}, {"drain"}, {"requeue", "--all"}, {"discard", "--all"}, {"show", "a"}} {
		r := operate(t, env, append([]string{"outbox"}, args...)...)
		require.Equal(t, exitFailed, r.code, args)
		require.Contains(t, r.stderr, path, args)
	}
	require.Empty(t, names(t, filepath.Dir(path)))
}

// A file that a process has is not taken from it, whatever lies beside it.
func TestBlackbox_outbox_inUseStaysItsOwners(t *testing.T) {
	t.Parallel()
	env, path := outboxEnv(t)
	owner := launch(t, "service", env, "-run")
	require.Equal(t, "outbox", order(t, owner, "publish 1")["Route"])
	for _, name := range names(t, filepath.Dir(path)) {
		if name != filepath.Base(path) {
			require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), name)))
		}
	}
	for _, args := range [][]string{{"outbox", "drain"}, {"publish", "matches", "--file", snapshot(t, 2)}} {
		r := operate(t, env, args...)
		require.Equal(t, exitFailed, r.code, r.stderr)
		require.Contains(t, r.stderr, "in use", args)
	}
	require.Len(t, listed(t, env), 1, "a look needs no lock")
	require.Equal(t, "outbox", order(t, owner, "publish 3")["Route"])
	require.NoError(t, owner.input.Close())
	require.Equal(t, exitDone, owner.wait())
	require.Len(t, listed(t, env), 2)
	require.NotContains(t, strings.Join(names(t, filepath.Dir(path)), " "), "set-aside")
}

// One message that the receiver refuses for good holds up none of the newer
// ones, whether streams are on or off.
func TestBlackbox_outbox_refusedMessageHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"true", "false", "auto"} {
		t.Run("REDIS_DURABLE="+mode, func(t *testing.T) {
			t.Parallel()
			refuse := func(number string, _ int) int {
				if number == "2" {
					return http.StatusRequestEntityTooLarge
				}
				return http.StatusOK
			}
			receiver := newReceiver(t, refuse)
			env, _ := outboxEnv(t, "REDIS_DURABLE", mode, "FOGIS_FALLBACK_URL", receiver.URL+"/manual-sync")
			for number := 1; number <= 5; number++ {
				r := operate(t, env, "publish", "matches", "--file", snapshot(t, number))
				switch {
				case number != 2:
					require.Equal(t, exitDone, r.code, r.stderr)
					require.Equal(t, "accepted", r.lines[0]["fallback"])
				case mode == "false": // nothing else is to come for it
					require.Equal(t, exitFailed, r.code)
					require.Contains(t, r.stderr, "413")
					require.Contains(t, r.stderr, "outbox list")
				default: // the stream is still to have it
					require.Equal(t, exitDone, r.code, r.stderr)
					require.Equal(t, "failed", r.lines[0]["fallback"])
					require.Contains(t, r.stderr, "413")
				}
			}
			require.Equal(t, []string{"1", "3", "4", "5"}, receiver.took())
			var refused int
			for _, record := range listed(t, env) {
				if reason, ok := record["reason"]; ok {
					refused++
					require.Contains(t, reason, "413")
				} else {
					require.Equal(t, true, record["posted"])
				}
			}
			require.Equal(t, 1, refused)
		})
	}
}

// damagePage overwrites a page of an outbox, the first without which the file
// cannot be trusted and some records can still be read.
func damagePage(t *testing.T, path string) {
	t.Helper()
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	const size = 4096
	for page := 2; (page+1)*size <= len(image); page++ {
		damaged := slices.Clone(image)
		copy(damaged[page*size:], bytes.Repeat([]byte{0xff}, size))
		trial := filepath.Join(t.TempDir(), "outbox")
		require.NoError(t, os.WriteFile(trial, damaged, 0o600))
		records, err := outbox.Read(trial)
		if err == nil || len(records) == 0 {
			continue
		}
		file, err := outbox.Open(trial, outbox.Options{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, file.Close())
		if len(filesAside(trial)) > 0 {
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			return
		}
	}
	require.FailNow(t, "no page is that important")
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := []string{}
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

// order gives the receipt of an order that succeeds.
func order(t *testing.T, service *box, text string) map[string]any {
	t.Helper()
	answer := service.order("%s", text)
	require.NotContains(t, answer, "error")
	return answer["receipt"].(map[string]any)
}

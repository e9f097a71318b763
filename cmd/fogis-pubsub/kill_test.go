package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// The program itself is killed with -9 between any two lines. What it had
// printed and not acknowledged is printed again by the next one; nothing is
// missing.
func TestSubscribe_durable_killed(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	program := filepath.Join(t.TempDir(), "fogis-pubsub")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(built))

	conn := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = conn.Close() })
	w, err := durable.NewWriter(conn, durable.WriterOptions{})
	require.NoError(t, err)
	var want []string
	appendSome := func(n int) {
		for range n {
			id := message.NewID()
			body, err := message.AppendEncode(nil, message.Header{ID: id, Source: "processor", Stream: true}, message.MatchUpdates{})
			require.NoError(t, err)
			_, err = w.Append(t.Context(), message.ChannelMatchUpdates, message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: body}, "")
			require.NoError(t, err)
			want = append(want, id)
		}
	}

	var got []string // in the order of their first line
	printed, again := 0, int64(0)
	for _, lines := range []int{1, 57, 300} {
		appendSome(100)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, program, "subscribe", "--durable", "--group", "calendar")
		cmd.Env = append(os.Environ(), "REDIS_URL="+server.URL())
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// A line that was written before the kill is out, and may have been
		// acknowledged: it counts, though it is read later.
		for r := bufio.NewReader(stdout); ; {
			text, err := r.ReadBytes('\n')
			if err != nil {
				break
			}
			var line struct {
				ID string `json:"message_id"`
			}
			require.NoError(t, json.Unmarshal(text, &line))
			printed++
			if !slices.Contains(got, line.ID) {
				got = append(got, line.ID)
			}
			if lines--; lines == 0 || len(got) == 300 {
				require.NoError(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait()
		require.NoError(t, ctx.Err(), "%d of 300 messages: %s", len(got), &stderr)
		pending, err := server.Client(t).XPending(t.Context(), durable.StreamKey(message.ChannelMatchUpdates), "calendar").Result()
		require.NoError(t, err)
		again += pending.Count
		cancel()
		require.Positive(t, printed, stderr.String())
	}
	require.Equal(t, want, got, "each at least once, in order")
	require.LessOrEqual(t, int64(printed), 300+again, "and again only what was not acknowledged")
}

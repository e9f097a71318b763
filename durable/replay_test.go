package durable_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func TestReplay_positions(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		for _, id := range []string{"1000-0", "1000-1", "2000-0", "3000-0"} {
			require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{
				Stream: durable.StreamKey(channel), ID: id, Values: []string{"id", "m" + id},
			}).Err())
		}
		for name, test := range map[string]struct {
			from durable.Position
			want []string
		}{
			"beginning":   {durable.Position{}, []string{"m1000-0", "m1000-1", "m2000-0", "m3000-0"}},
			"since":       {durable.Since(time.UnixMilli(2000)), []string{"m2000-0", "m3000-0"}},
			"since old":   {durable.Since(time.Time{}), []string{"m1000-0", "m1000-1", "m2000-0", "m3000-0"}},
			"after":       {durable.After("1000-0"), []string{"m1000-1", "m2000-0", "m3000-0"}},
			"after gone":  {durable.After("1500-0"), []string{"m2000-0", "m3000-0"}},
			"after all":   {durable.After("3000-0"), nil},
			"since later": {durable.Since(time.UnixMilli(4000)), nil},
		} {
			entries := durable.Replay(t.Context(), conn, channel, test.from)
			for range 2 { // ranging again reads again
				var got []string
				for e, err := range entries {
					require.NoError(t, err, name)
					got = append(got, e.ID)
				}
				require.Equal(t, test.want, got, name)
			}
		}
	})
}

func TestReplay_stopsAndEnds(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 250)
	n := 0
	for _, err := range durable.Replay(t.Context(), conn, channel, durable.Position{}) {
		require.NoError(t, err)
		if n++; n == 130 {
			break
		}
	}
	require.Equal(t, 130, n)
	require.Len(t, replayed(t, conn), 250)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, err := range durable.Replay(ctx, conn, channel, durable.Position{}) {
		last = err
		if n++; n == 10 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)

	for _, err := range durable.Replay(t.Context(), conn, "a{b", durable.Position{}) {
		require.ErrorContains(t, err, "{ or }")
	}
	for _, err := range durable.Replay(t.Context(), conn, channel, durable.After("nonsense")) {
		require.ErrorContains(t, err, "replay on "+channel)
	}
	gone := connect(t, faultnet.Reserve(t))
	for _, err := range durable.Replay(t.Context(), gone, channel, durable.Position{}) {
		failure := new(durable.Error)
		require.ErrorAs(t, err, &failure)
		require.False(t, failure.Refused)
	}
}

// A stream of 100 MB is replayed within some batches.
func TestReplay_memoryIsBounded(t *testing.T) {
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{MaxBytes: -1})
	m := outgoing(1)
	m.Body = []byte(`"` + strings.Repeat("x", 250_000) + `"`)
	for range 400 {
		_, err := w.Append(t.Context(), channel, m, "")
		require.NoError(t, err)
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before, most, n := heap(), uint64(0), 0
	for e, err := range durable.Replay(t.Context(), conn, channel, durable.Position{}) {
		require.NoError(t, err)
		require.Len(t, e.Body, len(m.Body))
		if n++; n%20 == 0 {
			most = max(most, heap())
		}
	}
	require.Equal(t, 400, n)
	require.Less(t, most-min(before, most), uint64(24<<20))
}

package durable_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func TestReader_Missing(t *testing.T) {
	t.Parallel()
	embedded := newEmbedded(t)
	first, err := embedded.Dial() // starts it
	require.NoError(t, err)
	require.NoError(t, first.Close())
	for name, conn := range map[string]*redis.Client{
		"redis":     connect(t, realredis.Start(t).Addr()),
		"miniredis": (&link{redis: embedded}).client(t),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, conn, durable.ReaderOptions{})
			missing, err := r.Missing(t.Context(), time.Minute, "id-0001")
			require.NoError(t, err)
			require.Equal(t, []string{"id-0001"}, missing, "there is no stream")

			publish(t, newWriter(t, conn, durable.WriterOptions{MaxAge: -1, MaxLen: -1, MaxBytes: -1}), 1, 450)
			missing, err = r.Missing(t.Context(), time.Minute, "id-0450", "other", "id-0001", "id-0200")
			require.NoError(t, err)
			require.Equal(t, []string{"other"}, missing)
		})
	}
}

// What was trimmed lately cannot be told from what was never there.
func TestReader_Missing_trimmed(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	r := newReader(t, conn, durable.ReaderOptions{})
	add := func(ms int) {
		t.Helper()
		require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{
			Stream: durable.StreamKey(channel), ID: fmt.Sprintf("%d-0", ms), Values: []any{"id", fmt.Sprint(ms)},
		}).Err())
	}
	for _, ms := range []int{1000, 2000, 100_000} {
		add(ms)
	}
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 2).Err())
	missing, err := r.Missing(t.Context(), time.Minute, "other", "100000")
	require.NoError(t, err)
	require.Equal(t, []string{"other"}, missing, "what was trimmed is older than the oldest entry")
	missing, err = r.Missing(t.Context(), 99*time.Second, "other", "100000")
	require.NoError(t, err)
	require.Empty(t, missing)
}

func TestReader_Check(t *testing.T) {
	t.Parallel()
	whole := newReader(t, connect(t, realredis.Start(t).Addr()), durable.ReaderOptions{})
	require.NoError(t, whole.Check(t.Context()))
	for _, command := range []string{"EVAL", "XREADGROUP", "XADD"} {
		options := []string{"--rename-command", command, ""}
		if command == "EVAL" {
			options = append(options, "--rename-command", "EVALSHA", "")
		}
		r := newReader(t, connect(t, realredis.Start(t, options...).Addr()), durable.ReaderOptions{})
		err := r.Check(t.Context())
		require.ErrorIs(t, err, durable.ErrUnsupported, command)
		failure := new(durable.Error)
		require.ErrorAs(t, err, &failure)
		require.True(t, failure.Refused)
	}
}

func TestLease_CaughtUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := (&link{redis: newEmbedded(t)}).client(t)
		first := newWriter(t, conn, durable.WriterOptions{})
		publish(t, first, 1, 3)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.Zero(t, l.CaughtUp())
		entries, err := l.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, entries, 2)
		require.Zero(t, l.CaughtUp(), "there may be more")
		entries, err = l.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, time.Now(), l.CaughtUp())
		_, err = l.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Now(), l.CaughtUp(), "nothing came while it waited")
		time.Sleep(time.Second)
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			publish(t, first, 4, 4)
		}()
		_, err = l.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, began, l.CaughtUp(), "what came meanwhile may have been followed by more")
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestReader_OnOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := (&link{redis: newEmbedded(t)}).client(t)
		told := 0
		r := newReader(t, conn, durable.ReaderOptions{OnOther: func() { told++ }})
		l := acquire(t, r)
		require.Zero(t, told)
		go func() {
			time.Sleep(time.Second)
			_ = l.Release(t.Context())
		}()
		acquire(t, r)
		require.InDelta(t, 4, told, 1)
	})
}

package durable_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// What others do to the group while no instance runs.
func TestLease_Read_pendingEntriesThatOthersRemoved(t *testing.T) {
	t.Parallel()
	stream := durable.StreamKey(channel)
	for name, row := range map[string]struct {
		remove func(t *testing.T, conn redis.UniversalClient) error
		lost   int64
	}{
		"nothing": {func(*testing.T, redis.UniversalClient) error { return nil }, 0},
		"DELCONSUMER": {func(t *testing.T, conn redis.UniversalClient) error {
			return conn.XGroupDelConsumer(t.Context(), stream, group, "main").Err()
		}, 3},
		"SETID": {func(t *testing.T, conn redis.UniversalClient) error {
			return conn.XGroupSetID(t.Context(), stream, group, "$").Err()
		}, 2}, // what was pending stays
		"both": {func(t *testing.T, conn redis.UniversalClient) error {
			return errors.Join(conn.XGroupDelConsumer(t.Context(), stream, group, "main").Err(), conn.XGroupSetID(t.Context(), stream, group, "$").Err())
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, realredis.Start(t).Addr()) // miniredis has no SETID
			w := newWriter(t, conn, durable.WriterOptions{})
			publish(t, w, 1, 7)
			l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
			entries := read(t, l, 7)
			require.NoError(t, l.Ack(t.Context(), entries[:3]...))
			require.NoError(t, l.Bury(t.Context(), entries[3], durable.Failure{Err: errors.New("no")}))
			require.NoError(t, l.Release(t.Context()))
			publish(t, w, 8, 9)
			require.NoError(t, row.remove(t, conn))

			var missing gaps
			r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
			publish(t, w, 10, 10)
			l = acquire(t, r)
			handled := 6 - int(row.lost)
			require.NoError(t, l.Ack(t.Context(), read(t, l, handled)...))
			told := missing.all()
			if row.lost == 0 {
				require.Empty(t, told)
			} else {
				require.Len(t, told, 1)
				require.Equal(t, durable.CausePendingLost, told[0].Cause)
				require.Equal(t, row.lost, told[0].Missing)
				require.Equal(t, entries[3].StreamID, told[0].After)
			}
			require.NoError(t, l.Release(t.Context()))
			l = acquire(t, r)
			publish(t, w, 11, 11)
			read(t, l, 1)
			require.Len(t, missing.all(), len(told), "told once")
		})
	}
}

// Another version may give its lease a longer time than this one.
func TestReader_Acquire_leavesTheHoldersLeaseItsLength(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		conn := (&link{redis: m}).client(t)
		require.NoError(t, conn.Set(t.Context(), leaseKey, "another", 20*time.Second).Err())
		require.NoError(t, conn.HSet(t.Context(), "{"+channel+"}:tries:"+group, "lease", 20000).Err())
		began := time.Now()
		acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.InDelta(t, 20, time.Since(began).Seconds(), 0.3)
		require.Equal(t, "10000", m.HGet("{"+channel+"}:tries:"+group, "lease"))
	})
}

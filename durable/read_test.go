package durable_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

func TestLease_Read_inOrderAndOnce(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 30)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, l, 30)
		require.Equal(t, numbered(1, 30), ids(entries))
		for _, e := range entries {
			require.False(t, e.Redelivered)
			require.Equal(t, channel, channel)
		}
		require.NoError(t, l.Ack(t.Context(), entries...))
		empty, err := l.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, empty)
		publish(t, w, 31, 31)
		require.Equal(t, numbered(31, 31), ids(read(t, l, 1)))
	})
}

func TestLease_Release_nextHolderGetsWhatIsNotSettled(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 10)
		first := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, first, 10)
		require.NoError(t, first.Ack(t.Context(), entries[:4]...))
		require.NoError(t, first.Release(t.Context()))
		require.ErrorIs(t, first.Ack(t.Context(), entries[4]), durable.ErrLeaseLost)

		second := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries = read(t, second, 6)
		require.Equal(t, numbered(5, 10), ids(entries))
		for _, e := range entries {
			require.True(t, e.Redelivered)
		}
		require.NoError(t, second.Ack(t.Context(), entries...))
		require.NoError(t, second.Release(t.Context()))

		third := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		none, err := third.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

// Statuses come in batches of up to 500, snapshots in those of up to 100: a
// small one may be followed by large ones.
func TestLease_Read_batches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		typ   message.Type
		bytes int
		want  []int
	}{
		{"statuses", message.TypeProcessingStatus, 300, []int{2, 500, 500, 198}},
		{"snapshots", message.TypeMatchUpdates, 300, []int{2, 100, 100, 98}},
		{"long alerts", message.TypeSystemAlert, 20_000, []int{2, 100, 100, 98}},
		{"large snapshots", message.TypeMatchUpdates, 1 << 20, []int{2, 8, 8, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			servers(t, func(t *testing.T, addr string) {
				conn := connect(t, addr)
				l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
				total := 0
				for _, n := range tc.want {
					total += n
				}
				pipe := conn.Pipeline()
				for range total {
					pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: durable.StreamKey(channel), Values: []any{
						"id", message.NewID(), "type", string(tc.typ), "data", strings.Repeat("x", tc.bytes),
					}})
				}
				_, err := pipe.Exec(t.Context())
				require.NoError(t, err)
				var got []int
				for range tc.want {
					batch, err := l.Read(t.Context())
					require.NoError(t, err)
					got = append(got, len(batch))
				}
				require.Equal(t, tc.want, got)
			})
		})
	}
}

package durable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
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

package subscriber_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestDurable_snapshotsOfFourDaysAreHandledInOrder(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	appendAll(t, client, 1, 250, 250_000)
	var got recorder
	seen := make(chan message.Header, 1000)
	r, e := member(t, at(server.Addr()), inGroup(), func(ctx context.Context, env *message.Envelope) error {
		seen <- env.Header
		return got.handle(ctx, env)
	})
	most := int64(0)
	eventually(t, "all handled", func() bool {
		for _, lane := range r.Status().Lanes {
			most = max(most, lane.QueuedBytes)
		}
		return len(got.IDs()) == 250
	})
	require.Equal(t, numbered(1, 250), got.IDs())
	require.LessOrEqual(t, most, int64(32<<20))
	h := <-seen
	require.Equal(t, message.ViaStream, h.Via)
	require.NotEmpty(t, h.StreamID)
	eventually(t, "acknowledged", func() bool { return pending(t, client) == 0 })

	// What comes now comes once, by the stream; a legacy message by pub/sub.
	appendAll(t, client, 251, 251, 0)
	require.NoError(t, client.Publish(t.Context(), statusChannel, status(t, "legacy")).Err())
	eventually(t, "both", func() bool { return len(got.IDs()) == 252 })
	require.ElementsMatch(t, []string{numberedID(251), "legacy"}, got.IDs()[250:])
	eventually(t, "counted", func() bool { return r.Stats().LeftToStream == 1 })
	st := r.Status()
	require.Len(t, st.Streams, 1)
	require.True(t, st.Streams[0].Holder)
	require.Equal(t, group, st.Streams[0].Group)
	require.Equal(t, subscriber.StateSubscribed, st.State)
	require.NoError(t, r.stop())
	require.Empty(t, e.Gaps())
	require.Zero(t, client.Exists(t.Context(), "{"+statusChannel+"}:lease:"+group).Val(), "the lease is released")
	stats := r.Stats()
	require.EqualValues(t, 252, stats.Handled)
	require.Equal(t, stats.Received, stats.Handled+stats.LeftToStream)
}

// What waits in memory is bounded by the lane and one batch, however much waits
// in the stream. Not parallel: it measures the heap.
func TestDurable_backlogIsBoundedInMemory(t *testing.T) {
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	const n, size = 350, 250_000
	appendAll(t, client, 1, n, size)
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	most, calls := uint64(0), 0
	all := make(chan struct{})
	r, e := member(t, at(server.Addr()), inGroup(), func(context.Context, *message.Envelope) error {
		if calls++; calls%10 == 1 {
			// The reader fills the lane meanwhile, soon or, on a loaded machine, later.
			for deadline := time.Now().Add(5 * time.Second); ; {
				time.Sleep(50 * time.Millisecond)
				most = max(most, live()-before)
				if most > 30<<20 || calls > n/2 || time.Now().After(deadline) {
					break
				}
			}
		}
		if calls == n {
			close(all)
		}
		return nil
	})
	select {
	case <-all:
	case <-time.After(5 * time.Minute):
		t.Fatal("not all were handled")
	}
	require.NoError(t, r.stop())
	require.Empty(t, e.Gaps())
	t.Logf("a backlog of %d MB took %.1f MiB of heap", n*size/1_000_000, float64(most)/(1<<20))
	require.Greater(t, most, uint64(30<<20), "the lane was full")
	require.Less(t, most, uint64(32+16+4)<<20, "the lane, one batch, and what else there is")
}

package subscriber_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// follows is a status that its publisher posts behind an entry of the stream.
func follows(tb testing.TB, id, streamID string) []byte {
	tb.Helper()
	return message.Outgoing{Body: status(tb, id)}.WithAfter(streamID).Body
}

// newest is the ID of the newest entry of the stream.
func newest(tb testing.TB, b *redisBox) string {
	tb.Helper()
	e, found, err := durable.Latest(tb.Context(), streamClient(tb, b.options()), statusChannel)
	require.NoError(tb, err)
	require.True(tb, found)
	return e.StreamID
}

// A publisher has lost Redis and posts what follows entries that are in the
// stream. It waits for these, at the holder and at another instance.
func TestSubscriber_Dispatch_waitsForWhatIsInTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var first, second recorder
		wait := make(chan struct{})
		first.do = func(context.Context, string) error { <-wait; return nil }
		holder, _ := member(t, b.options(), inGroup(), first.handle)
		time.Sleep(time.Second)
		other, _ := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 2, 0)
		synctest.Wait()
		last := newest(t, b)

		for _, r := range []*running{holder, other} {
			began := time.Now()
			a := <-dispatch(t, r.Subscriber, follows(t, numberedID(3), last))
			require.ErrorIs(t, a.err, message.ErrBusy)
			require.ErrorContains(t, a.err, "not handled yet")
			require.Equal(t, 3*time.Second, time.Since(began))
		}
		early := dispatch(t, holder.Subscriber, follows(t, numberedID(3), last))
		late := dispatch(t, other.Subscriber, follows(t, numberedID(4), last))
		time.Sleep(time.Second)
		close(wait)
		require.NoError(t, (<-early).err)
		require.NoError(t, (<-late).err)
		require.Equal(t, numbered(1, 3), first.IDs())
		require.Equal(t, numbered(4, 4), second.IDs())
		require.NoError(t, holder.stop())
		require.NoError(t, other.stop())
	})
}

// What was handled before Redis went away is known, and need not be asked for.
func TestSubscriber_Dispatch_knowsWhatWasHandledBeforeTheOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var got recorder
		r, _ := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 2, 0)
		time.Sleep(time.Second)
		last := newest(t, b)
		b.cut(true)
		began := time.Now()
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(3), last))).err)
		require.Equal(t, began, time.Now())
		require.Equal(t, numbered(1, 3), got.IDs())
		for _, unknown := range []string{message.AfterUnknown, "0-x", "-"} {
			require.ErrorIs(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(4), unknown))).err, message.ErrBusy)
		}

		// The entries of another Redis are none of this stream's.
		a := <-dispatch(t, r.Subscriber, follows(t, numberedID(4), "9999999999999-0"))
		require.ErrorIs(t, a.err, message.ErrBusy)
		b.refuse(false)
		time.Sleep(10 * time.Second)
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(4), "9999999999999-0"))).err)
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(5), message.AfterUnknown))).err)
		require.NoError(t, r.stop())
	})
}

// Redis has been away for a minute: the newest message is handled though the
// stream holds earlier ones, and again behind these, so that it is the last.
func TestSubscriber_Dispatch_inTheEndTheNewestIsTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		network := &redisBox{Miniredis: b.Miniredis}
		var got recorder
		fails := true
		got.do = func(_ context.Context, id string) error {
			if fails && id == numberedID(1) {
				return errHandler
			}
			return nil
		}
		r, _ := member(t, network.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 2, 0)
		synctest.Wait()
		last := newest(t, b)
		network.cut(true)
		time.Sleep(50 * time.Second)
		a := <-dispatch(t, r.Subscriber, follows(t, numberedID(3), last))
		require.ErrorIs(t, a.err, message.ErrBusy)
		time.Sleep(10 * time.Second)
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(3), last))).err)
		require.True(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(3), last))).Duplicate)
		handled := len(got.IDs())

		fails = false
		network.refuse(false)
		appendAll(t, client, 3, 4, 0) // from the publisher's outbox
		time.Sleep(30 * time.Second)
		require.Equal(t, numbered(1, 4), got.IDs()[handled:])
		require.Zero(t, pending(t, client))
		require.NoError(t, r.stop())
	})
}

// The publisher posts a snapshot while older ones wait for the stream: the
// snapshot is handled at once, and again behind them.
func TestSubscriber_Dispatch_whatOlderOnesAreOwedBefore_isHandledAgainBehindThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var got recorder
		r, _ := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 1, 0)
		time.Sleep(time.Second)
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(4), newest(t, b)+message.AfterOwing))).err)
		require.Equal(t, []string{numberedID(1), numberedID(4)}, got.IDs())
		appendAll(t, client, 2, 5, 0) // from the publisher's outbox
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, numbered(2, 5), got.IDs()[2:])
		require.NoError(t, r.stop())
	})
}

// Nothing came between: it is known again when the stream brings it.
func TestSubscriber_Dispatch_earlyAndStillInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		b.cut(true)
		var got recorder
		r, _ := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(30 * time.Second)
		require.ErrorIs(t, (<-dispatch(t, r.Subscriber, follows(t, numberedID(1), "5-0"))).err, message.ErrBusy, "a process that began without Redis knows nothing")
		time.Sleep(30 * time.Second)
		for _, id := range numbered(1, 2) {
			require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, id, "5-0"))).err)
		}
		b.refuse(false)
		appendAll(t, client, 1, 3, 0)
		time.Sleep(30 * time.Second)
		require.Equal(t, numbered(1, 3), got.IDs())
		require.Zero(t, pending(t, client))
		require.NoError(t, r.stop())
	})
}

// A subscriber without streams has nothing to wait for.
func TestSubscriber_Dispatch_followsAStreamThatIsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		_, r, _ := box(t, subscriber.Options{}, got.handle)
		require.NoError(t, (<-dispatch(t, r.Subscriber, follows(t, "x", "9999999999999-0"))).err)
		require.NoError(t, r.stop())
	})
}

package subscriber_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// announce publishes a message that says that it is in the stream, and is not.
func announce(t *testing.T, b *redisBox, id string) {
	t.Helper()
	b.Publish(statusChannel, string(marked(t, id)))
}

func TestAnnounced_missingIsHandledAndAGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 1, 0)
		began := time.Now()
		announce(t, b, "lost")
		appendAll(t, client, 2, 2, 0)
		time.Sleep(5 * time.Second)
		require.Equal(t, numbered(1, 2), got.IDs(), "it may still come")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Equal(t, append(numbered(1, 2), "lost"), got.IDs())
		require.Len(t, e.Gaps(), 1)
		gap := e.Gaps()[0]
		require.Equal(t, subscriber.CauseAnnounced, gap.Cause)
		require.Equal(t, began, gap.From)
		require.Equal(t, []string{"lost"}, gap.Stream.IDs)
		require.EqualValues(t, 1, gap.Stream.Missing)
		require.Contains(t, gap.String(), "announced but not in the stream")
		time.Sleep(time.Minute)
		require.NoError(t, r.stop())
		require.Len(t, got.IDs(), 3)
		stats := r.Stats()
		require.EqualValues(t, 3, stats.Handled)
		require.EqualValues(t, 2, stats.LeftToStream)
		require.Equal(t, stats.Received, stats.Handled+stats.LeftToStream)
	})
}

func TestAnnounced_boundOfWhatIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		for n := range 70 {
			announce(t, b, numberedID(n))
		}
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		require.Equal(t, numbered(0, 63), got.IDs())
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, numbered(0, 69), e.Gaps()[0].Stream.IDs)
	})
}

// A long ID does not come as far as to be kept or to go to Redis.
func TestAnnounced_longID_isInvalid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		b.Publish(statusChannel, strings.Replace(string(marked(t, "short")), "short", strings.Repeat("long", 1<<20), 1))
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		require.EqualValues(t, 1, r.Stats().Invalid)
		require.Empty(t, got.IDs())
		require.Empty(t, e.Gaps())
	})
}

// A repeat is for listeners without streams: its original was in the stream.
func TestRepeat_isLeftToTheStream(t *testing.T) {
	t.Parallel()
	for _, durable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := bubbleBox(t)
			o := subscriber.Options{}
			if durable {
				o = inGroup()
			}
			var got recorder
			r, e := member(t, b.options(), o, got.handle)
			time.Sleep(time.Second)
			m := message.Outgoing{Body: marked(t, "once")}.WithRepeat()
			b.Publish(statusChannel, string(m.Body))
			b.Publish(statusChannel, string(m.Body))
			time.Sleep(20 * time.Second)
			require.NoError(t, r.stop())
			require.Empty(t, e.Gaps())
			if durable {
				require.Empty(t, got.IDs())
				return
			}
			require.Equal(t, []string{"once"}, got.IDs(), "it may be new, and is known then")
		})
	}
}

func TestAnnounced_boundInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		for n := range 5 {
			b.Publish(statusChannel, string(append(marked(t, numberedID(n)), bytes.Repeat([]byte(" "), 5<<20)...)))
		}
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		require.Equal(t, numbered(0, 2), got.IDs())
		require.Equal(t, numbered(0, 4), e.Gaps()[0].Stream.IDs)
	})
}

// What a reader that is far behind has not got yet is not missing.
func TestAnnounced_readerFarBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		open := make(chan struct{})
		var got recorder
		got.do = func(context.Context, string) error { <-open; return nil }
		o := inGroup()
		o.QueueMessages = 10
		r, e := member(t, b.options(), o, got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 500, 0)
		announce(t, b, "lost")
		time.Sleep(30 * time.Minute)
		require.Empty(t, e.Gaps())
		close(open)
		time.Sleep(20 * time.Second)
		require.Equal(t, append(numbered(1, 500), "lost")[:500], got.IDs(), "there was no room to keep the one that is missing")
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, []string{"lost"}, e.Gaps()[0].Stream.IDs)
		require.NoError(t, r.stop())
		stats := r.Stats()
		require.EqualValues(t, 500, stats.Handled)
		require.EqualValues(t, 501, stats.LeftToStream)
	})
}

// More than there is room for is said, even without their IDs.
func TestAnnounced_overflow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		for n := range 4200 {
			announce(t, b, numberedID(n))
		}
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		missing := int64(0)
		for _, gap := range e.Gaps() {
			require.Equal(t, subscriber.CauseAnnounced, gap.Cause)
			missing += gap.Stream.Missing
		}
		require.EqualValues(t, 4200, missing)
		require.Len(t, got.IDs(), 64)
	})
}

func TestAnnounced_handledByHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		announce(t, b, "other")
		_, err := r.Dispatch(t.Context(), statusChannel, status(t, "other"))
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		require.Equal(t, []string{"other"}, got.IDs())
		require.Empty(t, e.Gaps())
	})
}

// The connection to Redis is lost with the lease, and Redis with what it had
// taken last.
func TestAnnounced_leaseLostMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		network := &redisBox{Miniredis: b.Miniredis}
		var got recorder
		r, e := member(t, network.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 1, 0)
		time.Sleep(time.Second)
		announce(t, b, "lost")
		synctest.Wait()
		network.cut(true)
		time.Sleep(time.Minute)
		require.False(t, r.Status().Streams[0].Holder)
		network.refuse(false)
		appendAll(t, client, 2, 2, 0)
		time.Sleep(20 * time.Second)
		require.Equal(t, append(numbered(1, 2), "lost"), got.IDs())
		require.NoError(t, r.stop())
		require.Len(t, e.Gaps(), 2, "the session's, and that of the stream")
	})
}

func TestAnnounced_missingWhenRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 1, 0)
		announce(t, b, "lost")
		time.Sleep(time.Second)
		require.NoError(t, r.stop())
		require.Equal(t, []string{numberedID(1), "lost"}, got.IDs())
		require.Len(t, e.Gaps(), 1)
	})
}

// Who is not the holder keeps nothing, and tells of what is missing only when
// the holder may have died with it.
func TestAnnounced_takeover(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"all in the stream": false, "one is not": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, client := bubbleBox(t)
				network := &redisBox{Miniredis: b.Miniredis}
				var first, second recorder
				one, _ := member(t, network.options(), inGroup(), first.handle)
				time.Sleep(time.Second)
				two, e := member(t, b.options(), inGroup(), second.handle)
				time.Sleep(time.Second)
				announce(t, b, "early")
				time.Sleep(30 * time.Second)
				require.Contains(t, first.IDs(), "early")

				appendAll(t, client, 1, 3, 0)
				if lost {
					announce(t, b, "lost")
				}
				time.Sleep(time.Second)
				network.cut(true)
				time.Sleep(30 * time.Second)
				require.True(t, two.Status().Streams[0].Holder)
				require.NoError(t, one.stop())
				require.NoError(t, two.stop())
				require.Empty(t, second.IDs())
				if !lost {
					require.Empty(t, e.Gaps())
					return
				}
				require.Len(t, e.Gaps(), 1)
				require.Equal(t, subscriber.CauseTakeover, e.Gaps()[0].Cause)
				require.Equal(t, []string{"lost"}, e.Gaps()[0].Stream.IDs)
			})
		})
	}
}

// Match updates are whole states: an older one must not come after a newer one.
func TestAnnounced_olderState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var got recorder
		o := inGroup()
		var e events
		e.attach(&o)
		o.Logger = logcheck.New(t)
		s, err := subscriber.New(connect(t, b.options()), o)
		require.NoError(t, err)
		s.Handle(message.TypeMatchUpdates, got.handle)
		r := start(t, s)
		time.Sleep(time.Second)
		w, err := durable.NewWriter(client, durable.WriterOptions{})
		require.NoError(t, err)
		update := func(id string, n uint64) []byte {
			return bytes.Replace(encode(t, message.Header{ID: id, Source: "test", Seq: message.Seq{Epoch: "e", N: n}}, message.MatchUpdates{}),
				[]byte(`{`), []byte(`{"stream":true,`), 1)
		}
		add := func(id string, n uint64) {
			_, err := w.Append(t.Context(), message.ChannelMatchUpdates, message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: update(id, n)}, "")
			require.NoError(t, err)
		}
		add("1", 1)
		b.Publish(message.ChannelMatchUpdates, string(update("older", 2)))
		add("3", 3)
		b.Publish(message.ChannelMatchUpdates, string(update("newer", 4)))
		time.Sleep(20 * time.Second)
		require.NoError(t, r.stop())
		require.Equal(t, []string{"1", "3", "newer"}, got.IDs())
		var missing []string // both in one gap or not
		for _, gap := range e.Gaps() {
			missing = append(missing, gap.Stream.IDs...)
		}
		require.Equal(t, []string{"older", "newer"}, missing)
		require.EqualValues(t, 3, r.Stats().LeftToStream)
	})
}

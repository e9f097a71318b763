package durable_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// A stream that holds few entries, and a reader that is slower than its writer:
// every message that the reader did not get is told of, and no other.
func TestLease_Read_boundedStreamAndSlowReader_allThatIsMissingIsTold(t *testing.T) {
	t.Parallel()
	const sent = 4000
	for name, disturb := range map[string]func(t *testing.T, conn *redis.Client, round int){
		"alone": func(*testing.T, *redis.Client, int) {},
		"others trim": func(t *testing.T, conn *redis.Client, round int) {
			if round%7 == 0 {
				require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), int64(round%30)).Err())
			}
		},
		"others delete the newest": func(t *testing.T, conn *redis.Client, round int) {
			if round%7 > 0 {
				return
			}
			newest, err := conn.XRevRangeN(t.Context(), durable.StreamKey(channel), "+", "-", 1).Result()
			require.NoError(t, err)
			if len(newest) > 0 {
				require.NoError(t, conn.XDel(t.Context(), durable.StreamKey(channel), newest[0].ID).Err())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, realredis.Start(t).Addr())
			w := newWriter(t, conn, durable.WriterOptions{MaxLen: 100})
			var missing gaps
			l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
			require.Empty(t, readFor(t, l, 50*time.Millisecond)) // the group begins before the first
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var published, got atomic.Int64
			go func() {
				for n := range sent {
					_, _ = w.Append(ctx, channel, outgoing(n), "")
					published.Add(1)
				}
				cancel()
			}()
			handle := func(batch []durable.Entry) {
				for range batch {
					time.Sleep(300 * time.Microsecond)
				}
				got.Add(int64(len(batch)))
				require.NoError(t, l.Ack(t.Context(), batch...))
			}
			for round := 0; ctx.Err() == nil; round++ {
				batch, err := l.Read(ctx)
				if err != nil {
					require.ErrorIs(t, err, context.Canceled)
				}
				handle(batch)
				disturb(t, conn, round)
			}
			require.EqualValues(t, sent, published.Load())
			for { // what is left, up to the end, and behind it once more
				publish(t, w, sent, sent)
				batch, err := l.Read(t.Context())
				require.NoError(t, err)
				handle(batch)
				if len(batch) > 0 && batch[len(batch)-1].ID == outgoing(sent).ID {
					break
				}
				published.Add(1)
			}
			published.Add(1)
			require.Empty(t, readFor(t, l, 3*time.Second))
			told := int64(0)
			for _, g := range missing.all() {
				// What came to a read that the end of ctx cut short was pending.
				require.Contains(t, []durable.Cause{durable.CauseTrimmed, durable.CausePendingTrimmed}, g.Cause)
				require.Positive(t, g.Missing, g.String())
				told += g.Missing
			}
			require.Equal(t, published.Load(), got.Load()+told, "%d gaps", len(missing.all()))
			require.Positive(t, told, "nothing was ever trimmed unread")
			t.Logf("%d published, %d read, %d told in %d gaps", published.Load(), got.Load(), told, len(missing.all()))
		})
	}
}

// What Redis has given up counting is counted here.
func TestLease_Read_trimmedUnread_whereRedisDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, confuse := range map[string]func(t *testing.T, conn *redis.Client, read []durable.Entry){
		"an entry was deleted": func(t *testing.T, conn *redis.Client, read []durable.Entry) {
			require.NoError(t, conn.XDel(t.Context(), durable.StreamKey(channel), read[1].StreamID).Err())
		},
		"the group was recreated": func(t *testing.T, conn *redis.Client, _ []durable.Entry) {
			require.NoError(t, conn.XGroupDestroy(t.Context(), durable.StreamKey(channel), group).Err())
		},
	} {
		for _, whose := range []string{"the same lease", "the next lease"} {
			t.Run(name+", "+whose, func(t *testing.T) {
				t.Parallel()
				conn := connect(t, realredis.Start(t).Addr())
				w := newWriter(t, conn, durable.WriterOptions{})
				publish(t, w, 1, 20)
				var missing gaps
				r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
				l := acquire(t, r)
				first := read(t, l, 20)
				require.NoError(t, l.Ack(t.Context(), first...))
				confuse(t, conn, first)
				publish(t, w, 21, 25)
				if whose == "the next lease" {
					require.NoError(t, l.Release(t.Context()))
					l = acquire(t, r)
				}
				require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))

				publish(t, w, 26, 400)
				require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 150).Err())
				require.Equal(t, numbered(251, 400), ids(read(t, l, 150)))
				list := missing.all()
				if name == "the group was recreated" {
					require.Equal(t, durable.CauseVanished, list[0].Cause)
					list = list[1:]
				}
				require.Len(t, list, 1)
				require.Equal(t, durable.CauseTrimmed, list[0].Cause)
				require.Equal(t, "225", strconv.FormatInt(list[0].Missing, 10))
			})
		}
	}
}

// A stream that somebody deletes, and that a publisher has begun again by the time
// the holder looks, is one gap.
func TestLease_Read_streamBegunAgain_isOneGap(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 20)
	var missing gaps
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	require.NoError(t, l.Ack(t.Context(), read(t, l, 20)...))
	_, err := conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Del(t.Context(), durable.StreamKey(channel))
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: durable.StreamKey(channel), Values: []string{"id", "b"}})
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, ids(read(t, l, 1)))
	publish(t, w, 21, 200)
	require.Equal(t, numbered(21, 200), ids(read(t, l, 180)))
	require.Len(t, missing.all(), 1)
	require.Equal(t, durable.CauseVanished, missing.all()[0].Cause)

	publish(t, w, 201, 300)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 40).Err())
	require.Equal(t, numbered(261, 300), ids(read(t, l, 40)))
	require.Len(t, missing.all(), 2)
	require.EqualValues(t, 60, missing.all()[1].Missing)
}

package durable_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func sumOf(list []durable.Gap) (n int64) {
	for _, g := range list {
		n += g.Missing
	}
	return n
}

// What was purged before a lease began is told once.
func TestLease_Read_purgedBeforeTheLease_isToldOnce(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	require.NoError(t, l.Release(t.Context()))
	publish(t, w, 11, 15)
	time.Sleep(3 * time.Millisecond)
	_, err := durable.Purge(t.Context(), conn, channel, durable.PurgeOptions{Before: time.Now(), Force: true})
	require.NoError(t, err)
	publish(t, w, 16, 20)
	l = acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 0).Err())
	publish(t, w, 21, 22)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	readFor(t, l, 100*time.Millisecond)
	require.EqualValues(t, 5, sumOf(missing.all()), "5 purged, nothing else missing")
	require.Len(t, missing.all(), 1)
}

// A read whose answer is lost brings entries behind what was trimmed: the holder then
// gets them from the pending ones. late: the read is of a holder before.
func lostRead(t *testing.T, late bool) {
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	if late {
		require.NoError(t, l.Release(t.Context()))
	}
	publish(t, w, 11, 30)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 5).Err())
	// the read whose answer is lost
	_, err := conn.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "main", Streams: []string{durable.StreamKey(channel), ">"}, Count: 100}).Result()
	require.NoError(t, err)
	if late {
		l = acquire(t, r)
	}
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	readFor(t, l, 100*time.Millisecond)
	require.NoError(t, l.Release(t.Context()))
	l = acquire(t, r)
	readFor(t, l, 100*time.Millisecond)
	publish(t, w, 31, 40)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 0).Err())
	publish(t, w, 41, 41)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
	require.EqualValues(t, 15, sumOf(missing.all()), "11..25 were never read")
}
func TestLease_Read_trimmedBeforeALostRead(t *testing.T) { t.Parallel(); lostRead(t, false) }
func TestLease_Read_trimmedBeforeALostReadOfAnEarlierHolder(t *testing.T) {
	t.Parallel()
	lostRead(t, true)
}

// What was deleted unread in the middle shows when what is before it is gone, to the next holder too.
func TestLease_Read_deletedUnread_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	publish(t, w, 11, 30)
	list, err := conn.XRange(t.Context(), durable.StreamKey(channel), "-", "+").Result()
	require.NoError(t, err)
	for _, m := range list[14:19] {
		require.NoError(t, conn.XDel(t.Context(), durable.StreamKey(channel), m.ID).Err())
	}
	require.NoError(t, l.Ack(t.Context(), read(t, l, 15)...))
	require.NoError(t, l.Release(t.Context()))
	l = acquire(t, r)
	readFor(t, l, 100*time.Millisecond)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 0).Err())
	publish(t, w, 41, 41)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
	require.EqualValues(t, 5, sumOf(missing.all()), "15..19 were never read")
}

// Entries that were requeued for another group are passed over, and trimming them is no gap.
func TestLease_Read_entriesOfAnotherGroup_areNoGap(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	other, err := durable.NewReader(conn, channel, "other", durable.ReaderOptions{})
	require.NoError(t, err)
	lo := acquire(t, other)
	es := read(t, lo, 10)
	for _, e := range es[:3] {
		require.NoError(t, lo.Bury(t.Context(), e, durable.Failure{Err: errors.New("x")}))
	}
	require.NoError(t, lo.Ack(t.Context(), es[3:]...))
	var missing gaps
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	dl, err := durable.NewDeadLetters(conn, channel)
	require.NoError(t, err)
	requeueAll(t, dl)
	require.Empty(t, readFor(t, l, 200*time.Millisecond))
	// what every group has read is trimmed, down to the requeued ones
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 2).Err())
	require.Empty(t, readFor(t, l, 200*time.Millisecond))
	publish(t, w, 11, 15)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 0).Err())
	publish(t, w, 16, 17)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.Empty(t, missing.all(), "nothing was missed")
}

// A failover that loses the newest entries: the count begins anew.
func TestLease_Read_streamSetBack_isCountedAnew(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	readFor(t, l, 50*time.Millisecond)
	key := durable.StreamKey(channel)
	state, err := conn.Dump(t.Context(), key).Result()
	require.NoError(t, err)
	publish(t, w, 11, 15)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	_, err = conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.RestoreReplace(t.Context(), key, 0, state)
		for n := 16; n <= 17; n++ {
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"id", outgoing(n).ID}})
		}
		return nil
	})
	require.NoError(t, err)
	killClients(t, conn)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	before := len(missing.all())
	publish(t, w, 18, 29)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), key, 7).Err()) // 18..22 are lost unread
	require.NoError(t, l.Ack(t.Context(), read(t, l, 7)...))
	readFor(t, l, 100*time.Millisecond)
	require.NotEmpty(t, missing.all(), "18..22 are in no gap")
	require.EqualValues(t, 5, sumOf(missing.all()[before:]))
}

func requeueAll(t *testing.T, dl *durable.DeadLetters) {
	var list []string
	for letter, err := range dl.List(t.Context(), durable.Filter{}) {
		require.NoError(t, err)
		list = append(list, letter.LetterID)
	}
	require.Len(t, list, 3)
	for _, id := range list {
		_, err := dl.Requeue(t.Context(), id, true)
		require.NoError(t, err)
	}
}

// The same, and nothing unread is trimmed.
func TestLease_Read_streamSetBack_isNoGapOfWhatWasRead(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	readFor(t, l, 50*time.Millisecond)
	key := durable.StreamKey(channel)
	state, err := conn.Dump(t.Context(), key).Result()
	require.NoError(t, err)
	publish(t, w, 11, 15)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	_, err = conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.RestoreReplace(t.Context(), key, 0, state)
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"id", outgoing(16).ID}})
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"id", outgoing(17).ID}})
		return nil
	})
	require.NoError(t, err)
	killClients(t, conn)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), key, 0).Err())
	publish(t, w, 18, 19)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.Empty(t, missing.all(), "all was handled")
}

// A blocked read that is woken by a transaction which appends and trims.
func TestLease_Read_trimmedWithTheAppend_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	key := durable.StreamKey(channel)
	go func() {
		time.Sleep(200 * time.Millisecond)
		_, _ = conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			for n := 11; n <= 30; n++ {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"id", outgoing(n).ID}})
			}
			p.XTrimMaxLen(t.Context(), key, 5)
			return nil
		})
	}()
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	readFor(t, l, 2500*time.Millisecond)
	require.NoError(t, l.Release(t.Context()))
	l = acquire(t, r)
	readFor(t, l, 100*time.Millisecond)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), key, 0).Err())
	publish(t, w, 31, 32)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.EqualValues(t, 15, sumOf(missing.all()))
}

// A purge under a living holder, and what is trimmed after it.
func TestLease_Read_purgedUnderTheLease_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	appendOne(t, w, holding(11, 6200001))
	appendOne(t, w, holding(12, 6200002))
	appendOne(t, w, holding(13, 6200001))
	appendOne(t, w, holding(14, 6200002))
	_, err := durable.Purge(t.Context(), conn, channel, durable.PurgeOptions{Match: "6200001", Force: true})
	require.NoError(t, err)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.NoError(t, l.Release(t.Context()))
	l = acquire(t, r)
	readFor(t, l, 100*time.Millisecond)
	publish(t, w, 15, 24)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 5).Err())
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	require.EqualValues(t, 7, sumOf(missing.all()), "2 purged, 5 trimmed")
}

// Somebody makes the group anew at the end of the stream, under a living holder.
func groupMadeAtTheEnd(t *testing.T, next bool) {
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 10)...))
	key := durable.StreamKey(channel)
	publish(t, w, 11, 30)
	require.NoError(t, conn.XGroupDestroy(t.Context(), key, group).Err())
	require.NoError(t, conn.XGroupCreate(t.Context(), key, group, "$").Err())
	publish(t, w, 31, 35)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 5)...))
	readFor(t, l, 2500*time.Millisecond)
	if next {
		require.NoError(t, l.Release(t.Context()))
		l = acquire(t, r)
		readFor(t, l, 100*time.Millisecond)
	}
	require.NoError(t, conn.XTrimMaxLen(t.Context(), key, 0).Err())
	publish(t, w, 36, 37)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
	require.EqualValues(t, 20, sumOf(missing.all()))
}
func TestLease_Read_groupMadeAtTheEnd_isTold(t *testing.T) { t.Parallel(); groupMadeAtTheEnd(t, false) }
func TestLease_Read_groupMadeAtTheEnd_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	groupMadeAtTheEnd(t, true)
}

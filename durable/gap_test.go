package durable_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// readFor reads for as long as ctx lasts, and returns what came.
func readFor(tb testing.TB, l *durable.Lease, d time.Duration) []durable.Entry {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	defer cancel()
	var entries []durable.Entry
	for {
		batch, err := l.Read(ctx)
		entries = append(entries, batch...)
		if err != nil {
			require.ErrorIs(tb, err, context.DeadlineExceeded)
			return entries
		}
	}
}

// readUntil reads, and gets nothing, until something is seen that a read finds out.
func readUntil(tb testing.TB, l *durable.Lease, seen func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(long); !seen(); {
		require.True(tb, time.Now().Before(deadline), "the reads found out nothing")
		require.Empty(tb, readFor(tb, l, 50*time.Millisecond))
	}
}

func TestLease_Read_flushAll(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 5)
		var missing gaps
		r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
		l := acquire(t, r)
		entries := read(t, l, 5)
		require.NoError(t, l.Ack(t.Context(), entries...))

		require.NoError(t, conn.FlushAll(t.Context()).Err())
		publish(t, w, 6, 8)
		_, err := l.Read(t.Context())
		require.ErrorIs(t, err, durable.ErrLeaseLost)
		require.NoError(t, l.Release(t.Context()))

		l = acquire(t, r)
		require.Equal(t, numbered(6, 8), ids(read(t, l, 3)))
		list := missing.all()
		require.Len(t, list, 1)
		require.Equal(t, durable.CauseVanished, list[0].Cause)
		require.EqualValues(t, -1, list[0].Missing)
		require.Equal(t, entries[4].StreamID, list[0].After)
	})
}

// Another instance than the holder finds the group gone. It has seen it.
func TestReader_Acquire_knowsTheGroupOfAnotherHolder(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 5)
		first := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, first, 5)
		require.NoError(t, first.Ack(t.Context(), entries[:4]...))

		var missing gaps
		second := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // enough for one look at the least
		defer cancel()
		_, err := second.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		require.NoError(t, first.Release(t.Context()))
		require.NoError(t, conn.FlushAll(t.Context()).Err())
		publish(t, w, 6, 8)
		l := acquire(t, second)
		require.Equal(t, numbered(6, 8), ids(read(t, l, 3)))
		list := missing.all()
		require.Len(t, list, 1)
		require.Equal(t, durable.CauseVanished, list[0].Cause)
		require.Equal(t, entries[3].StreamID, list[0].After)
	})
}

// The stream may come back with IDs below those that were acknowledged.
func TestLease_Read_streamBeginsAgainBelow(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	add := func(id, message string) {
		require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{
			Stream: durable.StreamKey(channel), ID: id, Values: []string{"id", message},
		}).Err())
	}
	add("2000-0", "a")
	var missing gaps
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
	require.NoError(t, conn.Del(t.Context(), durable.StreamKey(channel)).Err())
	add("1000-0", "b")
	require.Equal(t, []string{"b"}, ids(read(t, l, 1)))
	require.Len(t, missing.all(), 1)
}

// The stream goes while a read waits for it.
func TestLease_Read_streamDeletedWhileBlocked(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 2)
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
		require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
		vanish := time.AfterFunc(100*time.Millisecond, func() {
			conn.Del(context.Background(), durable.StreamKey(channel))
			time.AfterFunc(200*time.Millisecond, func() { _, _ = w.Append(context.Background(), channel, outgoing(3), "") })
		})
		defer vanish.Stop()
		require.Equal(t, numbered(3, 3), ids(read(t, l, 1)))
		require.Len(t, missing.all(), 1)
		require.NoError(t, l.Context().Err())
	})
}

// Only the group went: what was not acknowledged is read again, and within
// this lease not given to the caller a second time.
func TestLease_Read_groupDestroyed(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 6)
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
		entries := read(t, l, 6)
		require.NoError(t, l.Ack(t.Context(), entries[:3]...))
		require.NoError(t, conn.XGroupDestroy(t.Context(), durable.StreamKey(channel), group).Err())
		publish(t, w, 7, 7)
		require.Equal(t, numbered(7, 7), ids(read(t, l, 1)))
		require.Len(t, pending(t, conn), 4)
		require.NoError(t, l.Ack(t.Context(), entries[3:]...))
		require.Len(t, pending(t, conn), 1)
		require.Len(t, missing.all(), 1)
	})
}

// Another process remembers nothing, but the hash of tries tells how far the
// group had come.
func TestLease_Read_streamEvicted(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 3)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, l, 3)
		require.NoError(t, l.Ack(t.Context(), entries...))
		require.NoError(t, l.Release(t.Context()))
		require.NoError(t, conn.Del(t.Context(), durable.StreamKey(channel)).Err())
		publish(t, w, 4, 4)

		var missing gaps
		l = acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
		require.Equal(t, numbered(4, 4), ids(read(t, l, 1)))
		require.Len(t, missing.all(), 1)
		require.Equal(t, entries[2].StreamID, missing.all()[0].After)
	})
}

func TestLease_Read_trimmedUnread(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 10)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	entries := read(t, l, 2) // the first batch
	require.NoError(t, l.Ack(t.Context(), entries...))
	require.NoError(t, l.Release(t.Context()))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 3).Err())

	for range 2 { // told once
		l = acquire(t, r)
		require.Equal(t, numbered(8, 10), ids(read(t, l, 3)))
		require.NoError(t, l.Release(t.Context()))
		list := missing.all()
		require.Len(t, list, 1)
		require.Equal(t, durable.CauseTrimmed, list[0].Cause)
		require.EqualValues(t, 5, list[0].Missing)
		require.Equal(t, entries[1].StreamID, list[0].After)
		require.Contains(t, list[0].String(), "trimmed unread, 5 messages")
	}
	l = acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 3)...))
	publish(t, w, 11, 13)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 0).Err())
	require.NoError(t, l.Release(t.Context()))
	l = acquire(t, r)
	readUntil(t, l, func() bool { return len(missing.all()) > 1 })
	list := missing.all()
	require.Len(t, list, 2, "%v", list)
	require.EqualValues(t, 3, list[1].Missing)
}

// Trimming what was read is no gap.
func TestLease_Read_trimmedAfterReading(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	for n := 1; n < 500; n += 50 {
		publish(t, w, n, n+49)
		l := acquire(t, r)
		entries := read(t, l, 50)
		require.NoError(t, l.Ack(t.Context(), entries...))
		require.NoError(t, l.Release(t.Context()))
		require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 5).Err())
	}
	require.Empty(t, missing.all())
}

func TestLease_Read_trimmedWhilePending(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 6)
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	entries := read(t, l, 6)
	require.NoError(t, l.Release(t.Context()))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 2).Err())
	var missing gaps
	l = acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	require.Equal(t, numbered(5, 6), ids(read(t, l, 2)))
	var gone []string
	for _, gap := range missing.all() {
		require.Equal(t, durable.CausePendingTrimmed, gap.Cause)
		gone = append(gone, gap.IDs...)
	}
	require.Equal(t, []string{entries[0].StreamID, entries[1].StreamID, entries[2].StreamID, entries[3].StreamID}, gone)
	require.Len(t, pending(t, conn), 2)
}

// What vanishes together with the last process that knew it leaves a successor
// that cannot tell a lost group from one that never was: it tells of both.
func TestReader_NewGap_atItsFirstStartAndAfterAFlush(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 3)
		start := func(opts durable.ReaderOptions) (*durable.Lease, *gaps) {
			var missing gaps
			opts.OnGap = missing.add
			return acquire(t, newReader(t, conn, opts)), &missing
		}
		l, missing := start(durable.ReaderOptions{})
		entries := read(t, l, 3)
		require.Equal(t, []durable.Gap{{
			Channel: channel, Group: group, Cause: durable.CauseNewGroup, Missing: -1, Before: entries[0].StreamID,
		}}, missing.newGroups())
		require.NoError(t, l.Ack(t.Context(), entries...))
		require.NoError(t, l.Release(t.Context()))

		l, missing = start(durable.ReaderOptions{}) // the group is there
		require.Empty(t, readFor(t, l, 50*time.Millisecond))
		require.Empty(t, missing.newGroups())
		require.NoError(t, l.Release(t.Context()))

		publish(t, w, 4, 6)
		require.NoError(t, conn.FlushAll(t.Context()).Err())
		publish(t, w, 7, 8)
		l, missing = start(durable.ReaderOptions{})
		entries = read(t, l, 2)
		require.Equal(t, numbered(7, 8), ids(entries))
		require.Len(t, missing.newGroups(), 1)
		require.Equal(t, entries[0].StreamID, missing.newGroups()[0].Before)
		require.Empty(t, missing.all())
		require.NoError(t, l.Ack(t.Context(), entries...))
		require.NoError(t, l.Release(t.Context()))

		require.NoError(t, conn.FlushAll(t.Context()).Err())
		publish(t, w, 9, 9)
		l, missing = start(durable.ReaderOptions{Latest: true})
		readUntil(t, l, func() bool { return len(missing.newGroups()) > 0 })
		require.Len(t, missing.newGroups(), 1)
		require.NotEmpty(t, missing.newGroups()[0].Before)
		require.NoError(t, l.Release(t.Context()))
	})
}

// A group that Redis will not make for a while is one gap.
func TestReader_NewGap_once(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	conn := connect(t, server.Addr())
	require.NoError(t, conn.Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">"+"x", "~*", "&*", "+@all", "-xgroup").Err())
	options := server.Options()
	options.Username, options.Password = "reader", "x"
	options.MaxRetries, options.ContextTimeoutEnabled = -1, true
	own := redis.NewClient(options)
	defer own.Close()
	var missing gaps
	l := acquire(t, newReader(t, own, durable.ReaderOptions{OnGap: missing.add}))
	for range 3 {
		_, err := l.Read(t.Context())
		require.ErrorContains(t, err, "xgroup")
	}
	require.Len(t, missing.newGroups(), 1)
	require.NoError(t, conn.Do(t.Context(), "ACL", "SETUSER", "reader", "+xgroup").Err())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 1)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
	require.Len(t, missing.newGroups(), 1)
}

func TestReader_Latest(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 3)
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{Latest: true, OnGap: missing.add}))
		// The group is there when its gap was told and a read has ended.
		readUntil(t, l, func() bool { return len(missing.newGroups()) > 0 })
		require.NoError(t, l.Release(t.Context()))
		publish(t, w, 4, 5)
		l = acquire(t, newReader(t, conn, durable.ReaderOptions{Latest: true}))
		require.Equal(t, numbered(4, 5), ids(read(t, l, 2)), "the group is no longer new")
	})
}

// A handler keeps the reader from reading, the session lives on, and the stream
// is trimmed meanwhile.
func TestLease_Read_trimmedUnreadWithinASession(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 3)
	var missing gaps
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
	first := read(t, l, 3)
	require.NoError(t, l.Ack(t.Context(), first...))

	publish(t, w, 4, 400)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 150).Err())
	require.Equal(t, numbered(251, 400), ids(read(t, l, 150)))
	list := missing.all()
	require.Len(t, list, 1)
	require.Equal(t, durable.CauseTrimmed, list[0].Cause)
	require.EqualValues(t, 247, list[0].Missing)
	require.Equal(t, first[2].StreamID, list[0].After)

	// What was read before it was trimmed is not missing.
	publish(t, w, 401, 700)
	require.Equal(t, numbered(401, 700), ids(read(t, l, 300)))
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 10).Err())
	publish(t, w, 701, 1000)
	require.Equal(t, numbered(701, 1000), ids(read(t, l, 300)))
	require.Len(t, missing.all(), 1)
}

// Redis forgets how much a group had read when it loads its file.
func TestLease_Read_countsAgainAfterTheServerWasRestarted(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	conn := connect(t, server.Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 300)
	var missing gaps
	r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
	l := acquire(t, r)
	require.NoError(t, l.Ack(t.Context(), read(t, l, 300)...))
	server.Restart()
	require.Empty(t, readFor(t, l, 5*time.Second)) // it connects again
	publish(t, w, 301, 700)
	require.NoError(t, conn.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 300).Err())
	require.Equal(t, numbered(401, 700), ids(read(t, l, 300)))
	list := missing.all()
	require.Len(t, list, 1)
	require.EqualValues(t, 100, list[0].Missing)
}

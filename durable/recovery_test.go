package durable_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// killClients ends the connections of all other clients at the server.
func killClients(tb testing.TB, conn *redis.Client) {
	tb.Helper()
	require.NoError(tb, conn.Do(tb.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
}

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

func TestLease_Read_killedConnections(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	conn, killer := connect(t, server.Addr()), connect(t, server.Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 100)
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	entries := read(t, l, 100)
	for n := range 10 {
		killClients(t, killer)
		// Of the connections of the pool nobody sees that they are dead.
		require.Eventually(t, func() bool { return conn.Ping(t.Context()).Err() == nil }, long, time.Millisecond)
		publish(t, w, 101+n, 101+n)
		entries = append(entries, read(t, l, 1)...)
	}
	require.Equal(t, numbered(1, 110), ids(entries), "each once, in order")
	for _, e := range entries {
		require.False(t, e.Redelivered)
	}
	require.NoError(t, l.Ack(t.Context(), entries...))
	require.Empty(t, pending(t, conn))
	require.Empty(t, letters(t, conn, durable.Filter{}))
	require.NoError(t, l.Context().Err())
}

// The reply is lost, so that the server counts the entries as delivered.
func TestLease_Read_lostReply(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	conn := connect(t, server.Addr())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 20)
	l := acquire(t, newReader(t, connect(t, proxy.Addr()), durable.ReaderOptions{}))
	entries := read(t, l, 2)
	for range 3 {
		lost := proxy.SwallowNextAnswer("xreadgroup")
		batch, err := l.Read(t.Context())
		require.NoError(t, err)
		<-lost
		entries = append(entries, batch...)
	}
	if rest := 20 - len(entries); rest > 0 {
		entries = append(entries, read(t, l, rest)...)
	}
	require.Equal(t, numbered(1, 20), ids(entries))
	for _, e := range entries {
		require.False(t, e.Redelivered, "no handler has seen it")
	}
}

func TestLease_Ack_lostAnswer(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	conn := connect(t, server.Addr())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 3)
	l := acquire(t, newReader(t, connect(t, proxy.Addr()), durable.ReaderOptions{}))
	entries := read(t, l, 3)

	lost := proxy.SwallowNextAnswer("evalsha")
	tries, err := l.Try(t.Context(), entries[0])
	<-lost
	require.NoError(t, err)
	require.Equal(t, 1, tries, "counted once")

	lost = proxy.SwallowNextAnswer("evalsha")
	require.NoError(t, l.Ack(t.Context(), entries[0]))
	<-lost
	lost = proxy.SwallowNextAnswer("evalsha")
	require.NoError(t, l.Bury(t.Context(), entries[1], durable.Failure{}))
	<-lost
	require.Equal(t, []string{entries[2].StreamID}, pending(t, conn))
	require.Equal(t, numbered(2, 2), messageIDs(letters(t, conn, durable.Filter{})), "buried once")
}

// A dead holder's read may reach the server late and take entries that nobody
// waits for.
func TestLease_Read_entriesTakenByALateRead(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 4)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, l, 4)
		require.NoError(t, l.Ack(t.Context(), entries[:2]...))

		publish(t, w, 5, 6)
		late, err := conn.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "main", Streams: []string{durable.StreamKey(channel), ">"}, Count: 2, Block: -1,
		}).Result()
		require.NoError(t, err)
		require.Len(t, late[0].Messages, 2)
		publish(t, w, 7, 7)
		require.Equal(t, numbered(5, 7), ids(read(t, l, 3)), "in order all the same")
	})
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
		vanish := time.AfterFunc(100*time.Millisecond, func() { conn.Del(context.Background(), durable.StreamKey(channel)) })
		defer vanish.Stop()
		append3 := time.AfterFunc(300*time.Millisecond, func() { _, _ = w.Append(context.Background(), channel, outgoing(3), "") })
		defer append3.Stop()
		require.Equal(t, numbered(3, 3), ids(read(t, l, 1)))
		require.Len(t, missing.all(), 1)
		require.NoError(t, l.Context().Err())
	})
}

// What another consumer of the group holds is not ours, and no reason to look
// again and again.
func TestLease_Read_otherConsumer(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 2)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.NoError(t, l.Ack(t.Context(), read(t, l, 2)...))
		publish(t, w, 3, 3)
		require.NoError(t, conn.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "by hand", Streams: []string{durable.StreamKey(channel), ">"}, Block: -1,
		}).Err())
		publish(t, w, 4, 4)
		require.Equal(t, numbered(4, 4), ids(read(t, l, 1)))
		began := time.Now()
		empty, err := l.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, empty)
		require.Greater(t, time.Since(began), time.Second)
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
	readFor(t, l, 100*time.Millisecond)
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

// A full server can be read, by a new holder too.
func TestLease_serverFull(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t, "--maxmemory-policy", "noeviction").Addr())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 3)
	first := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	read(t, first, 3)
	require.NoError(t, first.Release(t.Context()))

	require.NoError(t, conn.ConfigSet(t.Context(), "maxmemory", "1").Err())
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	entries := read(t, l, 3)
	tries, err := l.Try(t.Context(), entries[0])
	require.NoError(t, err)
	require.Equal(t, 1, tries)
	require.NoError(t, l.Ack(t.Context(), entries[:2]...))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Bury(ctx, entries[2], durable.Failure{}), context.DeadlineExceeded, "there is no room for it")
	require.Equal(t, []string{entries[2].StreamID}, pending(t, conn))
	require.NoError(t, conn.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.NoError(t, l.Bury(t.Context(), entries[2], durable.Failure{}))
}

func TestReader_refusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ rules, want string }{
		"lease":   {"~* &* +@all -set", "+set"},
		"scripts": {"~* &* +@all -evalsha", "+evalsha"},
		"keys":    {"~other &* +@all", "~{" + channel + "}:*"},
		"read":    {"~* &* +@all -xreadgroup", "+xreadgroup"},
		"group":   {"~* &* +@all -xgroup", "+xgroup"},
		"ack":     {"~* &* +@all -xack", "+xack"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			publish(t, newWriter(t, connect(t, server.Addr()), durable.WriterOptions{}), 1, 1)
			err := func() error {
				l, err := newReader(t, restricted(t, server, test.rules), durable.ReaderOptions{}).Acquire(t.Context())
				if err != nil {
					return err
				}
				defer l.Release(context.Background())
				entries, err := l.Read(t.Context())
				if err != nil {
					return err
				}
				return l.Ack(t.Context(), entries...)
			}()
			failure := new(durable.Error)
			require.ErrorAs(t, err, &failure)
			require.True(t, failure.Refused, "%v", err)
			require.ErrorContains(t, err, "NOPERM")
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestReader_wholeRights(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	probe := restricted(t, server, "~none")
	_, err := newReader(t, probe, durable.ReaderOptions{}).Acquire(t.Context())
	_, reading, _ := strings.Cut(err.Error(), "commands ")
	_, err = newWriter(t, probe, durable.WriterOptions{}).Append(t.Context(), channel, outgoing(1), "")
	_, writing, _ := strings.Cut(err.Error(), "commands ")
	rules := "~{" + channel + "}:* resetchannels &" + channel + " +hello " +
		strings.TrimSuffix(reading, ")") + " " + strings.TrimSuffix(writing, ")")

	// What the errors ask for is enough.
	conn := restricted(t, server, rules)
	w := newWriter(t, conn, durable.WriterOptions{MaxLen: 50, OnTrim: func(_ string, _ int64, err error) { require.NoError(t, err) }})
	publish(t, w, 1, 100)
	_, err = w.Append(t.Context(), channel, outgoing(101), "0-0")
	require.NoError(t, err)
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{MaxDead: 1}))
	entries := read(t, l, 51)
	_, err = l.Try(t.Context(), entries[0])
	require.NoError(t, err)
	require.NoError(t, l.Untry(t.Context(), entries[0]))
	require.NoError(t, l.Ack(t.Context(), entries[0]))
	require.NoError(t, l.Bury(t.Context(), entries[1], durable.Failure{}))
	require.NoError(t, l.Bury(t.Context(), entries[2], durable.Failure{}))
	require.NoError(t, l.Release(t.Context()))
}

func TestReader_scriptFlush(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 3)
	flush := func() { require.NoError(t, conn.ScriptFlush(t.Context()).Err()) }
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	flush()
	entries := read(t, l, 3)
	flush()
	_, err := l.Try(t.Context(), entries[0])
	require.NoError(t, err)
	flush()
	require.NoError(t, l.Ack(t.Context(), entries[0]))
	flush()
	require.NoError(t, l.Bury(t.Context(), entries[1], durable.Failure{}))
	flush()
	require.NoError(t, l.Release(t.Context()))
	require.Len(t, pending(t, conn), 1)
}

func TestLease_Read_batchesBoundedInBytes(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	for n := range 40 {
		m := outgoing(n)
		m.Body = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
		_, err := w.Append(t.Context(), channel, m, "")
		require.NoError(t, err)
	}
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	for left := 40; left > 0; {
		batch, err := l.Read(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, batch)
		size := 0
		for _, e := range batch {
			size += len(e.Body)
		}
		require.LessOrEqual(t, size, 16<<20)
		left -= len(batch)
		require.NoError(t, l.Ack(t.Context(), batch...))
	}
	publish(t, w, 1, 300)
	most := 0
	for left := 300; left > 0; {
		batch, err := l.Read(t.Context())
		require.NoError(t, err)
		most = max(most, len(batch))
		left -= len(batch)
	}
	require.Equal(t, 100, most)
}

func TestReader_Latest(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 3)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{Latest: true}))
		require.Empty(t, readFor(t, l, 50*time.Millisecond))
		require.NoError(t, l.Release(t.Context()))
		publish(t, w, 4, 5)
		l = acquire(t, newReader(t, conn, durable.ReaderOptions{Latest: true}))
		require.Equal(t, numbered(4, 5), ids(read(t, l, 2)), "the group is no longer new")
	})
}

// The server is killed again and again while a publisher publishes and a
// holder reads; with appendfsync always nothing may be lost, doubled or out of
// order.
func TestDurable_killedServer(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	conn := connect(t, server.Addr())
	w := newWriter(t, conn, durable.WriterOptions{MaxLen: -1})
	const messages, kills = 1500, 6

	published := make(chan error, 1)
	step := make(chan int, messages)
	go func() {
		published <- func() error {
			for n := 1; n <= messages; n++ {
				if err := persist(t.Context(), w, n); err != nil {
					return err
				}
				step <- n
			}
			return nil
		}()
	}()

	var got []string
	var missing gaps
	handled := make(chan error, 1)
	go func() {
		handled <- func() error {
			r, err := durable.NewReader(conn, channel, group, durable.ReaderOptions{OnGap: missing.add})
			if err != nil {
				return err
			}
			for len(got) < messages {
				l, err := r.Acquire(t.Context())
				if err != nil {
					return err
				}
				for len(got) < messages {
					batch, err := l.Read(t.Context())
					if err != nil {
						break
					}
					if err := l.Ack(l.Context(), batch...); err != nil {
						break
					}
					for _, e := range batch {
						got = append(got, e.ID)
					}
				}
				_ = l.Release(context.Background())
			}
			return nil
		}()
	}()

	for k := range kills {
		for n := range step {
			if n >= (k+1)*messages/(kills+1) {
				break
			}
		}
		server.Restart()
	}
	require.NoError(t, <-published)
	require.NoError(t, <-handled)
	require.Equal(t, numbered(1, messages), replayed(t, conn))
	require.Equal(t, numbered(1, messages), got)
	require.Empty(t, missing.all())
}

// persist appends until it is done, as a publisher does.
func persist(ctx context.Context, w *durable.Writer, n int) error {
	mark, after := "", ""
	for {
		var err error
		if mark == "" {
			mark, err = w.Mark(ctx, channel)
		}
		if err == nil {
			_, err = w.Append(ctx, channel, outgoing(n), after)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		after = mark // whatever the error says
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

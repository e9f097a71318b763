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

// A read of a connection that died takes an entry late, and others are settled
// meanwhile: it still comes in its turn.
func TestLease_Read_entryTakenByADeadRead(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	conn := connect(t, server.Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 4)
	l := acquire(t, newReader(t, connect(t, server.Addr()), durable.ReaderOptions{}))
	first := read(t, l, 4)
	waiting := func(n int) { // for entries, at the server
		require.Eventually(t, func() bool {
			list, err := conn.Do(t.Context(), "CLIENT", "LIST").Text()
			require.NoError(t, err)
			return strings.Count(list, "cmd=xreadgroup") == n
		}, long, time.Millisecond)
	}
	// The dead one has waited longer, so that it is served first.
	dead := make(chan error, 1)
	go func() {
		dead <- connect(t, server.Addr()).XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "main", Streams: []string{durable.StreamKey(channel), ">"}, Block: long,
		}).Err()
	}()
	waiting(1)
	got := make(chan []durable.Entry, 1)
	go func() { got <- read(t, l, 2) }()
	waiting(2)
	publish(t, w, 5, 5)
	require.NoError(t, <-dead)
	require.NoError(t, l.Ack(t.Context(), first[:2]...))
	publish(t, w, 6, 6)
	require.Equal(t, numbered(5, 6), ids(<-got))
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

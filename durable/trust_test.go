package durable_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// leaveInMulti puts a connection into the client's pool on which somebody has
// begun a transaction and gone away.
func leaveInMulti(t *testing.T, conn *redis.Client) {
	t.Helper()
	c := conn.Conn()
	require.NoError(t, c.Do(t.Context(), "multi").Err())
	require.NoError(t, c.Close())
	require.EqualValues(t, 1, conn.PoolStats().IdleConns)
}

// onePool has go-redis keep no connections of their own for pipelines.
func onePool(o *redis.Options) { o.PipelinePoolSize = -1 }

// QUEUED is what every command gets there, and no answer to any.
func TestWriter_Append_onAConnectionInsideMulti(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	for name, after := range map[string]string{"first attempt": "", "second attempt": "0-0"} {
		conn := connect(t, server.Addr(), onePool)
		w := newWriter(t, conn, durable.WriterOptions{})
		mark, err := w.Mark(t.Context(), channel)
		require.NoError(t, err, name)
		leaveInMulti(t, conn)
		if after != "" {
			after = mark
		}
		_, err = w.Append(t.Context(), channel, outgoing(1), after)
		require.True(t, failed(t, err).Unknown, name)
		again, err := w.Append(t.Context(), channel, outgoing(1), mark)
		require.NoError(t, err, name)
		require.NotEmpty(t, again.StreamID, name)
		require.Equal(t, numbered(1, 1), replayed(t, conn), "%s: once, though the first attempt came behind what was queued", name)
		require.NoError(t, conn.FlushAll(t.Context()).Err())
	}
}

func TestLease_scriptsOnAConnectionInsideMulti(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	conn := connect(t, server.Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 4)
	leaveInMulti(t, conn)
	var retries int
	r, err := durable.NewReader(conn, channel, group, durable.ReaderOptions{OnRetry: func(error) { retries++ }})
	require.NoError(t, err)
	lease, err := r.Acquire(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, lease.Release(context.Background())) }()
	require.Equal(t, 1, retries, "QUEUED is no lease")
	entries, err := lease.Read(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, entries)

	pending := func() int64 {
		n, err := connect(t, server.Addr()).XPending(t.Context(), durable.StreamKey(channel), group).Result()
		require.NoError(t, err)
		return n.Count
	}
	before := pending()
	leaveInMulti(t, conn)
	require.NoError(t, lease.Ack(t.Context(), entries[0]))
	require.Equal(t, before-1, pending(), "acknowledged, and not only queued")
	leaveInMulti(t, conn)
	tries, err := lease.Try(t.Context(), entries[0])
	require.NoError(t, err)
	require.Equal(t, 1, tries)
	leaveInMulti(t, conn)
	require.NoError(t, lease.Bury(t.Context(), entries[len(entries)-1], durable.Failure{}))
	leaveInMulti(t, conn)
	dead, err := durable.NewDeadLetters(conn, channel)
	require.NoError(t, err)
	var letter string
	for d, err := range dead.List(t.Context(), durable.Filter{}) {
		if err != nil { // the connection inside MULTI, which is gone now
			break
		}
		letter = d.LetterID
	}
	if letter == "" {
		for d, err := range dead.List(t.Context(), durable.Filter{}) {
			require.NoError(t, err)
			letter = d.LetterID
		}
	}
	leaveInMulti(t, conn)
	_, err = dead.Requeue(t.Context(), letter, true)
	require.Error(t, err, "QUEUED is no place in the stream")
	_, err = dead.Requeue(t.Context(), letter, true)
	require.NoError(t, err)
}

// Without them the append and the publish would be done one by one.
func TestWriter_withoutTransactions(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"MULTI", "EXEC"} {
		server := realredis.Start(t, "--rename-command", command, "")
		conn := connect(t, server.Addr())
		w := newWriter(t, conn, durable.WriterOptions{})
		_, err := w.Mark(t.Context(), channel)
		require.ErrorIs(t, err, durable.ErrUnsupported, command)
		require.True(t, failed(t, err).Refused, command)
		require.NoError(t, conn.Ping(t.Context()).Err())
		require.Empty(t, replayed(t, conn), command)
	}
	server := realredis.Start(t)
	admin := connect(t, server.Addr())
	for _, command := range []string{"multi", "exec"} {
		require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "service", "reset", "on", "nopass", "+@all", "-"+command, "~*", "&*").Err())
		conn := connect(t, server.Addr(), func(o *redis.Options) { o.Username, o.Password = "service", "any" })
		_, err := newWriter(t, conn, durable.WriterOptions{}).Mark(t.Context(), channel)
		require.ErrorContains(t, err, "NOPERM")
		require.ErrorContains(t, err, "+"+command)
		require.Empty(t, replayed(t, admin), command)
	}
}

// moved starts two servers behind one address: the first becomes a replica of the
// second, and the address leads to that, while old connections live on.
func moved(t *testing.T) (old, next *realredis.Server, proxy *faultnet.Proxy, move func()) {
	t.Helper()
	old, next = realredis.Start(t, "--repl-diskless-sync-delay", "0"), realredis.Start(t, "--repl-diskless-sync-delay", "0")
	proxy = faultnet.New(t, old.Addr())
	return old, next, proxy, func() {
		old.Follow(next)
		proxy.Retarget(next.Addr())
	}
}

// The refusal stands inside of the transaction, where go-redis does not see it.
func TestWriter_Append_addressMovesToAnotherMaster(t *testing.T) {
	t.Parallel()
	_, next, proxy, move := moved(t)
	conn := connect(t, proxy.Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 3)
	move()
	_, err := w.Append(t.Context(), channel, outgoing(4), "")
	require.True(t, redis.IsReadOnlyError(err), "%v", err)
	require.False(t, failed(t, err).Unknown)
	require.False(t, failed(t, err).Refused)
	start := time.Now()
	_, err = w.Append(t.Context(), channel, outgoing(4), "")
	require.NoError(t, err)
	require.Less(t, time.Since(start), long)
	require.Equal(t, []string{outgoing(4).ID}, replayed(t, connect(t, next.Addr())))
}

// failed returns err as the package's error.
func failed(t *testing.T, err error) *durable.Error {
	t.Helper()
	require.Error(t, err)
	e, ok := errors.AsType[*durable.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	return e
}

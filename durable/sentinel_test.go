package durable_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// startSentinel runs one Sentinel that watches the server under the name
// "main" and fails over by itself. It returns its address.
func startSentinel(t *testing.T, master *realredis.Server) string {
	t.Helper()
	program := realredis.Require(t, "redis-server") // which redis-sentinel is another name of
	addr := faultnet.Reserve(t)
	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(t, err)
	_, own, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `bind 127.0.0.1
port %s
sentinel monitor main %s %s 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 5000
`, own, host, port), 0o600))
	cmd := exec.CommandContext(t.Context(), program, file, "--sentinel")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // the context has killed it
	return addr
}

// The master dies in the middle of traffic. What it had replicated is there
// once, and both sides go on with the next master by themselves.
func TestDurable_sentinelFailover(t *testing.T) {
	t.Parallel()
	master := realredis.Start(t)
	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(t, err)
	replica := realredis.Start(t, "--replicaof", host+" "+port)
	sentinel := startSentinel(t, master)
	watch := redis.NewSentinelClient(&redis.Options{Addr: sentinel, DialerRetries: 1})
	t.Cleanup(func() { _ = watch.Close() })
	require.Eventually(t, func() bool {
		replicas, err := watch.Replicas(t.Context(), "main").Result()
		return err == nil && len(replicas) == 1
	}, long, 50*time.Millisecond)

	conn := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{sentinel}, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = conn.Close() })
	w := newWriter(t, conn, durable.WriterOptions{})
	r := newReader(t, conn, durable.ReaderOptions{})
	l := acquire(t, r)
	publish(t, w, 1, 50)
	entries := read(t, l, 50)
	require.NoError(t, l.Ack(t.Context(), entries...))
	// What is not replicated is lost with the master.
	require.NoError(t, conn.Wait(t.Context(), 1, long).Err())

	master.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	for n := 51; n <= 100; n++ {
		require.NoError(t, persist(ctx, w, n))
	}
	var got []string
	for len(got) < 50 {
		batch, err := l.Read(ctx)
		if err != nil {
			require.ErrorIs(t, err, durable.ErrLeaseLost)
			require.NoError(t, l.Release(ctx))
			l, err = r.Acquire(ctx)
			require.NoError(t, err)
			continue
		}
		require.NoError(t, l.Ack(ctx, batch...))
		got = append(got, ids(batch)...)
	}
	require.NoError(t, l.Release(ctx))
	require.Equal(t, numbered(51, 100), got)
	require.Equal(t, numbered(1, 100), replayed(t, replica.Client(t)))
}

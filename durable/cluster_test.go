package durable_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// newCluster starts two nodes that share the slots.
func newCluster(t *testing.T) (nodes [2]*redis.Client, conn *redis.ClusterClient) {
	t.Helper()
	cluster := realredis.StartCluster(t, len(nodes), 0)
	var addrs []string
	for i, server := range cluster.Masters {
		nodes[i] = server.Client(t)
		addrs = append(addrs, server.Addr())
	}
	conn = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, MaxRetries: -1, MaxRedirects: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { _ = conn.Close() })
	return nodes, conn
}

func TestDurable_cluster(t *testing.T) {
	t.Parallel()
	nodes, conn := newCluster(t)
	w, err := durable.NewWriter(conn, durable.WriterOptions{})
	require.NoError(t, err)
	for n := range 8 { // on both nodes
		channel := fmt.Sprintf("fogis:cluster:%d", n)
		m := message.Outgoing{ID: "a", Type: message.TypeSystemAlert, Body: []byte("{}")}
		first, err := w.Append(t.Context(), channel, m, "")
		require.NoError(t, err)
		again, err := w.Append(t.Context(), channel, m, "0-0")
		require.NoError(t, err)
		require.Equal(t, first.StreamID, again.StreamID)

		r, err := durable.NewReader(conn, channel, group, durable.ReaderOptions{})
		require.NoError(t, err)
		l := acquire(t, r)
		entries := read(t, l, 1)
		_, err = l.Try(t.Context(), entries[0])
		require.NoError(t, err)
		require.NoError(t, l.Bury(t.Context(), entries[0], durable.Failure{}))
		d, err := durable.NewDeadLetters(conn, channel)
		require.NoError(t, err)
		for letter, err := range d.List(t.Context(), durable.Filter{}) {
			require.NoError(t, err)
			_, err = d.Requeue(t.Context(), letter.LetterID, false)
			require.NoError(t, err)
		}
		require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
		require.NoError(t, l.Release(t.Context()))
		latest, found, err := durable.Latest(t.Context(), conn, channel)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, "a", latest.ID)
	}
	for _, node := range nodes {
		require.Positive(t, node.DBSize(t.Context()).Val(), "a node without a channel")
	}
}

// A slot moves to the other node under a writer and a reader.
func TestDurable_clusterSlotMoves(t *testing.T) {
	t.Parallel()
	nodes, conn := newCluster(t)
	slot, err := nodes[0].ClusterKeySlot(t.Context(), channel).Result()
	require.NoError(t, err)
	from, to := nodes[0], nodes[1]
	if slot > 8191 {
		from, to = to, from
	}
	id := func(c *redis.Client) string { return c.Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
	w := newWriter(t, conn, durable.WriterOptions{})
	publish(t, w, 1, 5)
	r := newReader(t, conn, durable.ReaderOptions{})
	l := acquire(t, r)
	entries := read(t, l, 5)
	require.NoError(t, l.Ack(t.Context(), entries[:3]...))

	host, port, err := net.SplitHostPort(to.Options().Addr)
	require.NoError(t, err)
	set := func(c *redis.Client, args ...any) {
		t.Helper()
		require.NoError(t, c.Do(t.Context(), append([]any{"CLUSTER", "SETSLOT", slot}, args...)...).Err())
	}
	set(to, "IMPORTING", id(from))
	set(from, "MIGRATING", id(to))
	for {
		keys, err := from.ClusterGetKeysInSlot(t.Context(), int(slot), 100).Result()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			require.NoError(t, from.Migrate(t.Context(), host, port, key, 0, 5*time.Second).Err())
		}
	}
	set(to, "NODE", id(to))
	set(from, "NODE", id(to))

	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	require.NoError(t, persist(ctx, w, 6))
	require.Equal(t, numbered(6, 6), ids(read(t, l, 1)))
	require.NoError(t, l.Ack(t.Context(), entries[3:]...))
	require.Equal(t, numbered(1, 6), func() (list []string) {
		for e, err := range durable.Replay(t.Context(), conn, channel, durable.Position{}) {
			require.NoError(t, err)
			list = append(list, e.ID)
		}
		return list
	}())
	require.NoError(t, l.Context().Err())
}

package durable_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// The master dies in the middle of traffic. What it had replicated is there
// once, and both sides go on with the next master by themselves.
func TestDurable_sentinelFailover(t *testing.T) {
	t.Parallel()
	sentinel := realredis.StartSentinel(t)
	conn := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: realredis.MasterName, SentinelAddrs: []string{sentinel.Addr()}, MaxRetries: -1, ContextTimeoutEnabled: true,
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

	sentinel.Master.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*long)
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
	require.Equal(t, numbered(1, 100), replayed(t, sentinel.Replica.Client(t)))
}

// Sentinels that are up before they know the master are an outage like others.
func TestReader_Acquire_waitsForSentinelsToKnowTheMaster(t *testing.T) {
	t.Parallel()
	sentinel := realredis.StartSentinel(t)
	for name, want := range map[string]string{"named": `no Sentinel knows a master named "unheard" yet`, "own client": "no Sentinel knows a master"} {
		conn := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "unheard", SentinelAddrs: []string{sentinel.Addr()}, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1,
		})
		t.Cleanup(func() { _ = conn.Close() })
		if name == "named" {
			own := conn.Options()
			own.Dialer = topology.Quiet(topology.NameMaster(own.Dialer, "unheard"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		retried := 0
		r := newReader(t, conn, durable.ReaderOptions{OnRetry: func(err error) {
			if strings.Contains(err.Error(), want) {
				if retried++; retried == 3 {
					cancel()
				}
			}
		}})
		_, err := r.Acquire(ctx)
		require.ErrorIs(t, err, context.Canceled, "it goes on until it is told to end: %v", err)
		err = r.Check(t.Context())
		failure := new(durable.Error)
		require.ErrorAs(t, err, &failure)
		require.False(t, failure.Refused, "%v", err)
	}
}

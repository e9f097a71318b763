package durable_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

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

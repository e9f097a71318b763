package durable_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

func TestNewWriter_refusesClientsThatRepeat(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		conn redis.UniversalClient
		want string
	}{
		"nil":         {nil, "no Redis client"},
		"retries":     {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), "MaxRetries: -1"},
		"deadlines":   {redis.NewClient(&redis.Options{MaxRetries: -1}), "ContextTimeoutEnabled"},
		"redirects":   {redis.NewClusterClient(&redis.ClusterOptions{MaxRetries: -1, ContextTimeoutEnabled: true}), "MaxRedirects: -1"},
		"ring":        {redis.NewRing(&redis.RingOptions{}), "Ring"},
		"good":        {redis.NewClient(&redis.Options{MaxRetries: -1, ContextTimeoutEnabled: true}), ""},
		"goodCluster": {redis.NewClusterClient(&redis.ClusterOptions{MaxRetries: -1, MaxRedirects: -1, ContextTimeoutEnabled: true}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.conn != nil {
				t.Cleanup(func() { _ = test.conn.Close() })
			}
			_, err := durable.NewWriter(test.conn, durable.WriterOptions{})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestCheckChannel(t *testing.T) {
	t.Parallel()
	require.NoError(t, durable.CheckChannel("fogis:matches:updates"))
	for _, bad := range []string{"", "a{b", "a}b", "{a}"} {
		require.Error(t, durable.CheckChannel(bad), "%q", bad)
	}
	require.Equal(t, "{fogis:x}:stream", durable.StreamKey("fogis:x"))
}

func TestWriter_Append_appendsAndPublishes(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		listener := conn.Subscribe(t.Context(), channel)
		defer listener.Close()
		_, err := listener.Receive(t.Context())
		require.NoError(t, err)

		w := newWriter(t, conn, durable.WriterOptions{})
		a, err := w.Append(t.Context(), channel, outgoing(1), "")
		require.NoError(t, err)
		require.EqualValues(t, 1, a.Receivers)
		require.False(t, a.Existed)

		m, err := listener.ReceiveMessage(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(outgoing(1).Body), m.Payload)
		for e, err := range durable.Replay(t.Context(), conn, channel, durable.Position{}) {
			require.NoError(t, err)
			require.Equal(t, a.StreamID, e.StreamID)
			require.Equal(t, outgoing(1).ID, e.ID)
			require.Equal(t, outgoing(1).Type, e.Type)
			require.Equal(t, outgoing(1).Body, e.Body)
			require.WithinDuration(t, time.Now(), e.Time(), long)
		}
	})
}

func TestWriter_Append_secondAttemptFindsTheFirst(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 20)
		mark, err := w.Mark(t.Context(), channel)
		require.NoError(t, err)
		first, err := w.Append(t.Context(), channel, outgoing(21), "")
		require.NoError(t, err)
		publish(t, w, 22, 40)

		again, err := w.Append(t.Context(), channel, outgoing(21), mark)
		require.NoError(t, err)
		require.True(t, again.Existed)
		require.Equal(t, first.StreamID, again.StreamID)

		// What lies before the mark is not looked at.
		again, err = w.Append(t.Context(), channel, outgoing(5), mark)
		require.NoError(t, err)
		require.False(t, again.Existed)
		require.Equal(t, append(numbered(1, 40), outgoing(5).ID), replayed(t, conn))

		// Another process, which has seen nothing, looks from the beginning
		// of an empty stream.
		require.NoError(t, conn.FlushAll(t.Context()).Err())
		other := newWriter(t, conn, durable.WriterOptions{})
		mark, err = other.Mark(t.Context(), channel)
		require.NoError(t, err)
		require.Equal(t, "0-0", mark)
		publish(t, w, 1, 1)
		again, err = other.Append(t.Context(), channel, outgoing(1), mark)
		require.NoError(t, err)
		require.True(t, again.Existed)
	})
}

// After FLUSHALL and a step of the server's clock the new stream may lie below
// the mark.
func TestWriter_Append_markAboveTheStream(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 7)
		const future = "99999999999999-0"
		a, err := w.Append(t.Context(), channel, outgoing(1), future)
		require.NoError(t, err)
		require.True(t, a.Existed)
		a, err = w.Append(t.Context(), channel, outgoing(8), future)
		require.NoError(t, err)
		require.False(t, a.Existed)
	})
}

func TestWriter_Append_lostAnswer(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	w := newWriter(t, connect(t, proxy.Addr()), durable.WriterOptions{})
	publish(t, w, 1, 3)
	mark, err := w.Mark(t.Context(), channel)
	require.NoError(t, err)

	lost := proxy.SwallowNextAnswer("exec")
	_, err = w.Append(t.Context(), channel, outgoing(4), "")
	<-lost
	failure := new(durable.Error)
	require.ErrorAs(t, err, &failure)
	require.True(t, failure.Unknown)
	require.False(t, failure.Refused)

	a, err := w.Append(t.Context(), channel, outgoing(4), mark)
	require.NoError(t, err)
	require.True(t, a.Existed)
	require.Equal(t, numbered(1, 4), replayed(t, server.Client(t)))
}

func TestWriter_Append_scriptFlush(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	for n := range 3 {
		a, err := w.Append(t.Context(), channel, outgoing(n), "0-0")
		require.NoError(t, err)
		require.False(t, a.Existed)
		require.NoError(t, conn.ScriptFlush(t.Context()).Err())
	}
	require.Equal(t, numbered(0, 2), replayed(t, conn))
}

func TestWriter_Append_outage(t *testing.T) {
	t.Parallel()
	w := newWriter(t, connect(t, faultnet.Reserve(t)), durable.WriterOptions{})
	_, err := w.Append(t.Context(), channel, outgoing(1), "")
	failure := new(durable.Error)
	require.ErrorAs(t, err, &failure)
	require.False(t, failure.Unknown)
	require.False(t, failure.Refused)
	require.ErrorContains(t, err, "is Redis running at this address?")
}

func TestWriter_Append_serverFull(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t, "--maxmemory", "1b", "--maxmemory-policy", "noeviction").Addr())
	w := newWriter(t, conn, durable.WriterOptions{})
	for _, after := range []string{"", "0-0"} {
		_, err := w.Append(t.Context(), channel, outgoing(1), after)
		failure := new(durable.Error)
		require.ErrorAs(t, err, &failure)
		require.False(t, failure.Unknown)
		require.False(t, failure.Refused, "it may pass")
		require.ErrorContains(t, err, "maxmemory")
	}
	require.NoError(t, conn.ConfigSet(t.Context(), "maxmemory", "0").Err())
	publish(t, w, 1, 1)
	require.Equal(t, numbered(1, 1), replayed(t, conn))
}

func TestWriter_Append_refusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules string
		args  []string
		want  []string
		old   bool
	}{
		"command": {"~* &* +@all -xadd", nil, []string{"NOPERM", "+xadd"}, false},
		"key":     {"~other &* +@all", nil, []string{"NOPERM", "~{" + channel + "}:*"}, false},
		"channel": {"~* resetchannels +@all", nil, []string{"NOPERM", "&" + channel}, false},
		"old":     {"~* &* +@all", []string{"--rename-command", "XADD", ""}, []string{"Redis 7"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t, test.args...)
			w := newWriter(t, restricted(t, server, test.rules), durable.WriterOptions{})
			for _, after := range []string{"", "0-0"} {
				a, err := w.Append(t.Context(), channel, outgoing(1), after)
				if after != "" && name == "channel" {
					require.NoError(t, err, "the entry is in the stream all the same")
					require.Zero(t, a.Receivers)
					continue
				}
				failure := new(durable.Error)
				require.ErrorAs(t, err, &failure)
				require.True(t, failure.Refused, "%v", err)
				require.False(t, failure.Unknown)
				for _, want := range test.want {
					require.ErrorContains(t, err, want)
				}
				require.Equal(t, test.old, errIs(err, durable.ErrUnsupported))
				require.NotContains(t, err.Error(), "message_id")
				require.NotContains(t, err.Error(), "hemligt")
			}
		})
	}
}

func TestWriter_Append_trimsByNumber(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		var removed int64
		w := newWriter(t, conn, durable.WriterOptions{MaxLen: 50, OnTrim: func(_ string, n int64, err error) {
			require.NoError(t, err)
			removed += n
		}})
		publish(t, w, 1, 99)
		require.Len(t, replayed(t, conn), 99)
		publish(t, w, 100, 100)
		require.Equal(t, numbered(51, 100), replayed(t, conn))
		require.EqualValues(t, 50, removed)
	})
}

func TestWriter_Append_trimsByBytes(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{MaxBytes: 8 << 20})
		for n := range 40 {
			m := outgoing(n)
			// The early ones are small, so that the mean misleads.
			size := 512 << 10
			if n < 10 {
				size = 1 << 10
			}
			m.Body = []byte(`"` + strings.Repeat("å", size/2) + `"`)
			_, err := w.Append(t.Context(), channel, m, "")
			require.NoError(t, err)
			used, err := conn.MemoryUsage(t.Context(), durable.StreamKey(channel)).Result()
			require.NoError(t, err)
			require.Less(t, used, int64(16<<20))
		}
		left := replayed(t, conn)
		require.Greater(t, len(left), 8)
		require.Less(t, len(left), 24)
		require.Equal(t, outgoing(39).ID, left[len(left)-1])
	})
}

func TestWriter_Append_trimsByAge(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t, "--stream-node-max-entries", "1").Addr())
	old := time.Now().Add(-time.Hour).UnixMilli()
	require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{
		Stream: durable.StreamKey(channel), ID: itoa(old), Values: []string{"id", "old"},
	}).Err())
	w := newWriter(t, conn, durable.WriterOptions{MaxAge: 30 * time.Minute})
	publish(t, w, 1, 1)
	// Only now is the server's clock known.
	require.Equal(t, []string{"old", outgoing(1).ID}, replayed(t, conn))
	publish(t, w, 2, 2)
	require.Equal(t, numbered(1, 2), replayed(t, conn))
}

func TestWriter_Append_trimsByAgeAsTimePasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := (&link{redis: newEmbedded(t)}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{})
		for day := range 20 {
			publish(t, w, day, day)
			require.Equal(t, numbered(max(day-6, 0), day), replayed(t, conn))
			time.Sleep(24*time.Hour + time.Second)
		}
	})
}

// Of appends in quick succession one looks for what is too old.
func TestWriter_Append_trimsByAgeNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := (&link{redis: newEmbedded(t)}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{MaxAge: 100 * time.Second})
		for n, step := range []struct {
			after time.Duration
			left  []string
		}{
			{0, numbered(1, 1)},
			{0, numbered(1, 2)},
			{99800 * time.Millisecond, numbered(1, 3)},
			{700 * time.Millisecond, numbered(1, 4)}, // looked 0.7 s ago
			{400 * time.Millisecond, numbered(3, 5)},
		} {
			time.Sleep(step.after)
			publish(t, w, n+1, n+1)
			require.Equal(t, step.left, replayed(t, conn))
		}
	})
}

func TestWriter_Append_negativeIsNoBound(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	w := newWriter(t, conn, durable.WriterOptions{MaxAge: -1, MaxLen: -1, MaxBytes: -1})
	publish(t, w, 1, 1200)
	require.Len(t, replayed(t, conn), 1200)
}

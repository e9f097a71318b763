package subscriber_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func auto() subscriber.Options {
	o := inGroup()
	o.Durable.Auto = true
	return o
}

func TestDurable_Auto_serverWithoutStreams(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--rename-command", "XREADGROUP", "")
	var first, second recorder
	o := auto()
	logger, log := logcheck.NewLog(t)
	o.Logger = logger
	one, e := member(t, at(server.Addr()), o, first.handle)
	two, _ := member(t, at(server.Addr()), auto(), second.handle)
	for _, r := range []*running{one, two} {
		require.NoError(t, r.Subscribed(t.Context()))
		st := r.Status()
		require.Equal(t, subscriber.DurableUnsupported, st.Durable)
		require.Equal(t, subscriber.StateSubscribed, st.State)
		require.Empty(t, st.Streams)
	}
	client := server.Client(t)
	for _, body := range [][]byte{status(t, "plain"), marked(t, "marked"), status(t, "plain")} {
		require.NoError(t, client.Publish(t.Context(), statusChannel, body).Err())
	}
	for _, got := range []*recorder{&first, &second} {
		eventually(t, "every instance handles both", func() bool { return len(got.IDs()) == 2 })
	}
	_, err := one.Dispatch(t.Context(), statusChannel, marked(t, "request"))
	require.NoError(t, err)
	require.Equal(t, []string{"plain", "marked", "request"}, first.IDs())
	require.NoError(t, one.stop())
	require.NoError(t, two.stop())
	require.Equal(t, 1, log.Count("durable mode is not possible, messages that are published while nobody listens are lost"))
	require.Empty(t, e.Gaps())
	require.Zero(t, one.Stats().LeftToStream)
	require.Zero(t, client.Exists(t.Context(), durable.StreamKey(statusChannel), "{"+statusChannel+"}:lease:"+group).Val())
	require.Equal(t, subscriber.DurableOff, one.Status().Durable)

	err = runOnce(t, at(server.Addr()), inGroup()) // not Auto
	require.ErrorIs(t, err, durable.ErrUnsupported)
}

// runOnce runs a Subscriber until Run ends by itself.
func runOnce(t *testing.T, options *redis.Options, o subscriber.Options) error {
	t.Helper()
	o.Logger = logcheck.New(t)
	s, err := subscriber.New(connect(t, options), o)
	require.NoError(t, err)
	var got recorder
	s.Handle(message.TypeProcessingStatus, got.handle)
	return s.Run(t.Context())
}

func TestDurable_Auto_missingRightIsAnError(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	for rule, want := range map[string]string{"-eval -evalsha": "+eval", "-xreadgroup": "+xreadgroup"} {
		args := []any{"ACL", "SETUSER", "some", "reset", "on", ">hemligt", "allchannels", "allkeys", "+@all"}
		for _, word := range strings.Fields(rule) {
			args = append(args, word)
		}
		require.NoError(t, server.Client(t).Do(t.Context(), args...).Err())
		options := at(server.Addr())
		options.Username, options.Password = "some", "hemligt"
		err := runOnce(t, options, auto())
		require.ErrorContains(t, err, "NOPERM")
		require.ErrorContains(t, err, want)
	}
}

// Nothing is subscribed before it is known whether there are streams.
func TestDurable_Auto_redisComesLate(t *testing.T) {
	t.Parallel()
	for name, unknown := range map[string]bool{"streams": false, "no streams": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, client := bubbleBox(t)
				appendAll(t, client, 1, 2, 0)
				refuseScripts(b, unknown)
				b.refuse(true)
				var got recorder
				r, e := member(t, b.options(), auto(), got.handle)
				time.Sleep(time.Minute)
				st := r.Status()
				require.Equal(t, subscriber.DurablePending, st.Durable)
				require.Equal(t, subscriber.StateConnecting, st.State)
				require.Contains(t, st.Streams[0].LastError, "refused")
				b.refuse(false)
				time.Sleep(10 * time.Second)
				want := numbered(1, 2)
				if unknown {
					want = nil
				}
				b.Publish(statusChannel, string(status(t, "legacy")))
				time.Sleep(time.Second)
				require.Equal(t, append(want, "legacy"), got.IDs())
				require.Equal(t, !unknown, r.Status().Durable == subscriber.DurableOn)
				require.Equal(t, unknown, r.Status().Durable == subscriber.DurableUnsupported)
				require.NoError(t, r.stop())
				require.Empty(t, e.Gaps())
			})
		})
	}
}

func TestDurable_Auto_endsWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		b.refuse(true)
		var got recorder
		r, _ := member(t, b.options(), auto(), got.handle)
		time.Sleep(time.Minute)
		require.NoError(t, (<-dispatch(t, r.Subscriber, status(t, "request"))).err, "requests are handled meanwhile")
		require.NoError(t, r.stop())

		o := auto()
		o.NoReconnect = true
		err := runOnce(t, b.options(), o)
		require.ErrorIs(t, err, errRefused)
	})
}

// refuseScripts has the server not know scripts, as if it were very old.
func refuseScripts(b *redisBox, on bool) {
	b.hook(func(c *miniserver.Peer, cmd string, _ ...string) bool {
		if !on || cmd != "EVAL" && cmd != "EVALSHA" {
			return false
		}
		c.WriteError("ERR unknown command `" + cmd + "`, with args beginning with: `local`")
		return true
	})
}

func TestDurable_Auto_neverDegradesOnceItWasDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		o := auto()
		o.Logger = logcheck.New(t)
		s, err := subscriber.New(connect(t, b.options()), o)
		require.NoError(t, err)
		var got recorder
		s.Handle(message.TypeProcessingStatus, got.handle)
		r := start(t, s)
		time.Sleep(3 * time.Second) // the first read has ended
		require.Equal(t, subscriber.DurableOn, r.Status().Durable)
		refuseScripts(b, true) // while it runs: it waits for them to come back
		b.cut(false)
		time.Sleep(time.Minute)
		require.Equal(t, subscriber.DurableOn, r.Status().Durable)
		require.Equal(t, subscriber.StateDegraded, r.Status().State)
		refuseScripts(b, false)
		appendAll(t, client, 1, 1, 0)
		time.Sleep(time.Minute)
		require.Equal(t, numbered(1, 1), got.IDs())
		require.NoError(t, r.stop())

		refuseScripts(b, true)
		require.ErrorIs(t, s.Run(t.Context()), durable.ErrUnsupported)
	})
}

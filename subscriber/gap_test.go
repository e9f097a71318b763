package subscriber_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestGap_oneForAnOutageOfManyAttempts(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{0, 300 * time.Millisecond, 4 * time.Second, time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var got recorder
			b, r, e := box(t, subscriber.Options{}, got.handle)
			time.Sleep(12 * time.Second) // PINGs at 0, 5 and 10
			up := time.Now().Add(-12 * time.Second)
			cutAt := time.Now()
			b.cut(outage > 0)
			synctest.Wait()
			if outage > 0 {
				require.Equal(t, subscriber.StateDegraded, r.Status().State)
			}
			time.Sleep(outage)
			b.refuse(false)
			back := time.Now()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			require.Equal(t, subscriber.StateSubscribed, r.Status().State)

			gaps := e.Gaps()
			require.Len(t, gaps, 1)
			g := gaps[0]
			require.Equal(t, "processing_status", g.Session)
			require.Equal(t, message.TypeProcessingStatus, g.Type)
			require.Equal(t, 1, g.Epoch)
			require.Equal(t, []string{statusChannel}, g.Channels)
			require.Equal(t, subscriber.CauseConnection, g.Cause)
			require.Error(t, g.Err)
			require.Equal(t, up.Add(10*time.Second), g.From, "the newest PING that was answered")
			require.False(t, g.To.Before(back))
			require.LessOrEqual(t, g.To.Sub(back), 5*time.Second)
			if outage == 0 {
				require.Equal(t, cutAt, g.To, "the first attempt follows at once")
			}
			require.Equal(t, []string{"resumed", "gap", "resumed"}, e.Order())
			require.Equal(t, 2, e.Resumed()[1].Epoch)
			st := r.Stats()
			require.EqualValues(t, 1, st.Gaps)
			require.EqualValues(t, 1, st.Reconnects)
			require.NoError(t, r.stop())
		})
	}
}

func TestGap_endsWithRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		b.cut(true)
		time.Sleep(time.Minute)
		require.Empty(t, e.Gaps())
		require.NoError(t, r.stop())
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, time.Now(), e.Gaps()[0].To)
	})
}

func TestGap_flappingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		var got recorder
		b, r, _ := box(t, subscriber.Options{Logger: logger}, got.handle)
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PING" && len(args) > 0 { // the first thing after the session is up
				c.Close()
				return true
			}
			return false
		})
		b.cut(false)
		b.dialTimes()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Less(t, len(b.dialTimes()), 100+11*600)
		require.Less(t, len(log.Records()), 400)
		b.hook(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, subscriber.StateSubscribed, r.Status().State)
		require.NoError(t, r.stop())
	})
}

func TestGap_silentConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{PingInterval: 2 * time.Second}, got.handle)
		began := time.Now()
		time.Sleep(9 * time.Second) // PINGs at 0, 2, 4, 6, 8
		silent := true
		b.hook(func(c *server.Peer, cmd string, args ...string) bool { return silent && cmd == "PING" && len(args) > 0 })
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, e.Gaps())
		time.Sleep(100 * time.Millisecond) // 12 s: 4 s after the last answer
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		g := e.Gaps()[0]
		require.Equal(t, subscriber.CauseTimeout, g.Cause)
		require.Equal(t, began.Add(8*time.Second), g.From)
		require.Equal(t, began.Add(12*time.Second), g.To)
		require.NoError(t, r.stop())
	})
}

func TestGap_messagesKeepASessionWithoutPongsAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{PingInterval: 2 * time.Second}, got.handle)
		subscribed := time.Now()
		time.Sleep(time.Second)
		b.hook(func(c *server.Peer, cmd string, args ...string) bool { return cmd == "PING" })
		for i := range 10 {
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
			time.Sleep(time.Second)
		}
		require.Empty(t, e.Gaps())
		b.hook(nil)
		b.cut(false)
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, subscribed, e.Gaps()[0].From, "messages prove nothing about those before them")
		require.NoError(t, r.stop())
	})
}

func TestGap_handshakeThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		b.hook(func(c *server.Peer, cmd string, args ...string) bool { return cmd == "SUBSCRIBE" })
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{HandshakeTimeout: time.Second, Logger: logcheck.New(t)})
		require.NoError(t, err)
		var got recorder
		s.Handle(message.TypeProcessingStatus, got.handle)
		r := start(t, s)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Contains(t, s.Status().Sessions[0].LastError, "handshake timeout")
		before := time.Now()
		require.NoError(t, r.stop())
		require.Equal(t, before, time.Now(), "stopping does not wait for Redis")
	})
}

func TestGap_heldUntilAllChannelsAreConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		var e events
		o := subscriber.Options{Channels: []string{"one", "two"}, Logger: logcheck.New(t)}
		o.OnResumed = func(r subscriber.Resumed) { e.add("resumed "+r.Session, func() {}) }
		var got recorder
		s, err := subscriber.New(connect(t, b.options()), o)
		require.NoError(t, err)
		s.Handle(message.TypeProcessingStatus, func(ctx context.Context, env *message.Envelope) error {
			e.add("handled "+env.ID, func() {})
			return got.handle(ctx, env)
		})
		held := string(status(t, "held"))
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "SUBSCRIBE" && args[0] == "two" {
				b.Publish("one", held)
			}
			return false
		})
		r := start(t, s)
		synctest.Wait()
		require.Equal(t, subscriber.StateSubscribed, s.Status().State)
		require.Equal(t, []string{"held"}, got.IDs())
		order := e.Order()
		require.Len(t, order, 3)
		require.Less(t, slices.Index(order, "resumed channels"), slices.Index(order, "handled held"))
		require.NoError(t, r.stop())
	})
}

func TestGap_String(t *testing.T) {
	t.Parallel()
	from := time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)
	g := subscriber.Gap{
		Session: "match_updates", Cause: subscriber.CauseSequence, From: from, To: from.Add(time.Second),
		Source: strings.Repeat("s", 1000), Channels: []string{"c"}, Missing: []subscriber.Range{{First: 3, Last: 4}},
	}
	require.Contains(t, g.String(), "match_updates: sequence, from 2031-05-06T15:00:00.000Z to 2031-05-06T15:00:01.000Z")
	require.Contains(t, g.String(), " 3-4")
	require.Less(t, len(g.String()), 250)
}

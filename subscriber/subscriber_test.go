package subscriber_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestNew_reportsEveryFaultInOrder(t *testing.T) {
	t.Parallel()
	_, err := subscriber.New(nil, subscriber.Options{
		ChannelNames:  map[message.Type]string{"a": ""},
		Channels:      []string{"x", ""},
		PingInterval:  -1,
		Concurrency:   -1,
		QueueMessages: -1,
		DedupeAge:     -1,
	})
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 7)
	for i, field := range []string{"no Redis client", "ChannelNames", "Channels[1]", "PingInterval", "Concurrency", "QueueMessages", "DedupeAge"} {
		require.Contains(t, lines[i], field)
	}
}

func TestSubscriber_Handle_panicsOnWrongRegistration(t *testing.T) {
	t.Parallel()
	s, err := subscriber.New(nil, subscriber.Options{Disabled: true})
	require.NoError(t, err)
	h := func(context.Context, *message.Envelope) error { return nil }
	require.Panics(t, func() { s.Handle(message.TypeSystemAlert, nil) })
	require.Panics(t, func() { s.Handle("no_channel", h) })
	s.Handle(message.TypeSystemAlert, h)
	require.Panics(t, func() { s.Handle(message.TypeSystemAlert, h) })
	require.Panics(t, func() {
		subscriber.On(s, func(context.Context, message.Message[*message.ProcessingStatus]) error { return nil })
	})
	require.Panics(t, func() {
		subscriber.On(s, func(context.Context, message.Message[message.Payload]) error { return nil })
	})
	require.Panics(t, func() { subscriber.On[message.ProcessingStatus](s, nil) })

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ended))
	require.Panics(t, func() { s.Handle(message.TypeMatchUpdates, h) })
}

func TestSubscriber_Run_startedBeforeRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		b.refuse(true)
		logger, log := logcheck.NewLog(t)
		var e events
		o := subscriber.Options{Logger: logger}
		e.attach(&o)
		var got recorder
		s, err := subscriber.New(connect(t, b.options()), o)
		require.NoError(t, err)
		s.Handle(message.TypeProcessingStatus, got.handle)
		require.Equal(t, subscriber.StateStopped, s.Status().State)
		r := start(t, s)

		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, subscriber.StateConnecting, s.Status().State)
		require.Contains(t, s.Status().Sessions[0].LastError, "connection refused")
		tries := b.dialTimes()
		require.Greater(t, len(tries), 120-40) // on average every 2.5 s
		require.Less(t, len(tries), 600)
		for i, at := range tries[1:] {
			require.LessOrEqual(t, at.Sub(tries[i]), 5*time.Second)
		}
		require.Less(t, len(log.Records()), 25, "log lines must be bounded")

		b.refuse(false)
		time.Sleep(5 * time.Second) // one backoff step
		synctest.Wait()
		require.Equal(t, subscriber.StateSubscribed, s.Status().State)
		require.Equal(t, 1, b.Publish(statusChannel, string(status(t, "first"))))
		synctest.Wait()
		require.Equal(t, []string{"first"}, got.IDs())
		require.Empty(t, e.Gaps(), "nothing was promised before the first subscription")
		require.Len(t, e.Resumed(), 1)
		require.NoError(t, r.stop())
		require.Equal(t, subscriber.StateStopped, s.Status().State)
	})
}

func TestSubscriber_Run_twiceAtOnceAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		require.ErrorIs(t, r.Run(t.Context()), subscriber.ErrRunning)
		require.NoError(t, r.stop())

		again := start(t, r.Subscriber)
		synctest.Wait()
		b.Publish(statusChannel, string(status(t, "again")))
		synctest.Wait()
		require.Equal(t, []string{"again"}, got.IDs())
		require.NoError(t, again.stop())
		require.Empty(t, e.Gaps())
	})
}

func TestSubscriber_Run_withoutHandlersOpensNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		r := start(t, s)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, b.dialTimes())
		require.Equal(t, subscriber.StateDisabled, s.Status().State)
		_, err = s.Dispatch(t.Context(), "", status(t, "x"))
		require.ErrorIs(t, err, subscriber.ErrUnhandled)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Run_disabledServesDispatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := subscriber.New(nil, subscriber.Options{Disabled: true, Logger: logcheck.New(t)})
		require.NoError(t, err)
		var got recorder
		s.Handle(message.TypeProcessingStatus, got.handle)
		_, err = s.Dispatch(t.Context(), "", status(t, "early"))
		require.ErrorIs(t, err, message.ErrBusy)
		require.ErrorIs(t, err, subscriber.ErrNotRunning)
		r := start(t, s)
		synctest.Wait()
		require.Equal(t, subscriber.StateDisabled, s.Status().State)
		result, err := s.Dispatch(t.Context(), "", status(t, "x"))
		require.NoError(t, err)
		require.Equal(t, message.Result{Type: message.TypeProcessingStatus, MessageID: "x"}, result)
		require.NoError(t, s.Restart(t.Context()))
		require.NoError(t, r.stop())
		require.ErrorIs(t, s.Restart(t.Context()), subscriber.ErrNotRunning)
	})
}

func TestSubscriber_Run_channels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		var e events
		o := subscriber.Options{
			Logger:       logcheck.New(t),
			ChannelNames: map[message.Type]string{message.TypeProcessingStatus: "own:status"},
			Channels:     []string{"more:1", "more:2", "own:status", "more:1"},
		}
		e.attach(&o)
		s, err := subscriber.New(connect(t, b.options()), o)
		require.NoError(t, err)
		var statuses, alerts recorder
		s.Handle(message.TypeProcessingStatus, statuses.handle)
		s.Handle(message.TypeSystemAlert, alerts.handle)
		r := start(t, s)
		synctest.Wait()
		require.Equal(t, map[string]int{"own:status": 1, statusChannel: 0, alertChannel: 1, "more:1": 1, "more:2": 1},
			b.PubSubNumSub("own:status", statusChannel, alertChannel, "more:1", "more:2"))

		alert := encode(t, message.Header{ID: "alert"}, message.SystemAlert{AlertType: "a", Message: "m"})
		b.Publish("own:status", string(status(t, "1")))
		synctest.Wait()
		b.Publish("more:1", string(status(t, "2")))
		b.Publish("more:2", string(alert))
		synctest.Wait()
		require.Equal(t, []string{"1", "2"}, statuses.IDs())
		require.Equal(t, []string{"alert"}, alerts.IDs())

		st := s.Status()
		require.Equal(t, subscriber.StateSubscribed, st.State)
		require.Len(t, st.Sessions, 3)
		require.Equal(t, "processing_status", st.Sessions[0].Name)
		require.Equal(t, []string{"own:status"}, st.Sessions[0].Confirmed)
		require.Equal(t, "channels", st.Sessions[2].Name)
		require.Equal(t, []string{"more:1", "more:2"}, st.Sessions[2].Confirmed)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Run_typesOnOneChannelShareASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{
			Logger:       logcheck.New(t),
			ChannelNames: map[message.Type]string{message.TypeProcessingStatus: "all", message.TypeSystemAlert: "all"},
		})
		require.NoError(t, err)
		var statuses, alerts recorder
		s.Handle(message.TypeProcessingStatus, statuses.handle)
		s.Handle(message.TypeSystemAlert, alerts.handle)
		r := start(t, s)
		synctest.Wait()
		require.Equal(t, 1, b.Publish("all", `{"type":"processing_status","payload":{"status":"started"}}`))
		synctest.Wait()
		require.Len(t, statuses.IDs(), 1, "without an ID, a second session would have had it handled twice")
		require.Len(t, s.Status().Sessions, 1)
		require.Equal(t, "processing_status+system_alert", s.Status().Sessions[0].Name)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Run_refusedChannel(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"NOPERM No permissions to access a channel", "NOAUTH Authentication required.", "WRONGPASS invalid username-password pair"} {
		synctest.Test(t, func(t *testing.T) {
			b := newRedisBox(t)
			b.hook(func(c *server.Peer, cmd string, args ...string) bool {
				if cmd == "SUBSCRIBE" && args[0] == alertChannel {
					c.WriteError(reply)
					return true
				}
				return false
			})
			s, err := subscriber.New(connect(t, b.options()), subscriber.Options{Logger: logcheck.New(t)})
			require.NoError(t, err)
			var got recorder
			s.Handle(message.TypeProcessingStatus, got.handle)
			s.Handle(message.TypeSystemAlert, got.handle)
			err = s.Run(t.Context())
			require.ErrorContains(t, err, alertChannel)
			require.NotContains(t, err.Error(), statusChannel)
			require.ErrorContains(t, err, reply)
			_, isReply := errors.AsType[redis.Error](err)
			require.True(t, isReply)
		})
	}
}

func TestSubscriber_Run_refusedLaterIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		b.SetError("NOPERM No permissions to access a channel")
		b.cut(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, subscriber.StateDegraded, r.Status().State)
		require.Contains(t, r.Status().Sessions[0].LastError, "NOPERM")
		require.Empty(t, e.Gaps(), "a gap is given when it has an end")
		b.SetError("")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, subscriber.StateSubscribed, r.Status().State)
		require.Len(t, e.Gaps(), 1)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Run_passingRefusalsAreRetriedFromTheStart(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"LOADING Redis is loading the dataset in memory", "MASTERDOWN Link with MASTER is down", "ERR max number of clients reached"} {
		synctest.Test(t, func(t *testing.T) {
			b := newRedisBox(t)
			b.SetError(reply)
			s, err := subscriber.New(connect(t, b.options()), subscriber.Options{Logger: logcheck.New(t)})
			require.NoError(t, err)
			var got recorder
			s.Handle(message.TypeProcessingStatus, got.handle)
			r := start(t, s)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, subscriber.StateConnecting, s.Status().State)
			b.SetError("")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			require.Equal(t, subscriber.StateSubscribed, s.Status().State)
			require.NoError(t, r.stop())
		})
	}
}

func TestSubscriber_Run_withoutReconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{NoReconnect: true}, got.handle)
		require.NoError(t, r.Restart(t.Context()), "a restart is not the end of a session by itself")
		time.Sleep(time.Second)
		b.cut(false)
		require.Error(t, <-r.ended)
		require.Len(t, e.Gaps(), 2, "the second ends with Run")
		require.Equal(t, subscriber.CauseConnection, e.Gaps()[1].Cause)

		b.refuse(true)
		require.ErrorIs(t, r.Run(t.Context()), errRefused)
	})
}

func TestSubscriber_Restart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		require.NoError(t, r.Restart(t.Context()))
		require.Equal(t, 2, r.Status().Sessions[0].Epoch)
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, subscriber.CauseRestart, e.Gaps()[0].Cause)

		b.cut(true)
		time.Sleep(time.Minute) // in the middle of a wait between attempts
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Restart(soon), context.DeadlineExceeded)
		b.refuse(false)
		require.NoError(t, r.Restart(t.Context()))
		require.Len(t, e.Gaps(), 2)
		require.Equal(t, subscriber.CauseConnection, e.Gaps()[1].Cause, "the outage had begun before")
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Restart_endsWithRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, _ := box(t, subscriber.Options{}, got.handle)
		b.cut(true)
		restarted := make(chan error)
		go func() { restarted <- r.Restart(context.Background()) }()
		synctest.Wait()
		require.NoError(t, r.stop())
		require.ErrorIs(t, <-restarted, subscriber.ErrNotRunning)
	})
}

func TestSubscriber_Subscribed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		b.refuse(true)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		var got recorder
		s.Handle(message.TypeProcessingStatus, got.handle)
		soon, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, s.Subscribed(soon), context.DeadlineExceeded)

		waited := make(chan error)
		go func() { waited <- s.Subscribed(context.Background()) }()
		r := start(t, s)
		time.Sleep(time.Minute)
		b.refuse(false)
		require.NoError(t, <-waited)
		require.Equal(t, subscriber.StateSubscribed, s.Status().State)
		require.NoError(t, r.stop())
		require.ErrorIs(t, s.Subscribed(t.Context()), subscriber.ErrNotRunning)
	})
}

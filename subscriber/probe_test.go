package subscriber_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/subscriber"
)

// isProbe tells whether a command uses a probe's channel.
func isProbe(args []string) bool { return len(args) > 0 && strings.HasPrefix(args[0], "fogis:probe:") }

func TestProbe_comesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		var probes atomic.Int64
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PUBLISH" && isProbe(args) {
				probes.Add(1)
			}
			return false
		})
		require.Equal(t, subscriber.ProbePending, r.Status().Sessions[0].Probe)
		began := time.Now()
		time.Sleep(20 * time.Second)
		b.Publish(statusChannel, string(status(t, "x")))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Zero(t, probes.Load(), "a message came 20 s ago")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, probes.Load())
		st := r.Status().Sessions[0]
		require.Equal(t, subscriber.ProbeOK, st.Probe)
		require.Equal(t, began.Add(50*time.Second), st.LastProbe)
		require.Equal(t, began.Add(20*time.Second), st.LastMessage)
		require.Equal(t, began.Add(50*time.Second), st.LastPing)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.InDelta(t, 121, probes.Load(), 1)
		require.Empty(t, e.Gaps())
		require.Zero(t, r.Stats().Probes, "its own probes are no messages")
		require.EqualValues(t, 1, r.Stats().Received)
		require.NoError(t, r.stop())
	})
}

func TestProbe_doesNotComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		began := time.Now()
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PUBLISH" {
				c.WriteInt(0)
				return true
			}
			return false
		})
		time.Sleep(39 * time.Second)
		synctest.Wait()
		require.Empty(t, e.Gaps())
		time.Sleep(time.Second) // 30 s of silence, 10 s for the answer
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, subscriber.CauseNotDelivering, e.Gaps()[0].Cause)
		require.Equal(t, began.Add(40*time.Second), e.Gaps()[0].To)
		require.Equal(t, subscriber.StateSubscribed, r.Status().State)
		require.NoError(t, r.stop())
	})
}

func TestProbe_messagesAnswerItToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PUBLISH" {
				c.WriteInt(0)
				return true
			}
			return false
		})
		time.Sleep(35 * time.Second)
		b.Publish(statusChannel, string(status(t, "x")))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, e.Gaps())
		require.NoError(t, r.stop())
	})
}

// After a failover the old server lives on as a replica, which still gets all.
func TestProbe_publishersReachAnotherServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		time.Sleep(12 * time.Second)
		b.hook(func(c *server.Peer, cmd string, args ...string) bool {
			if cmd == "PUBSUB" {
				c.WriteLen(2)
				c.WriteBulk(args[1])
				c.WriteInt(0)
				return true
			}
			return false
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Empty(t, e.Gaps(), "once tells nothing")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, subscriber.CauseNotDelivering, e.Gaps()[0].Cause)
		require.ErrorContains(t, e.Gaps()[0].Err, "another server")

		// Whom publishers never counted, as behind a proxy, they need not count.
		time.Sleep(25 * time.Second)
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		require.NoError(t, r.stop())
	})
}

func TestProbe_cannotBePublished(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, cmd, reply string
		state            subscriber.ProbeState
	}{
		{"publish fails", "PUBLISH", "ERR out of order", subscriber.ProbeFailed},
		{"publish refused", "PUBLISH", "NOPERM no channel", subscriber.ProbeRefused},
		{"subscribe refused", "SUBSCRIBE", "NOPERM no channel", subscriber.ProbeRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got recorder
				b, r, e := box(t, subscriber.Options{}, got.handle)
				answer := func(c *server.Peer, cmd string, args ...string) bool {
					if cmd == test.cmd && isProbe(args) {
						c.WriteError(test.reply)
						return true
					}
					return false
				}
				b.hook(answer)
				require.NoError(t, r.Restart(t.Context()))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				require.Len(t, e.Gaps(), 1, "that of the restart")
				st := r.Status()
				require.Equal(t, subscriber.StateSubscribed, st.State)
				require.Equal(t, test.state, st.Sessions[0].Probe)
				require.Contains(t, st.Sessions[0].ProbeError, test.reply)
				require.WithinDuration(t, time.Now(), st.Sessions[0].LastPing, 10*time.Second, "PINGs go on")

				b.hook(nil)
				require.NoError(t, r.Restart(t.Context()))
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, subscriber.ProbeOK, r.Status().Sessions[0].Probe)
				require.NoError(t, r.stop())
			})
		})
	}
}

func TestProbe_off(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, _ := box(t, subscriber.Options{ProbeInterval: -1}, got.handle)
		require.Len(t, b.PubSubChannels("*"), 1)
		time.Sleep(time.Hour)
		require.Equal(t, subscriber.ProbeOff, r.Status().Sessions[0].Probe)
		require.NotZero(t, r.Status().Sessions[0].LastPing)
		require.NoError(t, r.stop())
	})
}

package subscriber_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// A Redis that cannot save answers MISCONF to PING, and delivers messages.
func TestSession_anErrorAnswerToPingIsAnAnswer(t *testing.T) {
	t.Parallel()
	const misconf = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
	for name, early := range map[string]bool{"from the first": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got recorder
				logger, log := logcheck.NewLog(t)
				b, r, e := box(t, subscriber.Options{Logger: logger}, got.handle)
				time.Sleep(7 * time.Second)
				var answer atomic.Value
				answer.Store(misconf)
				b.hook(func(c *server.Peer, cmd string, _ ...string) bool {
					text := answer.Load().(string)
					if cmd != "PING" || text == "" {
						return false
					}
					c.WriteError(text)
					return true
				})
				if early {
					require.NoError(t, r.Restart(t.Context()))
				}
				gaps := len(e.Gaps())
				time.Sleep(time.Minute)
				session := r.Status().Sessions[0]
				require.Equal(t, subscriber.StateSubscribed, session.State)
				require.Equal(t, misconf, session.PingError)
				require.WithinDuration(t, time.Now(), session.LastPing, 5*time.Second)
				require.Len(t, e.Gaps(), gaps)
				require.Equal(t, 1, log.Count("Redis refuses PING; the subscription goes on"))
				b.Publish(statusChannel, string(status(t, "x")))
				synctest.Wait()
				require.Equal(t, []string{"x"}, got.IDs())

				cut := time.Now()
				b.cut(false)
				synctest.Wait()
				gap := e.Gaps()[gaps]
				require.WithinDuration(t, cut, gap.From, 5*time.Second, "it was an answer to all before")

				answer.Store("")
				time.Sleep(10 * time.Second)
				require.Empty(t, r.Status().Sessions[0].PingError)

				// One that loads its data would deliver nothing.
				answer.Store("LOADING Redis is loading the dataset in memory")
				time.Sleep(10 * time.Second)
				require.Equal(t, subscriber.StateDegraded, r.Status().State)
				require.NoError(t, r.stop())
			})
		})
	}
}

package subscriber_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// quickly sends messages to a handler that is quick until then, so that the
// reader trusts it with the next ones.
func quickly(t *testing.T, b *redisBox, r *running) {
	for i := range 20 {
		b.Publish(statusChannel, string(status(t, fmt.Sprint("quick ", i))))
		synctest.Wait()
	}
	require.EqualValues(t, 20, r.Stats().Handled)
	time.Sleep(1100 * time.Millisecond) // when no PING is due
}

// once returns a handler that is quick for what quickly sends.
func once(do func(context.Context, string) error) *recorder {
	return &recorder{do: func(ctx context.Context, id string) error {
		if strings.HasPrefix(id, "quick") {
			return nil
		}
		return do(ctx, id)
	}}
}

// TestReader_longHandlerDoesNotStopReading lets a message arrive on a quiet
// line, where the reader handles it itself.
func TestReader_longHandlerDoesNotStopReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := once(func(context.Context, string) error { <-release; return nil })
		b, r, e := box(t, subscriber.Options{}, got.handle)
		quickly(t, b, r)
		b.Publish(statusChannel, string(status(t, "0")))
		synctest.Wait()
		require.Equal(t, []string{"0"}, got.IDs()[20:])
		b.Publish(statusChannel, string(status(t, "1")))
		require.Zero(t, r.Status().Lanes[0].Queued, "the reader itself is in the handler")
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, r.Status().Lanes[0].Queued, "another goroutine reads on")
		require.Equal(t, 1, r.Status().Lanes[0].Handling)

		time.Sleep(time.Minute)
		require.WithinDuration(t, time.Now(), r.Status().Sessions[0].LastPing, 6*time.Second, "and answers are read")
		b.cut(true)
		synctest.Wait()
		require.Equal(t, subscriber.StateDegraded, r.Status().State, "and the end is noticed")
		b.refuse(false)
		time.Sleep(5 * time.Second)
		b.Publish(statusChannel, string(status(t, "2")))
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"0", "1", "2"}, got.IDs()[20:])
		require.Len(t, e.Gaps(), 1)
		require.NoError(t, r.stop())
	})
}

func TestReader_stopsWhileItHandles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := once(func(context.Context, string) error { time.Sleep(3 * time.Second); return nil })
		b, r, _ := box(t, subscriber.Options{}, got.handle)
		quickly(t, b, r)
		b.Publish(statusChannel, string(status(t, "0")))
		synctest.Wait()
		before := time.Now()
		require.NoError(t, r.Restart(t.Context()))
		require.Equal(t, before, time.Now(), "the session does not wait for the handler")
		require.NoError(t, r.stop())
		require.Equal(t, 3*time.Second, time.Since(before), "Run does")
		require.EqualValues(t, 21, r.Stats().Handled)
	})
}

func TestReader_handlerEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Minute} { // before and after it is relieved
		synctest.Test(t, func(t *testing.T) {
			got := once(func(context.Context, string) error {
				time.Sleep(wait)
				runtime.Goexit()
				return nil
			})
			b, r, _ := box(t, subscriber.Options{}, got.handle)
			quickly(t, b, r)
			for i := range 3 {
				b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
				time.Sleep(2 * time.Minute)
			}
			require.Equal(t, []string{"0", "1", "2"}, got.IDs()[20:])
			require.EqualValues(t, 3, r.Stats().Panics)
			require.Zero(t, r.Stats().Gaps)
			require.NoError(t, r.stop())
		})
	}
}

func TestReader_handlerRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r *running
		got := once(func(ctx context.Context, _ string) error { return r.Restart(ctx) })
		b, run, _ := box(t, subscriber.Options{}, got.handle)
		r = run
		b.Publish(statusChannel, string(status(t, "by the lane")))
		synctest.Wait()
		for i := range 20 {
			b.Publish(statusChannel, string(status(t, fmt.Sprint("quick ", i))))
			synctest.Wait()
		}
		time.Sleep(1100 * time.Millisecond)
		b.Publish(statusChannel, string(status(t, "by the reader")))
		time.Sleep(time.Second)
		require.EqualValues(t, 22, r.Stats().Handled)
		require.EqualValues(t, 2, r.Stats().Reconnects)
		require.NoError(t, r.stop())
	})
}

// TestReader_order mixes quiet and busy times, short and long handlers, and
// both routes.
func TestReader_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running := 0
		got := &recorder{}
		got.do = func(context.Context, string) error {
			got.mu.Lock()
			running++
			alone := running == 1
			got.mu.Unlock()
			if rand.IntN(50) == 0 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
			}
			got.mu.Lock()
			running--
			got.mu.Unlock()
			if !alone {
				return subscriber.Permanent(errHandler)
			}
			return nil
		}
		b, r, _ := box(t, subscriber.Options{QueueMessages: 100, PingInterval: time.Hour, ProbeInterval: -1}, got.handle)
		var want []string
		for i := range 2000 {
			id := fmt.Sprint(i)
			want = append(want, id)
			if rand.IntN(10) == 0 {
				synctest.Wait() // what was published is read, up to a running handler
				time.Sleep(60 * time.Millisecond)
				synctest.Wait()
				dispatch(t, r.Subscriber, status(t, id))
			} else {
				b.Publish(statusChannel, string(status(t, id)))
			}
			if rand.IntN(3) == 0 {
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		require.Equal(t, want, got.IDs())
		require.EqualValues(t, 2000, r.Stats().Handled)
		require.NoError(t, r.stop())
	})
}

// A worker that waited for the reader's handler must end, also when the drain
// has taken the message for which it would have been woken.
func TestReader_drainTakesTheLastMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := once(func(ctx context.Context, id string) error {
			if id == "slow" {
				<-ctx.Done()
			}
			return nil
		})
		b, r, _ := box(t, subscriber.Options{DrainTimeout: time.Second}, got.handle)
		quickly(t, b, r)
		b.Publish(statusChannel, string(status(t, "slow")))
		time.Sleep(200 * time.Millisecond)
		b.Publish(statusChannel, string(status(t, "waits")))
		synctest.Wait()
		require.ErrorIs(t, r.stop(), subscriber.ErrDrainTimeout)
	})
}

func TestReader_dispatchWithdrawnInTheDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := once(func(context.Context, string) error {
			time.Sleep(3 * time.Second)
			return nil
		})
		b, r, _ := box(t, subscriber.Options{DrainTimeout: time.Minute}, got.handle)
		quickly(t, b, r)
		b.Publish(statusChannel, string(status(t, "slow")))
		time.Sleep(200 * time.Millisecond)
		dispatched := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := r.Dispatch(ctx, statusChannel, status(t, "by hand"))
			dispatched <- err
		}()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, r.stop())
		require.Less(t, time.Since(began), 4*time.Second, "as long as the handler")
		require.ErrorIs(t, <-dispatched, message.ErrBusy)
	})
}

// A callback that ends its goroutine, as a test's FailNow does, ends the
// session and not the Subscriber.
func TestReader_callbackEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		first := true
		b, r, _ := box(t, subscriber.Options{OnResumed: func(subscriber.Resumed) {
			if first {
				first = false
				runtime.Goexit()
			}
		}}, got.handle)
		time.Sleep(time.Minute)
		b.Publish(statusChannel, string(status(t, "after")))
		synctest.Wait()
		require.Equal(t, []string{"after"}, got.IDs())
		require.NoError(t, r.stop())
	})
}

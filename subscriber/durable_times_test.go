package subscriber_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// The holder loses its network at any moment between two renewals: its
// handler's context ends seven seconds after the last one, the next holder
// begins within a poll of the ten seconds that Redis gave.
func TestDurable_times_networkLost(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 6*time.Second; after += 700 * time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, client := bubbleBox(t)
				network := &redisBox{Miniredis: b.Miniredis}
				ended, taken := make(chan time.Time, 1), make(chan time.Time, 1)
				var first, second recorder
				first.do = func(ctx context.Context, _ string) error {
					<-ctx.Done()
					ended <- time.Now()
					return context.Cause(ctx)
				}
				second.do = func(context.Context, string) error { taken <- time.Now(); return nil }
				acquired := time.Now()
				one, _ := member(t, network.options(), inGroup(), first.handle)
				synctest.Wait()
				time.Sleep(time.Millisecond)
				two, _ := member(t, b.options(), inGroup(), second.handle)
				appendAll(t, client, 1, 1, 0)
				time.Sleep(after)
				synctest.Wait()
				network.cut(true)
				renewed := acquired.Add(time.Since(acquired).Truncate(3 * time.Second))

				require.Equal(t, 7*time.Second, (<-ended).Sub(renewed))
				took := (<-taken).Sub(renewed)
				require.GreaterOrEqual(t, took, 10*time.Second)
				require.LessOrEqual(t, took, 10*time.Second+250*time.Millisecond)
				network.refuse(false)
				require.NoError(t, one.stop())
				require.NoError(t, two.stop())
				require.Zero(t, pending(t, client))
			})
		})
	}
}

// Run ends: what is in its handler is finished within the drain's bound, and the
// next holder begins within its poll, behind it.
func TestDurable_times_stop(t *testing.T) {
	t.Parallel()
	for _, work := range []time.Duration{0, time.Second, 6 * time.Second, 6999 * time.Millisecond} {
		t.Run(work.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, client := bubbleBox(t)
				appendAll(t, client, 1, 2, 0)
				taken := make(chan time.Time, 1)
				var first, second recorder
				began := make(chan struct{})
				first.do = func(_ context.Context, id string) error {
					if id == numberedID(1) {
						close(began)
						time.Sleep(time.Minute + work)
					}
					return nil
				}
				second.do = func(context.Context, string) error { taken <- time.Now(); return nil }
				one, _ := member(t, b.options(), inGroup(), first.handle)
				<-began
				two, _ := member(t, b.options(), inGroup(), second.handle)
				time.Sleep(time.Minute)
				stopped := time.Now()
				require.NoError(t, one.stop())
				require.Equal(t, work, time.Since(stopped))
				require.Equal(t, numbered(1, 2), first.IDs())
				appendAll(t, client, 3, 3, 0)
				require.LessOrEqual(t, (<-taken).Sub(stopped.Add(work)), 250*time.Millisecond)
				require.NoError(t, two.stop())
				require.Equal(t, numbered(3, 3), second.IDs())
				require.Zero(t, pending(t, client))
			})
		})
	}
}

// A handler that ignores its context keeps the lease for as long as Redis gave
// it, so that no other one begins at once.
func TestDurable_times_stopWithDeafHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 1, 0)
		taken := make(chan time.Time, 1)
		open := make(chan struct{})
		var first, second recorder
		first.do = func(context.Context, string) error { <-open; return errHandler }
		second.do = func(context.Context, string) error { taken <- time.Now(); return nil }
		one, _ := member(t, b.options(), inGroup(), first.handle)
		time.Sleep(time.Second)
		two, _ := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Second)
		stopped := time.Now()
		require.ErrorIs(t, one.stop(), subscriber.ErrDrainTimeout)
		require.Equal(t, 8*time.Second, time.Since(stopped), "the drain and its grace")
		ended := time.Now()
		took := (<-taken).Sub(ended)
		require.Greater(t, took, 6*time.Second)
		require.LessOrEqual(t, took, 10*time.Second+250*time.Millisecond)
		close(open)
		require.NoError(t, two.stop())
		require.Zero(t, pending(t, client))
	})
}

// Docker kills ten seconds after it has asked a container to stop: by then Run
// has ended, also when Redis is silent and a handler deaf.
func TestDurable_times_wholeStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 3, 0)
		open := make(chan struct{})
		one, _ := member(t, b.options(), inGroup(), func(_ context.Context, e *message.Envelope) error {
			if e.ID == numberedID(3) {
				<-open
			}
			return nil
		})
		synctest.Wait()
		silent := make(chan struct{})
		b.hook(func(*server.Peer, string, ...string) bool { <-silent; return false })
		stopped := time.Now()
		require.ErrorIs(t, one.stop(), subscriber.ErrDrainTimeout)
		require.Less(t, time.Since(stopped), 10*time.Second)
		close(open)
		close(silent)
	})
}

// Who stops in order does not count as one whom the entry has ended, also if it
// is killed while the handler still runs.
func TestDurable_stopTakesATryBackAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 2, 0)
		reader, err := durable.NewReader(client, statusChannel, group, durable.ReaderOptions{})
		require.NoError(t, err)
		lease, err := reader.Acquire(t.Context())
		require.NoError(t, err)
		_, err = lease.Read(t.Context())
		require.NoError(t, err)
		require.NoError(t, lease.Release(t.Context()))

		tries := func() map[string]string {
			fields := client.HGetAll(t.Context(), "{"+statusChannel+"}:tries:"+group).Val()
			for name := range fields {
				if !strings.Contains(name, "-") { // the others are stream IDs
					delete(fields, name)
				}
			}
			return fields
		}
		work := make(chan struct{})
		free := sync.OnceFunc(func() { close(work) })
		r, _ := member(t, b.options(), inGroup(), func(context.Context, *message.Envelope) error { <-work; return nil })
		t.Cleanup(free) // before Run is waited for, also when the test fails
		synctest.Wait()
		require.Len(t, tries(), 1, "the first is in its handler")
		stopped := make(chan error)
		go func() { stopped <- r.stop() }()
		synctest.Wait()
		require.Empty(t, tries())
		work <- struct{}{}
		synctest.Wait()
		require.Empty(t, tries(), "nor does the second, which begins now")
		free()
		require.NoError(t, <-stopped)
		require.Zero(t, pending(t, client))
	})
}

// The waits between two attempts grow to a minute, and the last attempt is made
// when the time is over.
func TestDurable_times_retries(t *testing.T) {
	t.Parallel()
	for _, long := range []time.Duration{-1, time.Second, time.Hour} {
		t.Run(fmt.Sprint(long), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, client := bubbleBox(t)
				appendAll(t, client, 1, 2, 0)
				var attempts []time.Time
				buried := time.Time{}
				o := inGroup()
				o.ProbeInterval = -1
				o.Durable.RetryFor = long
				r, e := member(t, b.options(), o, func(_ context.Context, env *message.Envelope) error {
					if env.ID == numberedID(2) {
						buried = time.Now()
						return nil
					}
					attempts = append(attempts, time.Now())
					return errHandler
				})
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				require.NoError(t, r.stop())
				first, last := attempts[0], attempts[len(attempts)-1]
				require.Equal(t, max(long, 0), last.Sub(first))
				require.Equal(t, last, buried, "and the next one follows at once")
				longest := time.Duration(0)
				for i := range attempts[1:] {
					longest = max(longest, attempts[i+1].Sub(attempts[i]))
				}
				require.LessOrEqual(t, longest, time.Minute)
				list := letters(t, client)
				require.Len(t, list, 1)
				require.Equal(t, len(attempts), list[0].Attempts)
				require.Equal(t, last.UnixMilli(), list[0].Last.UnixMilli())
				require.Len(t, e.Errors(), 1)
				require.Equal(t, len(attempts), e.Errors()[0].Attempts)
			})
		})
	}
}

// Redis may be away meanwhile, and the lease be lost more often than a message
// may end the process that handles it: this process lives.
func TestDurable_handlerFailsForAnHourWhileRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		network := &redisBox{Miniredis: b.Miniredis}
		began := time.Now()
		var got recorder
		o := inGroup()
		o.Durable.RetryFor = 2 * time.Hour
		r, e := member(t, network.options(), o, func(ctx context.Context, env *message.Envelope) error {
			if time.Since(began) < time.Hour {
				return errors.New("no token")
			}
			return got.handle(ctx, env)
		})
		time.Sleep(time.Second)
		for n := 1; n <= 50; n++ {
			appendAll(t, client, n, n, 0)
			time.Sleep(time.Minute)
			network.cut(true)
			time.Sleep(time.Duration(n%20) * time.Second) // the lease is lost, too
			network.refuse(false)
		}
		require.Empty(t, got.IDs())
		require.Equal(t, subscriber.StateDegraded, r.Status().State)
		time.Sleep(10 * time.Minute)
		require.Equal(t, numbered(1, 50), got.IDs())
		require.Equal(t, subscriber.StateSubscribed, r.Status().State)
		require.NoError(t, r.stop())
		require.Empty(t, letters(t, client))
		require.Empty(t, e.Errors())
		for _, gap := range e.Gaps() {
			require.Equal(t, subscriber.CauseConnection, gap.Cause, "%v", gap)
		}
		require.Zero(t, pending(t, client))
	})
}

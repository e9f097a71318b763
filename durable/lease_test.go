package durable_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
)

const leaseKey = "{" + channel + "}:lease:" + group

// acquireLater acquires in the background and tells when.
func acquireLater(t *testing.T, r *durable.Reader) <-chan time.Time {
	at := make(chan time.Time, 1)
	go func() {
		l, err := r.Acquire(t.Context())
		if err == nil {
			at <- time.Now()
			<-t.Context().Done()
			_ = l.Release(context.Background())
		}
	}()
	return at
}

func TestLease_heldForAsLongAsItIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		l := acquire(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
		next := acquireLater(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
		time.Sleep(5 * time.Minute)
		require.NoError(t, l.Context().Err())
		require.Empty(t, next)

		stopped := time.Now()
		require.NoError(t, l.Release(t.Context()))
		require.ErrorIs(t, l.Context().Err(), context.Canceled)
		require.LessOrEqual(t, (<-next).Sub(stopped), 250*time.Millisecond)
		require.NoError(t, l.Release(t.Context()), "again")
	})
}

func TestLease_deadHolderIsFollowedWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for _, moment := range []time.Duration{0, time.Millisecond, time.Second, 2999 * time.Millisecond, 3 * time.Second, 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m := newEmbedded(t)
			network := &link{redis: m}
			l := acquire(t, newReader(t, network.client(t), durable.ReaderOptions{}))
			next := acquireLater(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
			time.Sleep(moment)
			synctest.Wait()
			network.cut()
			died := time.Now()

			<-l.Context().Done()
			require.ErrorIs(t, context.Cause(l.Context()), durable.ErrLeaseLost)
			lost := time.Since(died)
			require.LessOrEqual(t, lost, 7*time.Second)
			require.Greater(t, lost, 3*time.Second)
			require.Empty(t, next, "before the first one knows")

			followed := (<-next).Sub(died)
			require.LessOrEqual(t, followed, 10*time.Second)
			require.GreaterOrEqual(t, followed-lost, 3*time.Second, "a handler has so long to end")
			_, err := l.Read(t.Context())
			require.ErrorIs(t, err, durable.ErrLeaseLost)
		})
	}
}

func TestLease_outliveShortOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		network := &link{redis: m}
		retries := 0
		l := acquire(t, newReader(t, network.client(t), durable.ReaderOptions{OnRetry: func(error) { retries++ }}))
		for range 20 {
			time.Sleep(3 * time.Second)
			network.cut()
			time.Sleep(1500 * time.Millisecond)
			network.set(func(l *link) { l.down = false })
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.NoError(t, l.Context().Err())
		require.Positive(t, retries)
	})
}

func TestLease_black_hole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := &link{redis: newEmbedded(t)}
		l := acquire(t, newReader(t, network.client(t), durable.ReaderOptions{}))
		network.set(func(l *link) { l.hole = true })
		began := time.Now()
		_, err := l.Read(t.Context())
		require.ErrorIs(t, err, durable.ErrLeaseLost)
		require.Equal(t, 7*time.Second, time.Since(began))
		network.set(func(l *link) { l.hole = false })
	})
}

func TestLease_takenAwayEndsAtOnceWhenNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		conn := (&link{redis: m}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 2)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, l, 2)
		require.NoError(t, m.Set(leaseKey, "another one"))

		// Nothing of the other's is settled.
		require.ErrorIs(t, l.Ack(t.Context(), entries...), durable.ErrLeaseLost)
		require.ErrorIs(t, context.Cause(l.Context()), durable.ErrLeaseLost)
		_, err := l.Try(t.Context(), entries[0])
		require.ErrorIs(t, err, durable.ErrLeaseLost)
		require.ErrorIs(t, l.Bury(t.Context(), entries[0], durable.Failure{}), durable.ErrLeaseLost)
		require.Len(t, pending(t, conn), 2)
		require.NoError(t, l.Release(t.Context()))
		got, err := m.Get(leaseKey)
		require.NoError(t, err)
		require.Equal(t, "another one", got)

		m.Del(leaseKey)
		again := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.NoError(t, m.Set(leaseKey, "another one"))
		began := time.Now()
		<-again.Context().Done() // by the renewal
		require.LessOrEqual(t, time.Since(began), 3*time.Second)
		require.ErrorIs(t, context.Cause(again.Context()), durable.ErrLeaseLost)
	})
}

func TestReader_Acquire_waitsOutAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := &link{redis: newEmbedded(t), down: true}
		var failed atomic.Int64
		r := newReader(t, network.client(t), durable.ReaderOptions{OnRetry: func(err error) {
			failed.Add(1)
			require.ErrorContains(t, err, "acquire on "+channel)
		}})
		at := acquireLater(t, r)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, at)
		require.Greater(t, failed.Load(), int64(600/6))
		network.set(func(l *link) { l.down = false })
		up := time.Now()
		require.LessOrEqual(t, (<-at).Sub(up), 5100*time.Millisecond)
	})
}

func TestReader_Acquire_endsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		acquire(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
		ctx, cancel := context.WithTimeout(t.Context(), 1234*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}).Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1234*time.Millisecond, time.Since(began))
	})
}

func TestLease_Read_blockedEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		conn := (&link{redis: m}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{})
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		began := time.Now()
		empty, err := l.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, empty)
		require.Equal(t, 2*time.Second, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		began = time.Now()
		_, err = l.Read(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 500*time.Millisecond, time.Since(began))

		// The lease is still held, and what is appended comes at once. (Until
		// then miniredis may serve the read that has ended.)
		time.Sleep(2 * time.Second)
		time.AfterFunc(700*time.Millisecond, func() { publish(t, w, 1, 1) })
		began = time.Now()
		entries := read(t, l, 1)
		require.Equal(t, 700*time.Millisecond, time.Since(began))
		time.Sleep(time.Hour)
		require.NoError(t, l.Ack(t.Context(), entries...))
	})
}

func TestLease_settlingWaitsOutAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		network := &link{redis: m}
		conn := network.client(t)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 3)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		entries := read(t, l, 3)
		network.cut()
		time.AfterFunc(3*time.Second, func() { network.set(func(l *link) { l.down = false }) })
		require.NoError(t, l.Ack(t.Context(), entries[0]))
		tries, err := l.Try(t.Context(), entries[1])
		require.NoError(t, err)
		require.Equal(t, 1, tries)
		require.Equal(t, []string{entries[1].StreamID, entries[2].StreamID}, pending(t, conn))

		network.cut()
		began := time.Now()
		require.ErrorIs(t, l.Ack(t.Context(), entries[1]), durable.ErrLeaseLost)
		require.LessOrEqual(t, time.Since(began), 7*time.Second)
		network.set(func(l *link) { l.down = false })
	})
}

func TestLease_Try_countsHolders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		conn := (&link{redis: m}).client(t)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 1)
		for holder := range 8 {
			l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
			e := read(t, l, 1)[0]
			require.Equal(t, holder > 0, e.Redelivered)
			for range 3 {
				tries, err := l.Try(t.Context(), e)
				require.NoError(t, err)
				require.Equal(t, holder+1, tries)
			}
			require.NoError(t, l.Release(t.Context()))
		}
		// A holder that stops in order takes its own back, once.
		for range 3 {
			l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
			e := read(t, l, 1)[0]
			tries, err := l.Try(t.Context(), e)
			require.NoError(t, err)
			require.Equal(t, 9, tries)
			require.NoError(t, l.Untry(t.Context(), e))
			require.NoError(t, l.Untry(t.Context(), e))
			require.NoError(t, l.Release(t.Context()))
		}
		// One that lost its lease and lives counts once, whoever tried meanwhile.
		live, other := newReader(t, conn, durable.ReaderOptions{}), newReader(t, conn, durable.ReaderOptions{})
		for round := range 10 {
			for i, r := range []*durable.Reader{live, other} {
				l := acquire(t, r)
				e := read(t, l, 1)[0]
				for range 2 {
					tries, err := l.Try(t.Context(), e)
					require.NoError(t, err)
					require.Equal(t, 9+max(i, min(round, 1)), tries)
				}
				require.NoError(t, l.Release(t.Context()))
			}
		}
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		e := read(t, l, 1)[0]
		require.NoError(t, l.Ack(t.Context(), e))
		require.Empty(t, m.HGet("{"+channel+"}:tries:"+group, e.StreamID))
	})
}

// The server's clock is set forward, or the key is deleted: the holder learns
// it late, and its handler must have ended before another one begins.
func TestLease_vanishedBeforeItsTime(t *testing.T) {
	t.Parallel()
	// 2.995 s: it was renewed 5 ms ago, and nobody has seen it since.
	for _, moment := range []time.Duration{0, time.Second, 2980 * time.Millisecond, 2995 * time.Millisecond, 6 * time.Second} {
		for _, hole := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := newEmbedded(t)
				network := &link{redis: m}
				l := acquire(t, newReader(t, network.client(t), durable.ReaderOptions{}))
				time.Sleep(10 * time.Millisecond)
				next := acquireLater(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
				time.Sleep(moment)
				synctest.Wait()
				network.set(func(l *link) { l.hole = hole })
				vanished := time.Now()
				m.Del(leaseKey)

				<-l.Context().Done()
				require.ErrorIs(t, context.Cause(l.Context()), durable.ErrLeaseLost)
				require.Empty(t, next, "before the first one knows")
				require.LessOrEqual(t, (<-next).Sub(vanished), 8*time.Second)
				network.set(func(l *link) { l.hole = false })
			})
		}
	}
}

// The server's clock is set back just before the holder dies.
func TestLease_deadHolderIsFollowedThoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newEmbedded(t)
		network := &link{redis: m}
		l := acquire(t, newReader(t, network.client(t), durable.ReaderOptions{}))
		network.cut()
		m.SetTTL(leaseKey, 26*time.Hour)
		next := acquireLater(t, newReader(t, (&link{redis: m}).client(t), durable.ReaderOptions{}))
		died := time.Now()
		require.LessOrEqual(t, (<-next).Sub(died), 11*time.Second)
		require.ErrorIs(t, context.Cause(l.Context()), durable.ErrLeaseLost)
	})
}

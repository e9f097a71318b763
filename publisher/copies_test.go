package publisher_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// A receiver that hangs does not hold up a message that the stream has: Run posts
// the copy, and the next one, outside of the lane.
func TestPublisher_Publish_hungReceiver_holdsNothingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		fallback.take = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		defer run(t, p)()
		began := time.Now()
		for _, name := range names(1, 3) {
			receipt, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteStream, receipt.Route)
			require.Equal(t, publisher.FallbackPending, receipt.Fallback)
			require.Zero(t, receipt.Elapsed)
		}
		require.Zero(t, time.Since(began))
		require.Equal(t, names(1, 3), k.kept(t))
	})
}

// Without Run the copy is posted by Publish, within a bound, and the lane is free
// meanwhile.
func TestPublisher_Publish_hungReceiver_withoutRun_isBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		hung := make(chan struct{})
		fallback.take = func(ctx context.Context) error {
			close(hung)
			<-ctx.Done()
			return ctx.Err()
		}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		result := make(chan publisher.Receipt, 1)
		go func() {
			receipt, _ := p.Publish(context.Background(), update("1"))
			result <- receipt
		}()
		<-hung
		began := time.Now()
		receipt, err := p.Publish(t.Context(), status("started"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Zero(t, time.Since(began), "the lane of another type")

		receipt = <-result
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, publisher.FallbackFailed, receipt.Fallback)
		require.ErrorIs(t, receipt.FallbackErr, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, receipt.Elapsed)
		require.Equal(t, uint64(1), p.Stats().FallbackFailures)
		require.NotEmpty(t, p.Stats().FallbackError)
	})
}

// While one Publish posts its copy without Run, the next one of the type gets into
// the stream.
func TestPublisher_Publish_hungReceiver_withoutRun_leavesTheLaneFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		fallback.take = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		done := make(chan error, 3)
		for _, name := range names(1, 3) {
			go func() {
				_, err := p.Publish(context.Background(), update(name))
				done <- err
			}()
			synctest.Wait()
		}
		require.Equal(t, names(1, 3), k.kept(t), "at once")
		for range 3 {
			require.NoError(t, <-done)
		}
	})
}

// Without Run no receipt says that a copy is pending which nobody posts: one that waited
// in vain has failed, one that another Publish posted has that one's outcome.
func TestPublisher_Publish_withoutRun_noCopyIsLeft(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"hung": 0, "slow": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k, fallback := newKeeper(t), &recorder{}
				fallback.take = func(ctx context.Context) error {
					if takes > 0 {
						time.Sleep(takes)
						return nil
					}
					<-ctx.Done()
					time.Sleep(time.Second) // it does not heed its context at once
					return ctx.Err()
				}
				p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
				receipts := make(map[string]publisher.Receipt)
				var mu sync.Mutex
				var all sync.WaitGroup
				for _, name := range names(1, 3) {
					all.Go(func() {
						receipt, _ := p.Publish(context.Background(), update(name))
						mu.Lock()
						defer mu.Unlock()
						receipts[name] = receipt
					})
					synctest.Wait()
				}
				all.Wait()
				require.Equal(t, publisher.FallbackPending, receipts["2"].Fallback, "the newer one took its place")
				if takes > 0 {
					require.Equal(t, []string{"1", "3"}, fallback.names(t))
					require.Equal(t, publisher.FallbackAccepted, receipts["3"].Fallback)
					return
				}
				require.Equal(t, publisher.FallbackFailed, receipts["3"].Fallback)
				require.ErrorContains(t, receipts["3"].FallbackErr, "too long")
				require.Len(t, fallback.at, 1)
			})
		})
	}
}

// A fallback that heeds no context keeps a newer message from being posted beside
// the older one, but not for ever.
func TestPublisher_Publish_deafFallback_countsAsAFailure(t *testing.T) {
	t.Parallel()
	for name, patience := range map[string]time.Duration{"a patient caller": 0, "a short deadline": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
				end := make(chan struct{})
				fallback.take = func(context.Context) error {
					<-end
					return nil
				}
				p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback})
				stop := run(t, p)
				receipt, err := p.Publish(t.Context(), update("1"))
				require.NoError(t, err)
				require.Equal(t, publisher.FallbackPending, receipt.Fallback)
				synctest.Wait()

				k.setDown(true)
				ctx := t.Context()
				if patience > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, patience)
					defer cancel()
				}
				began := time.Now()
				receipt, err = p.Publish(ctx, update("2"))
				require.NoError(t, err)
				require.Equal(t, publisher.RouteOutbox, receipt.Route)
				require.Equal(t, publisher.FallbackFailed, receipt.Fallback)
				if patience > 0 {
					require.Equal(t, patience, time.Since(began))
				} else {
					require.ErrorContains(t, receipt.FallbackErr, "busy with an older message")
					require.LessOrEqual(t, time.Since(began), 2*time.Second)
					require.Contains(t, p.Stats().FallbackError, "busy")
				}
				require.Len(t, fallback.at, 1, "not beside the older one")

				fallback.mu.Lock()
				fallback.take = nil
				fallback.mu.Unlock()
				close(end)
				time.Sleep(time.Minute)
				require.Equal(t, names(1, 2), fallback.names(t))
				k.setDown(false)
				time.Sleep(time.Minute)
				require.Equal(t, names(1, 2), k.kept(t))
				stop()
			})
		})
	}
}

// Why a fallback fails beside the stream is in the receipt and in Stats, and in the
// log once for each change.
func TestPublisher_Publish_failingFallbackIsTold(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			logger, log := logcheck.NewLog(t)
			k, fallback := newKeeper(t), &recorder{}
			answer := errors.New("401: wrong token")
			fallback.take = func(context.Context) error { return answer }
			p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback, Logger: logger})
			if running {
				defer run(t, p)()
			}
			for _, name := range names(1, 5) {
				receipt, err := p.Publish(t.Context(), update(name))
				require.NoError(t, err)
				if running {
					require.Equal(t, publisher.FallbackPending, receipt.Fallback)
				} else {
					require.Equal(t, publisher.FallbackFailed, receipt.Fallback)
					require.ErrorIs(t, receipt.FallbackErr, answer)
				}
				synctest.Wait()
			}
			require.Equal(t, uint64(5), p.Stats().FallbackFailures)
			require.Equal(t, answer.Error(), p.Stats().FallbackError)
			require.Equal(t, 1, log.Count("fallback failed"))
			answer = nil
			for _, name := range names(6, 7) {
				_, err := p.Publish(t.Context(), update(name))
				require.NoError(t, err)
				synctest.Wait()
			}
			require.Equal(t, 1, log.Count("fallback restored"))
			require.Equal(t, 1, log.Count("fallback failed"))
			require.Equal(t, uint64(5), p.Stats().FallbackFailures)
			require.Empty(t, p.Stats().FallbackError)
		})
	}
}

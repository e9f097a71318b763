package subscriber_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// answer is what a Dispatch returned.
type answer struct {
	message.Result
	err error
}

// dispatch calls Dispatch on a goroutine of its own and returns when that
// waits.
func dispatch(t *testing.T, s *subscriber.Subscriber, data []byte) <-chan answer {
	ended := make(chan answer, 1)
	go func() {
		result, err := s.Dispatch(context.Background(), "", data)
		ended <- answer{result, err}
	}()
	synctest.Wait()
	return ended
}

func TestSubscriber_Dispatch_refusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		_, r, _ := box(t, subscriber.Options{MaxMessageBytes: 1000}, got.handle)
		_, err := r.Dispatch(t.Context(), "", []byte(`{"test": true}`))
		require.ErrorIs(t, err, message.ErrProbe)
		_, err = r.Dispatch(t.Context(), "", []byte(`{`))
		require.ErrorIs(t, err, message.ErrInvalid)
		_, err = r.Dispatch(t.Context(), "", make([]byte, 1001))
		require.ErrorIs(t, err, message.ErrInvalid)
		result, err := r.Dispatch(t.Context(), "", encode(t, message.Header{}, message.SystemAlert{AlertType: "a"}))
		require.ErrorIs(t, err, subscriber.ErrUnhandled)
		require.ErrorContains(t, err, "system_alert")
		require.Equal(t, message.TypeSystemAlert, result.Type)
		st := r.Stats()
		require.EqualValues(t, 4, st.Received)
		require.EqualValues(t, 1, st.Probes)
		require.EqualValues(t, 2, st.Invalid)
		require.EqualValues(t, 1, st.Unhandled)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Dispatch_outcomes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := failing(0)
		_, r, _ := box(t, subscriber.Options{MaxRetries: -1}, got.handle)
		body := encode(t, message.Header{ID: "m"}, message.ProcessingStatus{Status: "started"})
		result, err := r.Dispatch(t.Context(), "/manual-sync", body)
		require.NoError(t, err)
		require.Equal(t, message.Result{Type: message.TypeProcessingStatus, MessageID: "m"}, result)
		result, err = r.Dispatch(t.Context(), "/manual-sync", body)
		require.NoError(t, err)
		require.True(t, result.Duplicate)
		require.Equal(t, []string{"m"}, got.IDs())

		got.do = func(context.Context, string) error { return errHandler }
		_, err = r.Dispatch(t.Context(), "", status(t, "bad"))
		require.ErrorIs(t, err, errHandler)
		require.NotErrorIs(t, err, message.ErrBusy)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Dispatch_countsMatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := subscriber.New(nil, subscriber.Options{Disabled: true})
		require.NoError(t, err)
		subscriber.On(s, func(context.Context, message.Message[message.MatchUpdates]) error { return nil })
		r := start(t, s)
		synctest.Wait()
		result, err := s.Dispatch(t.Context(), "", encode(t, message.Header{}, message.MatchUpdates{Matches: []message.Match{
			{Raw: []byte(`{"matchid":1}`)}, {Raw: []byte(`{"matchid":2}`)},
		}}))
		require.NoError(t, err)
		require.Equal(t, 2, result.Matches)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Dispatch_busy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := &recorder{do: func(context.Context, string) error { <-release; return nil }}
		_, r, _ := box(t, subscriber.Options{QueueMessages: 1}, got.handle)
		running := dispatch(t, r.Subscriber, status(t, "running"))
		queued := dispatch(t, r.Subscriber, status(t, "queued"))
		full := <-dispatch(t, r.Subscriber, status(t, "full"))
		require.ErrorIs(t, full.err, message.ErrBusy)

		before := time.Now()
		late := <-queued // nothing else ends it
		require.ErrorIs(t, late.err, message.ErrBusy)
		require.Equal(t, 25*time.Second, time.Since(before))
		require.ErrorIs(t, (<-running).err, message.ErrBusy)

		// The one that was running succeeds in the end, the others never run.
		again := dispatch(t, r.Subscriber, status(t, "running"))
		close(release)
		require.True(t, (<-again).Duplicate)
		synctest.Wait()
		require.Equal(t, []string{"running"}, got.IDs())
		require.False(t, (<-dispatch(t, r.Subscriber, status(t, "queued"))).Duplicate)
		require.EqualValues(t, 2, r.Stats().Withdrawn)
		st := r.Stats()
		require.Equal(t, st.Received, st.Handled+st.Withdrawn+st.Duplicates)
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Dispatch_cancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := &recorder{do: func(context.Context, string) error { <-release; return nil }}
		_, r, _ := box(t, subscriber.Options{}, got.handle)
		running := dispatch(t, r.Subscriber, status(t, "running"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Dispatch(ctx, "", status(t, "impatient"))
		require.ErrorIs(t, err, message.ErrBusy)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(release)
		require.NoError(t, (<-running).err)
		synctest.Wait()
		require.Equal(t, []string{"running"}, got.IDs(), "what its caller gave up is not handled behind his back")
		require.NoError(t, r.stop())
	})
}

func TestSubscriber_Dispatch_whileDraining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := &recorder{do: func(context.Context, string) error { time.Sleep(time.Second); return nil }}
		_, r, _ := box(t, subscriber.Options{}, got.handle)
		first := dispatch(t, r.Subscriber, status(t, "first"))
		r.cancel()
		synctest.Wait()
		require.ErrorIs(t, (<-dispatch(t, r.Subscriber, status(t, "second"))).err, message.ErrBusy)
		require.NoError(t, (<-first).err)
		require.NoError(t, <-r.ended)
		require.ErrorIs(t, (<-dispatch(t, r.Subscriber, status(t, "third"))).err, message.ErrBusy)
	})
}

// TestDedupe_acrossRoutes sends copies of one message in every order of
// routes, while the first is in work and after it.
func TestDedupe_acrossRoutes(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"http", "pubsub"} {
		for _, second := range []string{"http", "pubsub"} {
			for _, fails := range []bool{false, true} {
				for _, concurrency := range []int{1, 4} {
					t.Run(fmt.Sprintf("%s then %s, fails %v, concurrency %d", first, second, fails, concurrency), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							calls := 0
							got := &recorder{do: func(context.Context, string) error {
								calls++
								mine := calls
								time.Sleep(time.Second)
								if fails && mine == 1 {
									return errHandler
								}
								return nil
							}}
							b, r, _ := box(t, subscriber.Options{MaxRetries: -1, Concurrency: concurrency}, got.handle)
							send := func(route string) <-chan answer {
								if route == "http" {
									return dispatch(t, r.Subscriber, status(t, "m"))
								}
								b.Publish(statusChannel, string(status(t, "m")))
								synctest.Wait()
								return nil
							}
							one := send(first)
							two := send(second)
							three := send(second)
							time.Sleep(3 * time.Second)
							synctest.Wait()
							handled := 1
							if fails {
								handled = 2
							}
							require.Len(t, got.IDs(), handled)
							st := r.Stats()
							require.EqualValues(t, 1, st.Handled)
							require.EqualValues(t, handled-1, st.Failed)
							require.EqualValues(t, 3-handled, st.Duplicates)
							if one != nil {
								a := <-one
								require.Equal(t, fails, a.err != nil)
								require.False(t, a.Duplicate)
							}
							if two != nil {
								a, c := <-two, <-three
								require.NoError(t, a.err)
								require.NoError(t, c.err)
								require.Equal(t, !fails, a.Duplicate && c.Duplicate)
								require.True(t, a.Duplicate || c.Duplicate)
							}
							require.NoError(t, r.stop())
						})
					})
				}
			}
		}
	}
}

func TestDedupe_manyCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, _ := box(t, subscriber.Options{}, got.handle)
		body := string(status(t, "same"))
		for range 10_000 {
			b.Publish(statusChannel, body)
		}
		synctest.Wait()
		require.Equal(t, []string{"same"}, got.IDs())
		require.EqualValues(t, 9_999, r.Stats().Duplicates)
		require.NoError(t, r.stop())
	})
}

func TestDedupe_window(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, _ := box(t, subscriber.Options{DedupeIDs: 3, DedupeAge: time.Hour}, got.handle)
		send := func(ids ...string) int {
			before := len(got.IDs())
			for _, id := range ids {
				b.Publish(statusChannel, string(status(t, id)))
				synctest.Wait()
			}
			return len(got.IDs()) - before
		}
		require.Equal(t, 3, send("1", "2", "3"))
		require.Equal(t, 0, send("1", "2", "3"))
		require.Equal(t, 1, send("4"))
		require.Equal(t, 0, send("2", "3", "4"), "at least three are remembered")
		require.Equal(t, 3, send("5", "6", "7"))
		require.Equal(t, 1, send("1"), "at most six are remembered")
		time.Sleep(time.Hour)
		require.Equal(t, 2, send("7", "1"))
		require.Equal(t, 0, send("7", "1"))

		// Without an ID there is no duplicate.
		for range 3 {
			b.Publish(statusChannel, `{"type":"processing_status","payload":{"status":"started"}}`)
		}
		synctest.Wait()
		require.EqualValues(t, 3+1+3+1+2+3, r.Stats().Handled)
		require.NoError(t, r.stop())
	})
}

package subscriber_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

var errHandler = errors.New("no calendar")

// failing returns a recorder whose handler fails the first n times for each
// message.
func failing(n int) *recorder {
	r := &recorder{}
	calls := map[string]int{}
	r.do = func(_ context.Context, id string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if calls[id]++; calls[id] <= n {
			return errHandler
		}
		return nil
	}
	return r
}

func TestLane_retriesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := failing(3)
		b, r, e := box(t, subscriber.Options{}, got.handle)
		began := time.Now()
		b.Publish(statusChannel, string(status(t, "a")))
		b.Publish(statusChannel, string(status(t, "b")))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a", "a", "a", "a", "b", "b", "b", "b"}, got.IDs())
		require.Less(t, time.Since(began), 11*time.Second)
		st := r.Stats()
		require.EqualValues(t, 2, st.Handled)
		require.EqualValues(t, 6, st.Retried)
		require.Zero(t, st.Failed)
		require.Empty(t, e.Errors())
		require.NoError(t, r.stop())
	})
}

func TestLane_waitsAreRandomAndGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		r := &recorder{do: func(context.Context, string) error { times = append(times, time.Now()); return errHandler }}
		_, run, e := box(t, subscriber.Options{MaxRetries: 30, RetryDelay: time.Second, RetryDelayMax: 8 * time.Second, DispatchTimeout: time.Hour}, r.handle)
		_, err := run.Dispatch(t.Context(), "", status(t, "x"))
		require.ErrorIs(t, err, errHandler)
		require.Len(t, times, 31)
		var waits []time.Duration
		for i := range times[1:] {
			wait := times[i+1].Sub(times[i])
			require.LessOrEqual(t, wait, min(time.Second<<min(i, 3), 8*time.Second))
			waits = append(waits, wait)
		}
		require.Greater(t, slices.Max(waits), 4*time.Second)
		require.Less(t, slices.Min(waits[3:]), 4*time.Second)
		require.Len(t, e.Errors(), 1)
		require.NoError(t, run.stop())
	})
}

func TestLane_givesUp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		options  subscriber.Options
		do       func(context.Context, string) error
		attempts int
		panics   uint64
	}{
		{"after the retries", subscriber.Options{}, func(context.Context, string) error { return errHandler }, 4, 0},
		{"without retries", subscriber.Options{MaxRetries: -1}, func(context.Context, string) error { return errHandler }, 1, 0},
		{"permanent", subscriber.Options{}, func(context.Context, string) error {
			return fmt.Errorf("wrapped: %w", subscriber.Permanent(errHandler))
		}, 1, 0},
		{"panic", subscriber.Options{}, func(context.Context, string) error { panic(errHandler) }, 1, 1},
		{"panic of the runtime", subscriber.Options{}, func(_ context.Context, id string) error { _ = []string(nil)[len(id)]; return nil }, 1, 1},
		{"goexit", subscriber.Options{}, func(context.Context, string) error { runtime.Goexit(); return nil }, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := &recorder{}
				got.do = func(ctx context.Context, id string) error {
					if id == "bad" {
						return test.do(ctx, id)
					}
					return nil
				}
				b, r, e := box(t, test.options, got.handle)
				b.Publish(statusChannel, string(status(t, "bad")))
				b.Publish(statusChannel, string(status(t, "good")))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				ids := got.IDs()
				require.Len(t, ids, test.attempts+1)
				require.Equal(t, "good", ids[test.attempts])
				require.Len(t, e.Errors(), 1)
				failure := e.Errors()[0]
				require.Equal(t, "bad", failure.Header.ID)
				require.Equal(t, statusChannel, failure.Header.Channel)
				require.Equal(t, message.ViaPubSub, failure.Header.Via)
				require.Equal(t, test.attempts, failure.Attempts)
				st := r.Stats()
				require.EqualValues(t, 1, st.Failed)
				require.EqualValues(t, 1, st.Handled)
				require.EqualValues(t, test.attempts-1, st.Retried)
				require.Equal(t, test.panics, st.Panics)
				if test.panics > 0 {
					panicked, ok := errors.AsType[*subscriber.PanicError](failure)
					require.True(t, ok)
					require.Contains(t, string(panicked.Stack), "lane_test.go")
				} else {
					require.ErrorIs(t, failure, errHandler)
				}

				// A copy of what failed is no duplicate.
				_, err := r.Dispatch(t.Context(), "", status(t, "bad"))
				require.Error(t, err)
				require.Zero(t, r.Stats().Duplicates)
				require.NoError(t, r.stop())
			})
		})
	}
}

func TestPanicError_hidesTheValue(t *testing.T) {
	t.Parallel()
	err := &subscriber.PanicError{Value: "070-174 06 05"}
	logcheck.CleanValue(t, "panic", err.Error())
	logcheck.Clean(t, "panic", fmt.Sprintf("%v %+v %s", err, err, err))
	require.Nil(t, subscriber.Permanent(nil))
}

func TestHandlerError_namesTheMessageOnly(t *testing.T) {
	t.Parallel()
	err := &subscriber.HandlerError{
		Header:   message.Header{Type: message.TypeMatchUpdates, ID: strings.Repeat("å", 1000), Channel: "c"},
		Attempts: 4, Err: errHandler,
	}
	require.Contains(t, err.Error(), `"match_updates" message "åå`)
	require.Contains(t, err.Error(), "not handled after 4 attempts: no calendar")
	require.Less(t, len(err.Error()), 200)
	require.True(t, utf8.ValidString(err.Error()))
}

func TestLane_panickingCallbacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{
			Logger:     logcheck.New(t),
			MaxRetries: -1,
			OnGap:      func(subscriber.Gap) { panic("gap") },
			OnResumed:  func(subscriber.Resumed) { panic("resumed") },
			OnError:    func(context.Context, *subscriber.HandlerError) { panic("error") },
		})
		require.NoError(t, err)
		got := failing(1)
		s.Handle(message.TypeProcessingStatus, got.handle)
		r := start(t, s)
		synctest.Wait()
		require.NoError(t, s.Restart(t.Context()))
		b.Publish(statusChannel, string(status(t, "a")))
		b.Publish(statusChannel, string(status(t, "b")))
		synctest.Wait()
		require.Equal(t, []string{"a", "b"}, got.IDs())
		require.EqualValues(t, 5, s.Stats().Panics) // 1 gap, 2 resumed, 2 errors
		require.NoError(t, r.stop())
	})
}

func TestOn_typedAndInvalidPayload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		logger, log := logcheck.NewLog(t)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{Logger: logger})
		require.NoError(t, err)
		var got []message.Message[custom]
		subscriber.On(s, func(_ context.Context, m message.Message[custom]) error { got = append(got, m); return nil })
		r := start(t, s)
		synctest.Wait()
		b.Publish(statusChannel, `{"message_id":"1","type":"processing_status","payload":{"count":"many"}}`)
		b.Publish(statusChannel, `{"message_id":"2","type":"processing_status","payload":{"count":7}}`)
		synctest.Wait()
		require.Len(t, got, 1)
		require.Equal(t, 7, got[0].Payload.Count)
		require.Equal(t, "2", got[0].ID)
		require.Equal(t, statusChannel, got[0].Channel)
		require.EqualValues(t, 1, s.Stats().Invalid)
		require.Zero(t, s.Stats().Failed)
		require.Equal(t, 1, log.Count("invalid message"))
		_, err = s.Dispatch(t.Context(), "", []byte(`{"message_id":"1","type":"processing_status","payload":{"count":"many"}}`))
		require.ErrorIs(t, err, message.ErrInvalid)
		require.NoError(t, r.stop())
	})
}

// custom is a payload of the user's own.
type custom struct {
	Count int `json:"count"`
}

func (custom) MessageType() message.Type { return message.TypeProcessingStatus }
func (custom) Validate() error           { return nil }

func TestLane_concurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := &recorder{do: func(context.Context, string) error { time.Sleep(time.Second); return nil }}
		b, r, _ := box(t, subscriber.Options{Concurrency: 3}, got.handle)
		for i := range 7 {
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
		}
		synctest.Wait()
		require.Len(t, got.IDs(), 3)
		require.EqualValues(t, 3, r.Status().Lanes[0].Handling)
		require.Equal(t, 4, r.Status().Lanes[0].Queued)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, got.IDs(), 6)
		require.NoError(t, r.stop())
		require.Len(t, got.IDs(), 7)
	})
}

func TestLane_otherLanesGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newRedisBox(t)
		s, err := subscriber.New(connect(t, b.options()), subscriber.Options{QueueMessages: 2, Logger: logcheck.New(t)})
		require.NoError(t, err)
		release := make(chan struct{})
		slow := &recorder{do: func(context.Context, string) error { <-release; return nil }}
		var alerts recorder
		s.Handle(message.TypeProcessingStatus, slow.handle)
		s.Handle(message.TypeSystemAlert, alerts.handle)
		r := start(t, s)
		synctest.Wait()
		for i := range 4 { // in its handler, two queued, in the reader's hand
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
		}
		synctest.Wait()
		lanes := s.Status().Lanes
		require.Equal(t, 2, lanes[0].Queued, "the reader waits")
		b.Publish(alertChannel, string(encode(t, message.Header{ID: "a"}, message.SystemAlert{AlertType: "x"})))
		synctest.Wait()
		require.Equal(t, []string{"a"}, alerts.IDs())

		time.Sleep(time.Minute) // much longer than the read deadline
		require.Equal(t, subscriber.StateSubscribed, s.Status().State, "a slow handler is no dead peer")
		close(release)
		synctest.Wait()
		require.Len(t, slow.IDs(), 4)
		require.Zero(t, s.Stats().Gaps)
		require.NoError(t, r.stop())
	})
}

func TestLane_boundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := &recorder{do: func(context.Context, string) error { <-release; return nil }}
		b, r, _ := box(t, subscriber.Options{QueueBytes: 100_000}, got.handle)
		big := func(id string, size int) string {
			return string(encode(t, message.Header{ID: id}, message.ProcessingStatus{Status: strings.Repeat("s", size)}))
		}
		for i, size := range []int{10, 200_000, 60_000, 60_000} { // in the handler, alone, waits, unread
			b.Publish(statusChannel, big(fmt.Sprint(i), size))
			synctest.Wait()
		}
		require.Equal(t, 1, r.Status().Lanes[0].Queued)
		require.Greater(t, r.Status().Lanes[0].QueuedBytes, int64(200_000))
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"0", "1", "2", "3"}, got.IDs())
		require.NoError(t, r.stop())
	})
}

func TestDrain_finishesWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ctxErr error
		got := &recorder{do: func(ctx context.Context, _ string) error { time.Sleep(time.Second); ctxErr = ctx.Err(); return nil }}
		b, r, e := box(t, subscriber.Options{QueueMessages: 3}, got.handle)
		for i := range 5 { // one in its handler, three queued, one in the reader's hand
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
			synctest.Wait()
		}
		require.NoError(t, r.stop())
		require.Equal(t, []string{"0", "1", "2", "3", "4"}, got.IDs())
		require.NoError(t, ctxErr)
		require.Empty(t, e.Errors())
		require.Empty(t, e.Gaps())
	})
}

func TestDrain_bound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error
		got := &recorder{do: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}}
		b, r, e := box(t, subscriber.Options{DrainTimeout: 3 * time.Second}, got.handle)
		for i := range 4 {
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
		}
		dispatched := make(chan error)
		go func() {
			_, err := r.Dispatch(context.Background(), "", status(t, "http"))
			dispatched <- err
		}()
		synctest.Wait()
		before := time.Now()
		err := r.stop()
		require.Equal(t, 3*time.Second, time.Since(before))
		require.ErrorIs(t, err, subscriber.ErrDrainTimeout)
		require.ErrorContains(t, err, "5 messages")
		require.ErrorIs(t, cause, subscriber.ErrDrainTimeout)
		require.ErrorIs(t, <-dispatched, message.ErrBusy, "it can be sent again")
		require.Len(t, e.Errors(), 5)
		for _, failure := range e.Errors() {
			require.ErrorIs(t, failure, subscriber.ErrDrainTimeout)
		}
		require.Equal(t, []string{"0"}, got.IDs())

		// What was left is no duplicate in the next Run.
		got.do = nil
		again := start(t, r.Subscriber)
		synctest.Wait()
		for i := range 4 {
			b.Publish(statusChannel, string(status(t, fmt.Sprint(i))))
		}
		synctest.Wait()
		require.Len(t, got.IDs(), 5)
		require.NoError(t, again.stop())
	})
}

func TestDrain_handlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := &recorder{do: func(context.Context, string) error { <-release; return nil }}
		b, r, e := box(t, subscriber.Options{DrainTimeout: -1}, got.handle)
		b.Publish(statusChannel, string(status(t, "stuck")))
		b.Publish(statusChannel, string(status(t, "queued")))
		synctest.Wait()
		before := time.Now()
		err := r.stop()
		require.Equal(t, time.Second, time.Since(before))
		require.ErrorIs(t, err, subscriber.ErrDrainTimeout)
		require.ErrorContains(t, err, "1 messages not handled, 1 handlers still running")
		require.Len(t, e.Errors(), 1)
		close(release)
	})
}

func TestDrain_endsAWaitForARetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := failing(1000)
		_, r, e := box(t, subscriber.Options{MaxRetries: 1000, DrainTimeout: time.Minute, DispatchTimeout: time.Hour}, got.handle)
		go r.Dispatch(context.Background(), "", status(t, "x"))
		synctest.Wait()
		before := time.Now()
		require.ErrorIs(t, r.stop(), subscriber.ErrDrainTimeout)
		require.Equal(t, time.Minute, time.Since(before))
		require.Len(t, e.Errors(), 1)
		require.ErrorIs(t, e.Errors()[0], errHandler)
	})
}

package subscriber_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// What its publisher posts because too few heard it is left to the stream, by
// whichever instance gets it.
func TestSubscriber_Dispatch_ofWhatIsInTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var first, second recorder
		wait := make(chan struct{})
		first.do = func(context.Context, string) error { <-wait; return nil }
		holder, _ := member(t, b.options(), inGroup(), first.handle)
		time.Sleep(time.Second)
		other, _ := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Second)
		appendAll(t, client, 1, 3, 0)
		synctest.Wait()
		for _, r := range []*running{holder, other} {
			for _, id := range numbered(1, 3) {
				a := <-dispatch(t, r.Subscriber, marked(t, id))
				require.NoError(t, a.err, "at once: the handler of the first one runs")
				require.Equal(t, message.Result{Type: message.TypeProcessingStatus, MessageID: id}, a.Result)
			}
			require.EqualValues(t, 6, r.Stats().LeftToStream)
		}
		close(wait)
		synctest.Wait()
		require.Equal(t, numbered(1, 3), first.IDs())
		a := <-dispatch(t, holder.Subscriber, marked(t, numberedID(2)))
		require.NoError(t, a.err)
		require.True(t, a.Duplicate)
		require.NoError(t, holder.stop())
		require.NoError(t, other.stop())
		require.Empty(t, second.IDs())
	})
}

// The sender may mean another Redis than ours.
func TestSubscriber_Dispatch_notInTheStreamThoughItSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := bubbleBox(t)
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		require.NoError(t, (<-dispatch(t, r.Subscriber, marked(t, "elsewhere"))).err)
		require.Equal(t, []string{"elsewhere"}, got.IDs())

		b.cut(true)
		a := <-dispatch(t, r.Subscriber, marked(t, "who knows"))
		require.ErrorIs(t, a.err, message.ErrBusy, "its sender may try again")
		require.ErrorContains(t, a.err, "stream")
		require.EqualValues(t, 1, r.Stats().Withdrawn)
		b.refuse(false)
		require.NoError(t, r.stop())
		require.Equal(t, []string{"elsewhere"}, got.IDs())
		for _, gap := range e.Gaps() {
			require.Equal(t, subscriber.CauseConnection, gap.Cause)
		}

		_, plain, _ := box(t, subscriber.Options{}, got.handle)
		require.NoError(t, (<-dispatch(t, plain.Subscriber, marked(t, "plain"))).err)
		require.Equal(t, []string{"elsewhere", "plain"}, got.IDs())
		require.NoError(t, plain.stop())
	})
}

// stepwise is a handler whose calls end when the test says so.
type stepwise struct {
	recorder
	mu    sync.Mutex
	calls []chan error
	now   int // calls running
	most  int
}

func (s *stepwise) handle(ctx context.Context, e *message.Envelope) error {
	_ = s.recorder.handle(ctx, e)
	end := make(chan error, 1)
	s.mu.Lock()
	s.calls = append(s.calls, end)
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	select {
	case err := <-end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the nth call.
func (s *stepwise) end(n int, err error) {
	s.mu.Lock()
	call := s.calls[n]
	s.mu.Unlock()
	call <- err
	synctest.Wait()
}

// One message by HTTP and from the stream, in one process: it is handled once,
// whichever copy comes first and whatever becomes of that, with one worker and
// with two.
func TestDurable_sameMessageByHTTP(t *testing.T) {
	t.Parallel()
	id := numberedID(1)
	type parts struct {
		*running
		t       *testing.T
		h       *stepwise
		add     func() // to the stream
		network *redisBox
	}
	post := func(p parts) <-chan answer { return dispatch(p.t, p.Subscriber, status(p.t, id)) }
	for name, story := range map[string]struct {
		play  func(p parts)
		calls int
	}{
		"HTTP first": {func(p parts) {
			a := post(p)
			p.h.end(0, nil)
			require.NoError(p.t, (<-a).err)
			p.add()
		}, 1},
		"stream first": {func(p parts) {
			p.add()
			p.h.end(0, nil)
			require.True(p.t, (<-post(p)).Duplicate)
		}, 1},
		"HTTP in its handler": {func(p parts) {
			a := post(p)
			p.add()
			p.h.end(0, nil)
			require.NoError(p.t, (<-a).err)
		}, 1},
		"stream in its handler": {func(p parts) {
			p.add()
			a := post(p)
			require.Empty(p.t, a)
			p.h.end(0, nil)
			require.True(p.t, (<-a).Duplicate)
		}, 1},
		"HTTP failed": {func(p parts) {
			a := post(p)
			p.add()
			p.h.end(0, subscriber.Permanent(errHandler))
			require.ErrorIs(p.t, (<-a).err, errHandler)
			p.h.end(1, nil)
		}, 2},
		"stream fails until the request ends": {func(p parts) {
			p.add()
			a := post(p)
			p.h.end(0, errHandler)
			time.Sleep(25 * time.Second)
			require.ErrorIs(p.t, (<-a).err, message.ErrBusy)
			p.h.end(1, nil)
			require.True(p.t, (<-post(p)).Duplicate, "sent again")
		}, 2},
		"stream becomes a dead letter": {func(p parts) {
			p.add()
			a := post(p)
			p.h.end(0, subscriber.Permanent(errHandler))
			p.h.end(1, nil)
			require.NoError(p.t, (<-a).err)
		}, 2},
		"lease lost in the stream's handler": {func(p parts) {
			p.add()
			a := post(p)
			p.network.cut(true)
			time.Sleep(10 * time.Second) // its context ends, that of HTTP does not
			p.h.end(1, nil)
			require.NoError(p.t, (<-a).err)
			p.network.refuse(false)
		}, 2},
		"lease lost while HTTP is in its handler": {func(p parts) {
			a := post(p)
			p.add()
			p.network.cut(true)
			time.Sleep(10 * time.Second)
			p.h.end(0, nil)
			require.NoError(p.t, (<-a).err)
			p.network.refuse(false)
		}, 1},
		"handled although the lease was lost": {func(p parts) {
			p.add()
			p.h.end(0, nil)
			p.network.cut(true)
			time.Sleep(20 * time.Second)
			require.True(p.t, (<-post(p)).Duplicate)
			p.network.refuse(false)
		}, 1},
	} {
		for workers := 1; workers <= 2; workers++ {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b, client := bubbleBox(t)
					network := &redisBox{Miniredis: b.Miniredis}
					h := &stepwise{}
					o := inGroup()
					o.Concurrency = workers
					r, _ := member(t, network.options(), o, h.handle)
					time.Sleep(time.Second)
					story.play(parts{r, t, h, func() {
						appendAll(t, client, 1, 1, 0)
						synctest.Wait()
					}, network})
					time.Sleep(time.Minute)
					require.Len(t, h.IDs(), story.calls)
					require.Equal(t, 1, h.most, "never two handlers at once")
					require.Zero(t, pending(t, client), "the entry is settled")
					require.NoError(t, r.stop())
				})
			})
		}
	}
}

// Another instance does not know what came by HTTP here.
func TestDurable_sameMessageByHTTPToAnotherInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		var first, second recorder
		holder, _ := member(t, b.options(), inGroup(), first.handle)
		time.Sleep(time.Second)
		other, _ := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Second)
		require.NoError(t, (<-dispatch(t, other.Subscriber, status(t, numberedID(1)))).err)
		appendAll(t, client, 1, 1, 0)
		time.Sleep(time.Second)
		require.Equal(t, numbered(1, 1), first.IDs())
		require.Equal(t, numbered(1, 1), second.IDs())
		require.NoError(t, holder.stop())
		require.NoError(t, other.stop())
	})
}

package subscriber_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

var errSource = errors.New("no answer from the match list")

// source is a match list that is polled.
type source struct {
	mu    sync.Mutex
	raw   string
	err   error
	do    func(ctx context.Context) // before it answers
	times []time.Time
}

func (s *source) fetch(ctx context.Context) (message.MatchUpdates, error) {
	s.mu.Lock()
	s.times = append(s.times, time.Now())
	raw, err, do := s.raw, s.err, s.do
	s.mu.Unlock()
	if do != nil {
		do(ctx)
	}
	if err != nil {
		return message.MatchUpdates{}, err
	}
	return message.MatchUpdates{Matches: []message.Match{{Raw: []byte(raw)}}}, ctx.Err()
}

func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// calls tells how long after began the source was asked.
func (s *source) calls(began time.Time) (after []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.times {
		after = append(after, at.Sub(began))
	}
	return after
}

// matchLog is a handler of match updates that keeps the JSON of their matches
// and how they came.
type matchLog struct {
	mu  sync.Mutex
	got []string
	err error
}

func (m *matchLog) handle(_ context.Context, e *message.Envelope) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, raw := range e.RawMatches() {
		m.got = append(m.got, string(e.Via)+" "+string(raw))
	}
	return m.err
}

func (m *matchLog) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.got...)
}

func (m *matchLog) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// polling starts a Subscriber that polls, on a Redis that is up unless it is
// told to be down.
func polling(t *testing.T, o subscriber.Options, down bool) (*redisBox, *running, *source, *matchLog) {
	t.Helper()
	b := newRedisBox(t)
	b.refuse(down)
	list, got := &source{raw: `{"matchid":1}`}, &matchLog{}
	o.Poll.Source = list.fetch
	if o.Logger == nil {
		o.Logger = logcheck.New(t)
	}
	conn := b.options()
	conn.Dialer = topology.Quiet(conn.Dialer) // as the root does
	s, err := subscriber.New(connect(t, conn), o)
	require.NoError(t, err)
	s.Handle(message.TypeMatchUpdates, got.handle)
	r := start(t, s)
	synctest.Wait()
	return b, r, list, got
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestPoll_disabled_pollsFromTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, r, list, got := polling(t, subscriber.Options{Disabled: true}, true)
		require.Equal(t, []string{`poll {"matchid":1}`}, got.all())
		require.True(t, r.Status().Polling)
		pass(12 * time.Minute)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 10 * time.Minute}, list.calls(began))
		require.Equal(t, []string{`poll {"matchid":1}`}, got.all(), "the same content is handled once")
		require.NoError(t, r.stop())
		require.False(t, r.Status().Polling)
		st := r.Stats()
		require.EqualValues(t, 3, st.Polls)
		require.EqualValues(t, 2, st.PollsSkipped)
		require.EqualValues(t, 1, st.Handled)
		require.Equal(t, st.Received, st.Handled)
	})
}

func TestPoll_redisIsThere_neverPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, list, _ := polling(t, subscriber.Options{}, false)
		pass(time.Hour)
		b.cut(false) // and is back at once
		pass(time.Hour)
		require.Empty(t, list.calls(time.Now()))
		require.NoError(t, r.stop())
	})
}

func TestPoll_awayLongerThanTheBound_untilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, list, got := polling(t, subscriber.Options{Poll: subscriber.PollOptions{After: 2 * time.Minute, Interval: time.Minute}}, false)
		b.cut(true)
		synctest.Wait()
		began := time.Now()
		pass(119 * time.Second)
		require.Empty(t, list.calls(began))
		require.False(t, r.Status().Polling)
		pass(61 * time.Second)
		require.Equal(t, []time.Duration{2 * time.Minute, 3 * time.Minute}, list.calls(began))
		require.True(t, r.Status().Polling)

		list.set(func(s *source) { s.raw = `{"matchid":2}` })
		b.refuse(false)
		require.NoError(t, r.Subscribed(t.Context()))
		synctest.Wait()
		require.Len(t, list.calls(began), 3, "a last time, for what was published before the return")
		require.False(t, r.Status().Polling)
		pass(time.Hour)
		require.Len(t, list.calls(began), 3)
		require.Equal(t, []string{`poll {"matchid":1}`, `poll {"matchid":2}`}, got.all())

		// A second outage is polled as the first one.
		b.cut(true)
		pass(2*time.Minute + time.Second)
		require.Len(t, list.calls(began), 4)
		require.Len(t, got.all(), 2, "nothing has come since")
		require.NoError(t, r.stop())
	})
}

func TestPoll_redisNeverThere_pollsAfterTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			after, first time.Duration
			durable      subscriber.DurableOptions
		}{
			{0, time.Minute, subscriber.DurableOptions{}},
			{-1, 0, subscriber.DurableOptions{}},
			{0, time.Minute, subscriber.DurableOptions{Group: "calendar", Auto: true}},
		} {
			began := time.Now()
			_, r, list, got := polling(t, subscriber.Options{Poll: subscriber.PollOptions{After: test.after}, Durable: test.durable}, true)
			pass(2 * time.Minute)
			require.Equal(t, []time.Duration{test.first}, list.calls(began))
			require.Len(t, got.all(), 1)
			require.NoError(t, r.stop())
		}
	})
}

func TestPoll_content(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r, list, got := polling(t, subscriber.Options{Disabled: true}, true)
		poll := func(raw string) int {
			before := len(got.all())
			list.set(func(s *source) { s.raw = raw })
			pass(5 * time.Minute)
			return len(got.all()) - before
		}
		require.Equal(t, 1, poll(`{"matchid":1,"tid":"18:00","publik":1.0}`))
		require.Equal(t, 0, poll(`{"tid": "18:00", "publik": 1.0, "matchid": 1}`), "key order and spaces are no change")
		require.Equal(t, 1, poll(`{"matchid":1,"tid":"18:00","publik":1.00}`), "numbers by their text")
		require.Equal(t, 1, poll(`{"matchid":1,"tid":"19:00"}`))
		require.Equal(t, 1, poll(`{"matchid":1,"tid":"18:00"}`), "back to an earlier state")

		// With a message of another route in between the same content counts.
		body := encode(t, message.Header{}, message.MatchUpdates{Matches: []message.Match{{Raw: []byte(`{"matchid":9}`)}}})
		_, err := r.Dispatch(t.Context(), "/manual-sync", body)
		require.NoError(t, err)
		require.Equal(t, 1, poll(`{"matchid":1,"tid":"18:00"}`))
		require.Equal(t, 0, poll(`{"matchid":1,"tid":"18:00"}`))
		require.NoError(t, r.stop())
	})
}

func TestPoll_overtaken_isDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r, list, got := polling(t, subscriber.Options{Disabled: true}, true)
		list.set(func(s *source) {
			s.raw = `{"matchid":2,"old":true}`
			s.do = func(context.Context) { time.Sleep(10 * time.Second) }
		})
		pass(5*time.Minute + 5*time.Second)
		body := encode(t, message.Header{}, message.MatchUpdates{Matches: []message.Match{{Raw: []byte(`{"matchid":2}`)}}})
		_, err := r.Dispatch(t.Context(), "", body)
		require.NoError(t, err)
		pass(time.Minute)
		require.Equal(t, []string{`poll {"matchid":1}`, `http {"matchid":2}`}, got.all())
		require.EqualValues(t, 1, r.Stats().PollsSkipped)
		require.NoError(t, r.stop())
	})
}

func TestPoll_handlerFails_theSameContentComesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r, list, got := polling(t, subscriber.Options{Disabled: true, MaxRetries: -1}, true)
		got.fail(errHandler)
		list.set(func(s *source) { s.raw = `{"matchid":2}` })
		pass(10 * time.Minute)
		require.Len(t, got.all(), 1+2)
		got.fail(nil)
		pass(10 * time.Minute)
		require.Len(t, got.all(), 1+3)
		require.EqualValues(t, 2, r.Stats().Failed)
		require.Zero(t, r.Stats().PollFailures, "the source did its part")

		got.fail(subscriber.Permanent(errHandler))
		list.set(func(s *source) { s.raw = `{"matchid":3}` })
		pass(20 * time.Minute)
		require.Len(t, got.all(), 1+3+1, "another attempt is of no use")
		require.NoError(t, r.stop())
	})
}

func TestPoll_slowHandler_isNotCalledTwiceForOneContent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		list := &source{raw: `{"matchid":1}`}
		s, err := subscriber.New(nil, subscriber.Options{Disabled: true, Logger: logcheck.New(t), Poll: subscriber.PollOptions{Source: list.fetch}})
		require.NoError(t, err)
		s.Handle(message.TypeMatchUpdates, func(context.Context, *message.Envelope) error {
			calls++
			time.Sleep(time.Minute) // longer than a Dispatch waits
			return nil
		})
		r := start(t, s)
		pass(20 * time.Minute)
		require.Equal(t, 1, calls)
		require.NoError(t, r.stop())
	})
}

func TestPoll_sourceFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*source){
		"error":   func(s *source) { s.err = errSource },
		"panic":   func(s *source) { s.do = func(context.Context) { panic("marta@example.com") } },
		"goexit":  func(s *source) { s.do = func(context.Context) { runtime.Goexit() } },
		"invalid": func(s *source) { s.raw = `["marta@example.com"]` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				logger, log := logcheck.NewLog(t)
				_, r, list, got := polling(t, subscriber.Options{Disabled: true, Logger: logger, Poll: subscriber.PollOptions{Interval: time.Minute}}, true)
				list.set(fail)
				began := time.Now()
				pass(4 * time.Minute)
				require.Equal(t, []time.Duration{0, 60 * time.Second, 70 * time.Second, 90 * time.Second, 130 * time.Second, 190 * time.Second}, list.calls(began),
					"soon again, then as often as otherwise")
				require.EqualValues(t, 5, r.Stats().PollFailures)
				require.Equal(t, 5, log.Count("polling for match updates failed"))
				list.set(func(s *source) { s.err, s.do, s.raw = nil, nil, `{"matchid":2}` })
				pass(time.Minute)
				require.Equal(t, []string{`poll {"matchid":1}`, `poll {"matchid":2}`}, got.all())

				list.set(fail)
				pass(5 * time.Hour)
				require.Less(t, log.Count("polling for match updates failed"), 5+20+5*60+1)
				require.NoError(t, r.stop())
			})
		})
	}
}

func TestPoll_sourceBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r, list, got := polling(t, subscriber.Options{Disabled: true}, true)
		began := time.Now()
		list.set(func(s *source) { s.do = func(ctx context.Context) { <-ctx.Done() } })
		pass(6*time.Minute + time.Second)
		require.EqualValues(t, 1, r.Stats().PollFailures, "its context ended after a minute")
		require.Equal(t, []time.Duration{0, 5 * time.Minute}, list.calls(began))

		release := make(chan struct{})
		list.set(func(s *source) { s.do = func(context.Context) { <-release } })
		pass(10 * time.Second)
		require.Len(t, list.calls(began), 3)
		pass(time.Hour)
		require.Len(t, list.calls(began), 3, "two calls never overlap")
		require.EqualValues(t, 2, r.Stats().PollFailures)
		_, err := r.Dispatch(t.Context(), "", encode(t, message.Header{}, message.MatchUpdates{}))
		require.NoError(t, err, "nothing else waits for it")

		list.set(func(s *source) { s.do, s.raw = nil, `{"matchid":2}` })
		close(release)
		pass(5 * time.Minute)
		require.Equal(t, []string{`poll {"matchid":1}`, `poll {"matchid":2}`}, got.all())
		require.EqualValues(t, 2, r.Stats().PollFailures)

		// Run waits for a source that heeds its context, and not for another.
		list.set(func(s *source) { s.do = func(ctx context.Context) { <-ctx.Done() } })
		pass(5 * time.Minute)
		require.NoError(t, r.stop())
	})
}

func TestPoll_sourceThatHeedsNoContext_doesNotKeepRun(t *testing.T) {
	t.Parallel()
	for _, blocked := range []time.Duration{time.Second, time.Hour} {
		t.Run(blocked.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				_, r, list, _ := polling(t, subscriber.Options{Disabled: true}, true)
				list.set(func(s *source) { s.do = func(context.Context) { <-release } })
				pass(5*time.Minute + blocked)
				before := time.Now()
				require.ErrorContains(t, r.stop(), "Poll.Source still runs")
				require.Equal(t, time.Second, time.Since(before))
				close(release)
			})
		})
	}
}

func TestPoll_withoutHandler_isAnError(t *testing.T) {
	t.Parallel()
	for _, disabled := range []bool{false, true} {
		t.Run(strconv.FormatBool(disabled), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, err := subscriber.New(connect(t, newRedisBox(t).options()), subscriber.Options{Disabled: disabled, Poll: subscriber.PollOptions{Source: (&source{}).fetch}})
				require.NoError(t, err)
				s.Handle(message.TypeProcessingStatus, func(context.Context, *message.Envelope) error { return nil })
				require.ErrorContains(t, s.Run(t.Context()), "match_updates has no handler")
			})
		})
	}
}

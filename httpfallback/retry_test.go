package httpfallback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
)

const pipeURL = "http://calendar:5003/manual-sync"

func TestClient_Notify_asksAgainAfterTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec)})
		notify := func() { require.NoError(t, c.Notify(t.Context(), snapshot(1))) }
		notify()
		time.Sleep(10*time.Minute - time.Second)
		rec.become(true, nil)
		notify() // still a part
		require.Len(t, rec.got(http.MethodOptions), 1)
		time.Sleep(time.Second)
		notify()
		require.Len(t, rec.got(http.MethodOptions), 2)
		id := snapshot(1).ID
		require.Equal(t, []string{id + "/1", id + "/1", id}, rec.keys())
	})
}

func TestClient_Notify_retryAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		header func() string
		wait   time.Duration
	}{
		{"seconds", func() string { return "7" }, 7 * time.Second},
		{"date", func() string { return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat) }, 9 * time.Second},
		{"a minute", func() string { return "60" }, time.Minute},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(row.name, status), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
						if n == 1 {
							w.Header().Set("Retry-After", row.header())
							w.WriteHeader(status)
							return
						}
						io.WriteString(w, success)
					}}
					c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), RetryDelay: time.Second, Timeout: 2 * time.Minute})
					start := time.Now()
					require.NoError(t, c.Notify(t.Context(), snapshot(1)))
					require.Equal(t, row.wait, time.Since(start))
				})
			})
		}
	}
}

// What cannot be waited for ends the attempts at once, and the error says when
// to come back.
func TestClient_Notify_retryAfterTooLong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		header          string
		timeout, caller time.Duration
		says            string
	}{
		{"5", 0, time.Hour, "it asks for a retry in 5s"},
		{"60", 0, time.Hour, "it asks for a retry in 1m0s"},
		{"61", time.Minute, time.Hour, "it asks for a retry in 1m1s"},
		{"30", time.Hour, 20 * time.Second, "it asks for a retry in 30s"},
		{"30", -1, 20 * time.Second, "it asks for a retry in 30s"},
		{"2147483648", time.Hour, 20 * time.Second, "it asks for a retry in 596523h14m8s"},
		{"99999999999999999999999", time.Hour, 20 * time.Second, "it asks for a retry in 2562047h47m16s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
				w.Header().Set("Retry-After", row.header)
				w.WriteHeader(503)
			}}
			c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Timeout: row.timeout})
			ctx, cancel := context.WithTimeout(t.Context(), row.caller)
			defer cancel()
			start := time.Now()
			err := c.Notify(ctx, snapshot(1))
			require.Equal(t, 1, failed(t, err).Attempts)
			require.ErrorContains(t, err, row.says)
			require.NotErrorIs(t, err, message.ErrRefused)
			require.Zero(t, time.Since(start))
		})
	}
}

// A receiver that asks for patience again and again gets it within the bound.
func TestClient_Notify_retryAfterWithinTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(503)
		}}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Retries: 100})
		start := time.Now()
		require.Equal(t, 3, failed(t, c.Notify(t.Context(), snapshot(1))).Attempts)
		require.Equal(t, 4*time.Second, time.Since(start))
	})
}

// Full jitter: each wait is below a bound that doubles from RetryDelay to 10 s.
func TestClient_Notify_backoff(t *testing.T) {
	t.Parallel()
	bounds := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}
	var longest [6]time.Duration
	for range 40 {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
				at = append(at, time.Now())
				w.WriteHeader(500)
			}}
			c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Retries: len(bounds), RetryDelay: time.Second, Timeout: -1})
			failed(t, c.Notify(t.Context(), snapshot(1)))
			require.Len(t, at, len(bounds)+1)
			for i, bound := range bounds {
				wait := at[i+1].Sub(at[i])
				require.Less(t, wait, bound)
				longest[i] = max(longest[i], wait)
			}
		})
	}
	for i, bound := range bounds {
		require.Greater(t, longest[i], bound/2, "in 40 runs a wait comes near its bound")
	}
}

// A receiver that hangs costs one bound, however many retries are left and
// whether its form is known or not.
func TestClient_Notify_hungReceiverCostsOneTimeout(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ set, want time.Duration }{{0, 4500 * time.Millisecond}, {40 * time.Second, 40 * time.Second}} {
		for _, whole := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				rec := &recorder{whole: whole, answer: func(http.ResponseWriter, int, request) { time.Sleep(time.Hour) }}
				c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Timeout: row.set, Retries: 100})
				for range 2 {
					start := time.Now()
					err := c.Notify(t.Context(), snapshot(3))
					require.Equal(t, row.want, time.Since(start))
					require.ErrorContains(t, err, "gave no answer within "+row.want.String())
					require.ErrorContains(t, err, "FOGIS_FALLBACK_TIMEOUT")
					require.NotErrorIs(t, err, context.DeadlineExceeded, "that is the caller's deadline")
					require.NotErrorIs(t, err, message.ErrRefused)
					require.Equal(t, 1, failed(t, err).Attempts)
				}
				time.Sleep(3 * time.Hour)
			})
		}
	}
}

// The two bounds of a Publish with both routes down, the Redis budget and this
// one, are together what docs/guarantees.md promises.
func TestClient_Notify_timeoutLeavesRoomForTheRedisBudget(t *testing.T) {
	t.Parallel()
	settings := config.Config{}.WithDefaults()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(http.ResponseWriter, int, request) { time.Sleep(time.Hour) }}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec)})
		start := time.Now()
		require.Error(t, c.Notify(t.Context(), snapshot(1)))
		took := time.Since(start)
		require.Equal(t, settings.Fallback.Timeout, took, "one default")
		require.Less(t, settings.Redis.ConnectionTimeout+took, 10*time.Second)
		time.Sleep(2 * time.Hour)
	})
}

// Many parts that each take their time are no receiver that hangs.
func TestClient_Notify_timeoutBeginsAgainWithEachAcceptedPart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
			time.Sleep(4 * time.Second)
			if n == 6 {
				time.Sleep(time.Hour)
			}
			io.WriteString(w, success)
		}}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec)})
		start := time.Now()
		require.NoError(t, c.Notify(t.Context(), snapshot(5)))
		require.Equal(t, 20*time.Second, time.Since(start))
		start = time.Now()
		e := failed(t, c.Notify(t.Context(), snapshot(5)))
		require.Equal(t, [3]int{1, 5, 0}, [3]int{e.Part, e.Of, e.Accepted})
		require.Equal(t, 4500*time.Millisecond, time.Since(start))
		time.Sleep(2 * time.Hour)
	})
}

func TestClient_Notify_callersContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
			if n == 2 {
				time.Sleep(20 * time.Second)
			}
			io.WriteString(w, success)
		}}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Timeout: -1})
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("of the caller's own"))
		defer cancel()
		start := time.Now()
		err := c.Notify(ctx, snapshot(3))
		require.Equal(t, 5*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		e := failed(t, err)
		require.Equal(t, [3]int{2, 3, 1}, [3]int{e.Part, e.Of, e.Accepted})
		time.Sleep(time.Minute)
	})
}

func TestClient_Notify_callersContextEndsWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(503)
		}}
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec), Timeout: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		err := c.Notify(ctx, snapshot(1))
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 503, failed(t, err).Status)
	})
}

// A receiver that cannot be connected is given up in time to keep "Redis and
// the fallback are both down" below ten seconds.
func TestClient_Notify_connectionWindow(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"refused": func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		},
		"silent": func(ctx context.Context, _, _ string) (net.Conn, error) {
			// net/http ends no dial with its request, so it needs a bound.
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return nil, context.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials.Add(1)
					return dial(ctx, network, addr)
				}}
				c := client(t, pipeURL, httpfallback.Options{Transport: tr, Retries: 100, RetryDelay: time.Second})
				start := time.Now()
				err := c.Notify(t.Context(), snapshot(1))
				took := time.Since(start)
				require.ErrorContains(t, err, "cannot be connected")
				failed(t, err)
				require.LessOrEqual(t, took, 4*time.Second)
				require.Greater(t, dials.Load(), int32(1))
				if name == "refused" {
					require.ErrorIs(t, err, syscall.ECONNREFUSED)
				} else {
					require.GreaterOrEqual(t, took, 2*time.Second)
					time.Sleep(2 * time.Minute)
				}
			})
		})
	}
}

// The window holds as well for a client that need not ask.
func TestClient_Notify_connectionWindowOfAKnownReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		tr := bubble(t, &recorder{}).(*http.Transport)
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if silent.Load() {
				time.Sleep(time.Minute)
				return nil, context.DeadlineExceeded
			}
			return dial(ctx, network, addr)
		}
		c := client(t, pipeURL, httpfallback.Options{Transport: tr, Retries: 100, RetryDelay: time.Second})
		require.NoError(t, c.Notify(t.Context(), snapshot(1)))
		tr.CloseIdleConnections()
		silent.Store(true)
		start := time.Now()
		require.ErrorContains(t, c.Notify(t.Context(), snapshot(1)), "cannot be connected")
		require.LessOrEqual(t, time.Since(start), 4*time.Second)
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		time.Sleep(2 * time.Minute)
	})
}

// Once there was a connection the window is over: the receiver exists, and
// its restart is waited for.
func TestClient_Notify_connectionWindowEndsWithAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		start := time.Now()
		rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
			if n == 1 {
				down.Store(true)
				w.Header().Set("Connection", "close")
				w.WriteHeader(502)
				return
			}
			io.WriteString(w, success)
		}}
		tr := bubble(t, rec).(*http.Transport)
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() && time.Since(start) < 8*time.Second {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, addr)
		}
		c := client(t, pipeURL, httpfallback.Options{Transport: tr, Retries: 1000, RetryDelay: 100 * time.Millisecond, Timeout: time.Minute})
		require.NoError(t, c.Notify(t.Context(), snapshot(1)))
		require.GreaterOrEqual(t, time.Since(start), 8*time.Second)
	})
}

// A proxy before a receiver that is gone takes connections and cuts them; that
// is no reason to try for longer than the window.
func TestClient_Notify_connectionWindowOfCutConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := bubble(t, &recorder{}).(*http.Transport)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				far.Read(make([]byte, 1))
				far.Close()
			}()
			return near, nil
		}
		c := client(t, pipeURL, httpfallback.Options{Transport: tr, Retries: 1000, RetryDelay: 100 * time.Millisecond})
		start := time.Now()
		require.Error(t, c.Notify(t.Context(), snapshot(1)))
		require.LessOrEqual(t, time.Since(start), 4*time.Second)
		require.GreaterOrEqual(t, time.Since(start), time.Second, "it did try again")
	})
}

// OPTIONS costs nothing to answer, so a receiver that is silent there hangs.
func TestClient_Notify_silentOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var silence atomic.Int64
		silence.Store(int64(3 * time.Second))
		rec := &recorder{}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodOptions {
				time.Sleep(time.Duration(silence.Load()))
			}
			rec.ServeHTTP(w, r)
		})
		slow := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, h)})
		start := time.Now()
		require.NoError(t, slow.Notify(t.Context(), snapshot(2)))
		require.Equal(t, 3*time.Second, time.Since(start), "slow is not silent")

		silence.Store(int64(time.Hour))
		hung := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, h)})
		for range 2 {
			start = time.Now()
			err := hung.Notify(t.Context(), snapshot(2))
			require.Equal(t, 4*time.Second, time.Since(start))
			require.ErrorContains(t, err, "not even OPTIONS")
			failed(t, err)
		}
		require.Len(t, rec.keys(), 2, "of the first Notify")
		time.Sleep(2 * time.Hour)
	})
}

// What cuts OPTIONS off may still let POST through.
func TestClient_Notify_brokenOptions(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		rec := &recorder{whole: whole, answer: func(w http.ResponseWriter, _ int, r request) {
			if whole && strings.Contains(string(r.body), `"part"`) {
				w.WriteHeader(422)
				return
			}
			io.WriteString(w, success)
		}}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodOptions {
				panic(http.ErrAbortHandler)
			}
			rec.ServeHTTP(w, r)
		})
		m := snapshot(2)
		require.NoError(t, client(t, serve(t, h), httpfallback.Options{}).Notify(t.Context(), m))
		if whole {
			require.Equal(t, []string{m.ID + "/1", m.ID}, rec.keys())
		} else {
			require.Equal(t, []string{m.ID + "/1", m.ID + "/2"}, rec.keys())
		}
	}
}

func TestClient_Notify_unconnectedOptionsIsNotRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{whole: true}
		tr := bubble(t, rec).(*http.Transport)
		dial := tr.DialContext
		var dials atomic.Int32
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, addr)
		}
		m := snapshot(2)
		require.NoError(t, client(t, pipeURL, httpfallback.Options{Transport: tr}).Notify(t.Context(), m))
		require.Equal(t, []string{m.ID}, rec.keys())
	})
}

// What the receiver answered says more than the attempt that the end of the time
// cut short, whichever part of that attempt it was.
func TestClient_Notify_lastAnswerIsToldWhenTheTimeRunsOut(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		says   string
		next   string // what the second attempt meets
	}{
		{599, "the receiver failed without a known answer", "no connection"},
		{503, "the receiver is busy or not ready", "no connection"},
		{503, "the receiver is busy or not ready", "no answer"},
		{429, "the receiver is busy or not ready", "no answer"},
	} {
		for _, caller := range []bool{false, true} { // whose deadline it is
			t.Run(fmt.Sprint(row.status, row.next, caller), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					defer time.Sleep(2 * time.Minute) // what sleeps ends
					rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
						if n > 1 {
							time.Sleep(time.Minute)
						}
						w.Header().Set("Retry-After", "3")
						w.Header().Set("Connection", "close")
						w.WriteHeader(row.status)
					}}
					tr := bubble(t, rec).(*http.Transport)
					dial := tr.DialContext
					tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if row.next == "no connection" && len(rec.keys()) > 0 {
							time.Sleep(time.Minute)
							return nil, context.DeadlineExceeded
						}
						return dial(ctx, network, addr)
					}
					opts := httpfallback.Options{Transport: tr}
					ctx := t.Context()
					if caller {
						opts.Timeout = -1
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 4500*time.Millisecond)
						defer cancel()
					}
					start := time.Now()
					err := client(t, pipeURL, opts).Notify(ctx, snapshot(3))
					require.Equal(t, 4500*time.Millisecond, time.Since(start))
					e := failed(t, err)
					require.Equal(t, row.status, e.Status)
					require.Equal(t, [2]int{1, 2}, [2]int{e.Part, e.Attempts})
					require.ErrorContains(t, err, row.says)
					require.ErrorContains(t, err, "before the next attempt was answered")
					require.NotContains(t, err.Error(), "cannot be connected")
					require.Equal(t, caller, errors.Is(err, context.DeadlineExceeded))
					require.NotErrorIs(t, err, message.ErrRefused)
				})
			})
		}
	}
}

// A part that comes when the time is over was not sent: the answer to the one
// before tells why.
func TestClient_Notify_lastAnswerIsToldWhenTheTimeRanOutWithAnEarlierPart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // what sleeps ends
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
			time.Sleep(4499 * time.Millisecond)
			w.WriteHeader(500)
		}}
		err := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, rec)}).Notify(t.Context(), snapshot(3))
		require.Equal(t, 500, failed(t, err).Status)
		require.ErrorContains(t, err, "the receiver failed")
		require.NotContains(t, err.Error(), "gave no answer")
	})
}

// A receiver that went away after its answer is told as what it is now, and what
// it answered beside it.
func TestClient_Notify_earlierAnswerIsToldBesideALaterFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(503)
		}}
		tr := bubble(t, rec).(*http.Transport)
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if len(rec.keys()) > 0 {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, addr)
		}
		err := client(t, pipeURL, httpfallback.Options{Transport: tr}).Notify(t.Context(), snapshot(1))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "cannot be connected")
		require.ErrorContains(t, err, "an earlier attempt was answered 503")
		failed(t, err)
	})
}

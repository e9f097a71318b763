package bench_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

const (
	adminRate       = 1000 // requests a second for /redis-status
	adminPages      = 100  // status pages open meanwhile
	adminWindow     = time.Second
	adminInFlight   = 2000 // messages published and not handled
	adminLeastRatio = 0.9
)

// TestAdmin_load measures what the endpoints cost the subscriber: the number of
// messages handled in a second at full speed, without callers, and with a
// thousand requests a second and a hundred open pages, one after the other. It
// judges the median of fifteen pairs or more. The callers are in the same
// process and take their share too.
func TestAdmin_load(t *testing.T) {
	server := realredis.Start(t)
	client, err := fogispubsub.New(config.Config{ServiceName: "calendar", Redis: config.Redis{URL: config.NewURL(server.URL())}}, fogispubsub.Options{Logger: logcheck.New(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	var handled atomic.Int64
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error { handled.Add(1); return nil })
	admin, err := client.AdminHandler(httpadmin.Options{AllowUnauthenticated: true})
	require.NoError(t, err)
	web := httptest.NewServer(admin)
	t.Cleanup(web.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	require.NoError(t, client.Subscribed(ctx))

	body, err := message.AppendEncode(nil, message.Header{ID: message.NewID(), Source: "processor"}, message.ProcessingStatus{Status: message.StatusCompleted})
	require.NoError(t, err)
	conn := redis.NewClient(server.Options())
	t.Cleanup(func() { _ = conn.Close() })
	var published int64
	rate := func() float64 {
		before, began := handled.Load(), time.Now()
		for time.Since(began) < adminWindow {
			if published-handled.Load() > adminInFlight {
				runtime.Gosched()
				continue
			}
			pipe := conn.Pipeline()
			for range 100 {
				published++
				pipe.Publish(ctx, message.ChannelProcessingStatus, withoutID(body, published))
			}
			_, err := pipe.Exec(ctx)
			require.NoError(t, err)
		}
		return float64(handled.Load()-before) / time.Since(began).Seconds()
	}
	rate() // warm

	before := runtime.NumGoroutine()
	var ratios []float64
	var asked atomic.Int64
	for range max(*pairs, 1) {
		alone := rate()
		calling, done := context.WithCancel(ctx)
		var callers sync.WaitGroup
		open := make(chan struct{}, adminPages)
		for range adminPages {
			callers.Go(func() { call(calling, web.URL+"/redis-dashboard/events", open) })
		}
		for range adminPages {
			<-open
		}
		for range 20 {
			callers.Go(func() {
				tick := time.NewTicker(20 * time.Second / adminRate)
				defer tick.Stop()
				for calling.Err() == nil {
					select {
					case <-tick.C:
						call(calling, web.URL+"/redis-status", nil)
						asked.Add(1)
					case <-calling.Done():
					}
				}
			})
		}
		began, count := time.Now(), asked.Load()
		with := rate()
		t.Logf("%.0f messages a second alone, %.0f with %.0f requests a second", alone, with, float64(asked.Load()-count)/time.Since(began).Seconds())
		ratios = append(ratios, with/alone)
		done()
		callers.Wait()
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	t.Logf("with callers %.2f times the messages, by median of %d pairs (wanted %.2f)", median, len(ratios), adminLeastRatio)
	if len(ratios) >= 15 {
		require.GreaterOrEqual(t, median, adminLeastRatio)
	}
	web.CloseClientConnections()
	http.DefaultClient.CloseIdleConnections()
	// The subscriber's own number varies by one or two; a caller's would be left
	// a hundred times.
	for deadline := time.Now().Add(15 * time.Second); runtime.NumGoroutine() > before+5; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			var left strings.Builder
			require.NoError(t, pprof.Lookup("goroutine").WriteTo(&left, 1))
			require.FailNow(t, "goroutines are left behind", "%d, before %d: %s", runtime.NumGoroutine(), before, &left)
		}
	}
	stop()
	require.NoError(t, <-ended)
}

// withoutID makes each message another one.
func withoutID(body []byte, n int64) []byte {
	changed := slices.Clone(body)
	at := 0
	for i := range changed {
		if changed[i] == '-' && i > 8 { // of the ID
			at = i - 8
			break
		}
	}
	const hex = "0123456789abcdef"
	for i := range 8 {
		changed[at+i] = hex[n&15]
		n >>= 4
	}
	return changed
}

// call makes one request and reads the answer to its end; open is told of its
// first byte.
func call(ctx context.Context, url string, open chan<- struct{}) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if open != nil {
		open <- struct{}{}
	}
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
}

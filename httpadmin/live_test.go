package httpadmin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/health"
)

// slow is a service whose health takes a second, as long as its context lasts.
type slow struct{ *source }

func (s slow) Health(ctx context.Context) health.Report {
	s.mu.Lock()
	s.reports++
	s.mu.Unlock()
	state := health.Healthy
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		state = health.Unhealthy
	}
	return health.NewReport(time.Now(), health.Check{Name: health.NameConnectivity, Status: state}, health.Check{Name: health.NamePubSub, Status: state})
}

// Who asks and hangs up ends his own wait alone: the report is for all.
func TestHandler_health_hangUpHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow{up()}
		h := newHandler(t, s, nil)
		ask := func(patience time.Duration) int {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/redis-health", nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			return w.Code
		}
		var callers sync.WaitGroup
		callers.Go(func() { require.Equal(t, 503, ask(100*time.Millisecond)) })
		for range 12 {
			callers.Go(func() {
				time.Sleep(200 * time.Millisecond)
				require.Equal(t, 200, ask(10*time.Second))
			})
		}
		callers.Wait()
		require.Equal(t, 200, ask(time.Second), "what he caused is not kept")
		require.Equal(t, 1, s.reports, "all shared it")
	})
}

// One client cannot take the places of all status pages.
func TestHandler_pages_areBoundedForEachClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, up(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var open sync.WaitGroup
		watch := func(remote string) *httptest.ResponseRecorder {
			req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/redis-dashboard/events", nil)
			req.RemoteAddr = remote
			w := httptest.NewRecorder()
			open.Go(func() { h.ServeHTTP(w, req) })
			synctest.Wait()
			return w
		}
		for range 20 {
			require.Equal(t, 200, watch("192.0.2.7:40000").Code)
			require.Equal(t, 200, watch("[2001:db8:0:1::7]:40000").Code)
		}
		require.Equal(t, 503, watch("192.0.2.7:40001").Code)
		require.Equal(t, 503, watch("[2001:db8:0:1:ffff::9]:40000").Code, "one customer's network is one client")
		require.Equal(t, 200, watch("192.0.2.8:40000").Code)
		cancel()
		open.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		require.Equal(t, 200, watch("192.0.2.7:40000").Code, "places are given back")
		cancel()
		open.Wait()
	})
}

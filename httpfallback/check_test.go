package httpfallback_test

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/message"
)

func TestClient_Check(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		text   string // "" = reachable
	}{
		{200, ""}, {204, ""}, {405, ""}, {501, ""}, {400, ""}, {415, ""},
		{407, "check the proxy"}, {410, "has no"}, {429, "not ready"}, {500, "failed"}, {507, "failed"}, {522, "failed"},
		{302, "redirects are not followed"}, {308, "redirects are not followed"},
		{401, "token"}, {403, "token"},
		{404, "an invalid REDIS_TIMEOUT"},
		{502, "a proxy cannot reach"}, {503, "not ready"}, {504, "a proxy cannot reach"},
	} {
		posted := false
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			posted = posted || r.Method != http.MethodOptions
			w.WriteHeader(row.status)
		}))
		err := client(t, url, httpfallback.Options{}).Check(t.Context())
		require.False(t, posted)
		if row.text == "" {
			require.NoError(t, err, row.status)
			continue
		}
		require.ErrorContains(t, err, row.text)
		require.Equal(t, row.status, failed(t, err).Status)
	}
}

// The token is proved by a request that changes nothing.
func TestClient_Check_handler(t *testing.T) {
	t.Parallel()
	dispatched := receiver(func(context.Context, string, []byte) (message.Result, error) {
		t.Error("a check was handled")
		return message.Result{}, nil
	})
	h := handler(t, dispatched, httpfallback.HandlerOptions{Token: config.NewSecret(token)})
	url := serve(t, h)
	require.NoError(t, client(t, url, httpfallback.Options{Token: config.NewSecret(token)}).Check(t.Context()))
	for _, wrong := range []string{"", "another"} {
		err := client(t, url, httpfallback.Options{Token: config.NewSecret(wrong)}).Check(t.Context())
		require.Equal(t, 401, failed(t, err).Status)
		require.ErrorContains(t, err, "set FOGIS_FALLBACK_TOKEN")
	}
	open := handler(t, dispatched, httpfallback.HandlerOptions{AllowUnauthenticated: true})
	require.NoError(t, client(t, serve(t, open), httpfallback.Options{}).Check(t.Context()))
}

func TestClient_Check_pythonCalendar(t *testing.T) {
	t.Parallel()
	cal := startCalendar(t)
	require.NoError(t, client(t, cal.url+"/manual-sync", httpfallback.Options{}).Check(t.Context()))
	require.ErrorContains(t, client(t, cal.url+"/sync", httpfallback.Options{}).Check(t.Context()), "404: the receiver has no /sync")
}

func TestClient_Check_unreachable(t *testing.T) {
	t.Parallel()
	err := client(t, "http://"+faultnet.Reserve(t)+"/manual-sync", httpfallback.Options{}).Check(t.Context())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	failed(t, err)
}

func TestClient_Check_silent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := bubble(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) }))
		c := client(t, pipeURL, httpfallback.Options{Transport: tr})
		start := time.Now()
		require.ErrorContains(t, c.Check(t.Context()), "not even OPTIONS")
		require.Equal(t, 4*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Check(ctx), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
		time.Sleep(2 * time.Hour)
	})
}

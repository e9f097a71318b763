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
)

func TestClient_Check(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		text   string // "" = reachable
	}{
		{200, ""}, {204, ""}, {405, ""}, {501, ""}, {400, ""},
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

func TestClient_Check_handler(t *testing.T) {
	t.Parallel()
	url := serve(t, handler(t, receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token)}))
	require.NoError(t, client(t, url, httpfallback.Options{Token: config.NewSecret(token)}).Check(t.Context()))
	for _, wrong := range []config.Secret{{}, config.NewSecret("guess")} {
		err := client(t, url, httpfallback.Options{Token: wrong}).Check(t.Context())
		require.ErrorContains(t, err, "token", "a POST would be refused")
		require.Equal(t, http.StatusUnauthorized, failed(t, err).Status)
	}
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

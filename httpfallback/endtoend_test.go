package httpfallback_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
)

func TestClient_Notify_toHandler(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	h := handler(t, receiver(func(_ context.Context, channel string, data []byte) (message.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, channel+" "+string(data))
		return message.Result{}, nil
	}), httpfallback.HandlerOptions{Token: config.NewSecret(token)})
	c := client(t, serve(t, h), httpfallback.Options{Token: config.NewSecret(token)})
	require.NoError(t, c.Notify(t.Context(), snapshot(40)))
	require.NoError(t, c.Notify(t.Context(), status()))
	require.Equal(t, []string{
		message.ChannelMatchUpdates + " " + string(snapshot(40).Body),
		message.ChannelProcessingStatus + " " + string(status().Body),
	}, got)
}

func TestClient_Notify_toHandler_outcomes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		err      error
		token    string
		attempts int
		status   int
		text     string
	}{
		{"failed", errors.New("x"), token, 3, 500, "handled none of the matches"},
		{"invalid", message.ErrInvalid, token, 1, 400, "cannot read"},
		{"wrong token", nil, "another", 1, 401, "set FOGIS_FALLBACK_TOKEN"},
		{"no token", nil, "", 1, 401, "set FOGIS_FALLBACK_TOKEN"},
	} {
		h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
			return message.Result{}, row.err
		}), httpfallback.HandlerOptions{Token: config.NewSecret(token)})
		c := client(t, serve(t, h), httpfallback.Options{Token: config.NewSecret(row.token)})
		err := c.Notify(t.Context(), snapshot(2))
		e := failed(t, err)
		require.Equal(t, [2]int{row.attempts, row.status}, [2]int{e.Attempts, e.Status}, row.name)
		require.ErrorContains(t, err, row.text)
		require.Equal(t, row.status == 400, errors.Is(err, message.ErrRefused))
	}
}

func TestClient_Notify_toHandler_busy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
			if calls++; calls <= 2 {
				return message.Result{}, message.ErrBusy
			}
			return message.Result{}, nil
		}), httpfallback.HandlerOptions{})
		c := client(t, pipeURL, httpfallback.Options{Transport: bubble(t, h)})
		start := time.Now()
		require.NoError(t, c.Notify(t.Context(), snapshot(2)))
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Equal(t, 3, calls)
	})
}

func TestClient_Notify_toHandler_overTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(handler(t, receiver(nil), httpfallback.HandlerOptions{}))
	t.Cleanup(s.Close)
	c := client(t, s.URL+"/manual-sync", httpfallback.Options{Transport: s.Client().Transport})
	require.NoError(t, c.Notify(t.Context(), snapshot(2)))

	c = client(t, s.URL+"/manual-sync", httpfallback.Options{Retries: -1})
	require.ErrorContains(t, c.Notify(t.Context(), snapshot(2)), "signed by an unknown authority")
}

// What TLS has against a receiver is named, and may pass.
func TestClient_Notify_overTLS_faults(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(&recorder{})
	t.Cleanup(secure.Close)
	plain := serve(t, &recorder{})
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, row := range []struct {
		name, url, text string
		config          *tls.Config
	}{
		{"authority", secure.URL, "signed by an unknown authority", nil},
		{"host", secure.URL, "for another host", &tls.Config{RootCAs: roots, ServerName: "calendar"}},
		{"expired", secure.URL, "has expired or is not valid yet", &tls.Config{RootCAs: roots, Time: func() time.Time { return time.Now().AddDate(200, 0, 0) }}},
		{"no TLS", strings.Replace(plain, "http:", "https:", 1), "does not speak TLS at this port", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, row.url, httpfallback.Options{Retries: -1, Transport: &http.Transport{TLSClientConfig: row.config}})
			for _, err := range []error{c.Notify(t.Context(), snapshot(1)), c.Check(t.Context())} {
				failed(t, err)
				require.ErrorContains(t, err, row.text)
				require.NotErrorIs(t, err, message.ErrRefused)
			}
		})
	}
}

func TestClient_Notify_concurrently(t *testing.T) {
	t.Parallel()
	rec := &recorder{whole: true}
	c := client(t, serve(t, rec), httpfallback.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if err := c.Notify(t.Context(), snapshot(2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, rec.got(http.MethodPost), 40)
}

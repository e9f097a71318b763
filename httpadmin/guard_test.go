package httpadmin_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

func synced(o *httpadmin.Options) {
	o.ManualSync = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
}

// A page whose own name leads here is of the same origin for its browser: the
// name tells, and only who shows the token may use any.
func TestHandler_hosts(t *testing.T) {
	t.Parallel()
	open := newHandler(t, up(), func(o *httpadmin.Options) {
		synced(o)
		o.Token, o.AllowUnauthenticated, o.Hosts = config.Secret{}, true, []string{"Calendar.example.com"}
	})
	for host, code := range map[string]int{
		"localhost": 200, "LOCALHOST:5003": 200, "127.0.0.1": 200, "192.0.2.7:5003": 200, "[::1]:5003": 200, "[2001:db8::1]": 200,
		"fogis-calendar-phonebook-sync:5003": 200, "calendar.local": 200, "calendar.ns.svc": 200, "calendar.ns.svc.cluster.local:80": 200, "host.docker.internal:5003": 200,
		"calendar.example.com": 200, "calendar.example.com.:443": 200,
		"evil.example.com": 403, "evil.example.com:5003": 403, "local.example": 403, "calendar.example.com.evil.example": 403, "127.0.0.1.evil.example": 403, "svc.example": 403,
	} {
		for _, path := range []string{"/redis-status", "/redis-dashboard", "/redis-dashboard/events", "/livez", "/redis-history", "/manual-sync", "/redis-restart", "/other"} {
			r := request{method: "HEAD", path: path, host: host}
			want := code
			switch path {
			case "/manual-sync":
				r.method, want = "POST", map[int]int{200: 202, 403: 403}[code]
			case "/redis-restart":
				r.method = "POST"
			case "/other":
				want = map[int]int{200: 404, 403: 403}[code]
			}
			w := serve(t, open, r)
			require.Equal(t, want, w.Code, "%s %s", host, path)
			if want == 403 {
				require.Contains(t, w.Body.String(), "httpadmin.Options.Hosts")
			}
		}
	}
	guarded := newHandler(t, up(), synced)
	require.Equal(t, 200, serve(t, guarded, request{method: "GET", path: "/redis-status", host: "calendar.example.com", bearer: logcheck.Password}).Code)
	require.Equal(t, 202, serve(t, guarded, request{method: "POST", path: "/manual-sync", host: "calendar.example.com", bearer: logcheck.Password}).Code)
	require.Equal(t, 403, serve(t, guarded, request{method: "GET", path: "/redis-status", host: "calendar.example.com", bearer: "guess"}).Code)

	_, err := httpadmin.New(httpadmin.Options{Source: up(), AllowUnauthenticated: true, Hosts: []string{"https://calendar.example.com"}})
	require.ErrorContains(t, err, "without scheme")
}

// Whoever may act, a browser never does so for a page of another origin.
func TestHandler_manualSync_checksTheOrigin(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*httpadmin.Options){
		"token": synced,
		"authorize": func(o *httpadmin.Options) {
			synced(o)
			o.Token, o.Authorize = config.Secret{}, func(*http.Request) bool { return true }
		},
		"open": func(o *httpadmin.Options) { synced(o); o.Token, o.AllowUnauthenticated = config.Secret{}, true },
	} {
		h := newHandler(t, up(), change)
		for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}} {
			w := serve(t, h, request{method: "POST", path: "/manual-sync", bearer: logcheck.Password, header: header})
			require.Equal(t, 403, w.Code, name)
			require.Contains(t, w.Body.String(), "another origin")
		}
		require.Equal(t, 202, serve(t, h, request{method: "POST", path: "/manual-sync", bearer: logcheck.Password}).Code, name)
	}
}

// Who tries tokens is seen in the log, and cannot fill it.
func TestHandler_refusals_areLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		h := newHandler(t, up(), func(o *httpadmin.Options) { o.Logger = logger })
		try := func() {
			for range 50 {
				require.Equal(t, 401, serve(t, h, request{method: "POST", path: "/redis-restart", bearer: "guess"}).Code)
			}
		}
		try()
		require.Equal(t, 1, log.Count("request refused"))
		require.Equal(t, json.Number("401"), log.Records()[0].Attrs["status"])
		require.Equal(t, "/redis-restart", log.Records()[0].Attrs["route"])
		time.Sleep(10 * time.Second)
		require.Equal(t, 403, serve(t, h, request{method: "GET", path: "/other", host: "evil.example"}).Code)
		require.Equal(t, 2, log.Count("request refused"))
		require.Equal(t, json.Number("49"), log.Records()[1].Attrs["held_back"])
		require.Equal(t, "(other)", log.Records()[1].Attrs["route"])
	})
}

package httpadmin_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

// source is a service whose state the tests set.
type source struct {
	mu      sync.Mutex
	status  httpadmin.Status
	test    httpadmin.TestResult
	restart error
	reports int
}

func (s *source) Status() httpadmin.Status { s.mu.Lock(); defer s.mu.Unlock(); return s.status }
func (s *source) Test(context.Context) httpadmin.TestResult {
	return s.test
}
func (s *source) Restart(context.Context) error { return s.restart }
func (s *source) Health(context.Context) health.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports++
	return health.NewReport(time.Now())
}

func up() *source {
	now := time.Now()
	return &source{status: httpadmin.Status{
		State: httpadmin.StateConnected, Fresh: 15 * time.Second, Started: now,
		Subscriptions: []httpadmin.Subscription{{Name: "match_updates", State: httpadmin.StateConnected, Since: now, Channels: []string{"c"}, Confirmed: []string{"c"}, LastProof: now, Probe: "ok"}},
	}}
}

func newHandler(t testing.TB, s httpadmin.Source, change func(*httpadmin.Options)) *httpadmin.Handler {
	t.Helper()
	o := httpadmin.Options{Source: s, Token: config.NewSecret(logcheck.Password), Logger: logcheck.New(t), Config: config.Config{Redis: config.Redis{URL: config.NewURL("redis://u:" + logcheck.Password + "@fogis-redis:6379")}}}
	if change != nil {
		change(&o)
	}
	h, err := httpadmin.New(o)
	require.NoError(t, err)
	return h
}

type request struct {
	method, path, bearer, media, body string
	host                              string // "" is localhost
	header                            map[string]string
}

func serve(t testing.TB, h http.Handler, r request) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(r.method, r.path, strings.NewReader(r.body))
	req.Host = cmp.Or(r.host, "localhost")
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	logcheck.Clean(t, r.path, w.Body.String())
	return w
}

func TestHandler_refusals(t *testing.T) {
	t.Parallel()
	h := newHandler(t, up(), nil)
	const token = logcheck.Password
	for _, test := range []struct {
		name string
		request
		code  int
		error string
	}{
		{"unknown path", request{method: "GET", path: "/redis"}, 404, "Not found"},
		{"no manual sync", request{method: "POST", path: "/manual-sync"}, 404, "Not found"},
		{"wrong method", request{method: "POST", path: "/redis-status"}, 405, "use GET"},
		{"wrong method of an action", request{method: "GET", path: "/redis-restart"}, 405, "use POST"},
		{"odd method", request{method: "BREW", path: "/livez"}, 405, "use GET"},
		{"no token", request{method: "POST", path: "/redis-test"}, 401, "bearer token"},
		{"wrong token", request{method: "POST", path: "/redis-restart", bearer: "x"}, 401, "bearer token"},
		{"wrong type", request{method: "POST", path: "/redis-test", bearer: token, media: "text/plain", body: "{}"}, 415, "application/json"},
		{"no type", request{method: "POST", path: "/redis-test", bearer: token, body: "{}"}, 415, "application/json"},
		{"bad JSON", request{method: "POST", path: "/redis-test", bearer: token, media: "application/json", body: "{"}, 400, "no JSON object"},
		{"no object", request{method: "POST", path: "/redis-test", bearer: token, media: "application/json", body: "null"}, 400, "no JSON object"},
		{"too long", request{method: "POST", path: "/redis-test", bearer: token, media: "application/json", body: strings.Repeat(" ", 64<<10+1)}, 413, "65536 bytes"},
		{"another origin", request{method: "POST", path: "/redis-restart", bearer: token, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403, "another origin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serve(t, h, test.request)
			require.Equal(t, test.code, w.Code, w.Body)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			var body struct {
				Success   *bool
				Timestamp time.Time
				Error     string
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
			require.False(t, *body.Success)
			require.NotZero(t, body.Timestamp)
			require.Contains(t, body.Error, test.error)
		})
	}
	for _, body := range []string{"", " \n", `{}`, `{"a":1}`} {
		require.Equal(t, 200, serve(t, h, request{method: "POST", path: "/redis-restart", bearer: token, media: "application/json; charset=utf-8", body: body}).Code, body)
	}
	require.Equal(t, 200, serve(t, h, request{method: "HEAD", path: "/redis-status"}).Code)
}

func TestNew_refusesAnOpenDoor(t *testing.T) {
	t.Parallel()
	_, err := httpadmin.New(httpadmin.Options{})
	require.ErrorContains(t, err, "no Source")
	require.ErrorContains(t, err, "AllowUnauthenticated")
	_, err = httpadmin.New(httpadmin.Options{Source: up(), Token: config.NewSecret("t"), AllowUnauthenticated: true})
	require.ErrorContains(t, err, "choose one")

	h := newHandler(t, up(), func(o *httpadmin.Options) { o.Token, o.AllowUnauthenticated = config.Secret{}, true })
	require.Equal(t, 200, serve(t, h, request{method: "POST", path: "/redis-restart"}).Code)
	require.Equal(t, 403, serve(t, h, request{method: "POST", path: "/redis-restart", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}).Code)
	h = newHandler(t, up(), func(o *httpadmin.Options) {
		o.Token, o.Authorize = config.Secret{}, func(r *http.Request) bool { return r.Header.Get("X-Operator") == "anna" }
	})
	require.Equal(t, 401, serve(t, h, request{method: "POST", path: "/redis-restart"}).Code)
	require.Equal(t, 200, serve(t, h, request{method: "POST", path: "/redis-restart", header: map[string]string{"X-Operator": "anna"}}).Code)
}

func TestHandler_probes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		change      func(*httpadmin.Status)
		live, ready int
		reason      string
	}{
		{"up", func(*httpadmin.Status) {}, 200, 200, ""},
		{"nothing to subscribe", func(s *httpadmin.Status) { s.State, s.Subscriptions = httpadmin.StateDisabled, nil }, 200, 200, ""},
		{"not begun", func(s *httpadmin.Status) { s.State, s.Subscriptions = httpadmin.StateStopped, nil }, 200, 503, "Run has not been called"},
		{"ended", func(s *httpadmin.Status) { s.State, s.Ended = httpadmin.StateStopped, true }, 503, 503, "Run has returned"},
		{"a channel short", func(s *httpadmin.Status) { s.Subscriptions[0].Confirmed = nil }, 200, 503, "match_updates"},
		{"down", func(s *httpadmin.Status) {
			s.Subscriptions[0].State, s.Subscriptions[0].Problem = httpadmin.StateDegraded, "EOF"
		}, 200, 503, "degraded: EOF"},
		{"silent", func(s *httpadmin.Status) {
			s.Subscriptions[0].Since, s.Subscriptions[0].LastProof = time.Time{}, time.Now().Add(-time.Minute)
		}, 200, 503, "no sign of life"},
		{"probe failed", func(s *httpadmin.Status) { s.Subscriptions[0].Probe = "failed" }, 200, 503, "probe failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := up()
			test.change(&s.status)
			h := newHandler(t, s, nil)
			require.Equal(t, test.live, serve(t, h, request{method: "GET", path: "/livez"}).Code)
			w := serve(t, h, request{method: "GET", path: "/readyz"})
			require.Equal(t, test.ready, w.Code)
			require.Contains(t, w.Body.String(), test.reason)
		})
	}
}

// While Redis is away /manual-sync is the only way in: an orchestrator must not
// close it just then.
func TestHandler_readyz_takesUpdatesByHTTP(t *testing.T) {
	t.Parallel()
	s := up()
	h := newHandler(t, s, func(o *httpadmin.Options) { o.ManualSync = http.NotFoundHandler() })
	ready := func(code int, routes ...string) string {
		t.Helper()
		w := serve(t, h, request{method: "GET", path: "/readyz"})
		require.Equal(t, code, w.Code, w.Body)
		var body struct{ Routes []string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Equal(t, routes, body.Routes)
		return w.Body.String()
	}
	ready(200, "redis", "http")
	s.status.Subscriptions[0].State, s.status.Subscriptions[0].Problem = httpadmin.StateDegraded, "EOF"
	require.Contains(t, ready(200, "http"), "match_updates: degraded: EOF", "the subscription's state stands beside it")
	s.status.State, s.status.Subscriptions = httpadmin.StateDisabled, nil
	ready(200, "http")
	s.status.Ended = true
	ready(503)
}

func TestHandler_testAndRestartThatFail(t *testing.T) {
	t.Parallel()
	s := up()
	s.test = httpadmin.TestResult{Subscription: errors.New("no"), Handling: errors.New("stuck"), ConnectionTook: 1500 * time.Microsecond}
	s.restart = errors.New("NOPERM")
	h := newHandler(t, s, nil)
	w := serve(t, h, request{method: "POST", path: "/redis-test", bearer: logcheck.Password})
	require.Equal(t, 503, w.Code)
	for _, part := range []string{
		`"success":false`, `"connection_test":true,"subscription_test":false,"message_handling_test":false`, `"connection_test":1.5`,
		"Failed to subscribe to Redis channels: no. Solution: Check Redis permissions and channel configuration", "Calendar synchronization failed: stuck",
	} {
		require.Contains(t, w.Body.String(), part)
	}
	w = serve(t, h, request{method: "POST", path: "/redis-restart", bearer: logcheck.Password})
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"message":"Failed to restart subscription"`)
	h = newHandler(t, s, func(o *httpadmin.Options) { o.Config.Redis.Disabled = true })
	w = serve(t, h, request{method: "POST", path: "/redis-restart", bearer: logcheck.Password})
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), `"message":"Redis is disabled"`)
}

func TestHandler_panicOfTheSource(t *testing.T) {
	t.Parallel()
	w := serve(t, newHandler(t, panicking{up()}, nil), request{method: "GET", path: "/redis-stats"})
	require.Equal(t, 500, w.Code)
	require.Contains(t, w.Body.String(), "Internal error")
	w = serve(t, newHandler(t, panicking{up()}, nil), request{method: "GET", path: "/redis-health"})
	require.Equal(t, 500, w.Code, "not healthy, and not nothing")
	require.Contains(t, w.Body.String(), "Internal error")
}

type panicking struct{ *source }

func (panicking) Status() httpadmin.Status             { panic(logcheck.Password) }
func (panicking) Health(context.Context) health.Report { panic(logcheck.Password) }

func TestHistory_isBoundedAndHoldsNames(t *testing.T) {
	t.Parallel()
	var history httpadmin.History
	for range 200 {
		history.Message(httpadmin.Event{Type: "system_alert", Source: "match-list-processor", Alert: "processing_failure", Severity: "HIGH", Status: "ring 070-1740605"})
		history.Gap(httpadmin.GapEvent{Session: "match_updates", Cause: "connection lost"})
	}
	history.Message(httpadmin.Event{Type: "system_alert", Source: "anna@example.com", Alert: "0701740605", Severity: "hemligt"})
	h := newHandler(t, up(), func(o *httpadmin.Options) { o.History = &history })
	w := serve(t, h, request{method: "GET", path: "/redis-history"})
	require.Equal(t, 200, w.Code)
	var body struct {
		History struct {
			Messages []httpadmin.Event
			Gaps     []httpadmin.GapEvent
		}
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Len(t, body.History.Messages, 50)
	require.Len(t, body.History.Gaps, 50)
	require.Equal(t, httpadmin.Event{Type: "system_alert", Source: "(not a name)", Alert: "(not a name)", Severity: "(other)"}, body.History.Messages[0], "the newest is first")
	require.Equal(t, httpadmin.Event{Type: "system_alert", Source: "match-list-processor", Alert: "processing_failure", Severity: "high", Status: "(other)"}, body.History.Messages[1])
}

func TestMount_underAPrefix(t *testing.T) {
	t.Parallel()
	h := newHandler(t, up(), func(o *httpadmin.Options) {
		o.ManualSync = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h.Mount(mux, "/calendar/")
	require.Equal(t, 200, serve(t, mux, request{method: "GET", path: "/calendar/redis-status"}).Code)
	require.Equal(t, "/manual-sync", serve(t, mux, request{method: "POST", path: "/calendar/manual-sync"}).Body.String())
	require.Equal(t, http.StatusTeapot, serve(t, mux, request{method: "GET", path: "/redis-status"}).Code, "the router keeps other paths")
	h.Mount(mux, "")
	require.Equal(t, 200, serve(t, mux, request{method: "GET", path: "/livez"}).Code)
}

// Reports are shared: callers in numbers ask Redis once.
func TestHandler_reportsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := up()
		h := newHandler(t, s, nil)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { serve(t, h, request{method: "GET", path: "/redis-health"}) })
		}
		callers.Wait()
		require.Equal(t, 1, s.reports)
	})
}

func FuzzHandler_bodies(f *testing.F) {
	for _, body := range []string{"", "{}", `{"a":[1]}`, "null", "[]", "{", "\xff", strings.Repeat("[", 10000)} {
		f.Add(body, "application/json")
	}
	f.Add("a=1", "application/x-www-form-urlencoded; charset=\"")
	h := newHandler(f, up(), nil)
	f.Fuzz(func(t *testing.T, body, media string) {
		for _, path := range []string{"/redis-test", "/redis-restart"} {
			w := serve(t, h, request{method: "POST", path: path, bearer: logcheck.Password, media: media, body: body})
			if !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%d without JSON", w.Code)
			}
			var object map[string]any
			if ok := json.Unmarshal([]byte(body), &object) == nil && object != nil || strings.TrimSpace(body) == ""; w.Code == 200 && !ok {
				t.Fatalf("took %q", body)
			}
		}
	})
}

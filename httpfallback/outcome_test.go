package httpfallback_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
)

// TestClient_Notify_outcomes has a row for each answer of the Python
// calendar's /manual-sync and of what stands before it.
func TestClient_Notify_outcomes(t *testing.T) {
	t.Parallel()
	const secret = `RuntimeError: cannot write for ake.oberg@example.com, 070-174 06 10`
	html := "<!doctype html><p>ake.oberg@example.com</p>"
	for _, row := range []struct {
		name     string
		status   int
		body     string
		accepted bool
		attempts int    // 3 = retried
		text     string // in the error
	}{
		{"one match or more was written", 200, success, true, 1, ""},
		{"written, with spaces", 200, "{\"success\" : true ,\n \"matches_processed\": 1}", true, 1, ""},
		{"success is false", 200, `{"success":false,"matches_processed":1}`, false, 1, `does not say "success":true`},
		{"success is null", 200, `{"success":null}`, false, 1, `does not say "success":true`},
		{"success is a text", 200, `{"success":"true"}`, false, 1, `does not say "success":true`},
		{"success is a number", 200, `{"success":1}`, false, 1, `does not say "success":true`},
		{"the old /sync", 200, `{"status":"success","message":"x","output":"ake.oberg@example.com"}`, false, 1, "/sync takes no matches"},
		{"a portal's page", 200, html, false, 1, `does not say "success":true`},
		{"no body", 200, "", false, 1, `does not say "success":true`},
		{"accepted for later", 202, success, false, 1, "202: no receiver"},
		{"nothing to say", 204, "", false, 1, "204: no receiver"},

		{"no match was written", 500, `{"success":false,"matches_processed":1,"timestamp":"2031-05-06T17:00:00"}`, false, 3, "Google's token"},
		{"the calendar does not say", 500, `{"success":null,"matches_processed":1}`, false, 3, "none of the matches"},
		{"the calendar's code raised", 500, `{"success":false,"error":"` + secret + `"}`, false, 3, "its own log says why"},
		{"no calendar configured", 500, `{"success":false,"error":"No calendar sync callback configured"}`, false, 3, "its own log says why"},
		{"matches is null", 500, `{"success":false,"error":"object of type 'NoneType' has no len()"}`, false, 3, "its own log says why"},
		{"a page", 500, html, false, 3, "without a known answer"},

		{"no JSON", 400, `{"success":false,"error":"Missing JSON data in request"}`, false, 1, "400: the receiver cannot read the request"},
		{"no matches", 400, `{"success":false,"error":"Missing 'matches' in request data"}`, false, 1, "400: the receiver cannot read the request"},
		{"wrong token", 401, html, false, 1, "set FOGIS_FALLBACK_TOKEN"},
		{"to be paid", 402, html, false, 1, "check the proxy"},
		{"forbidden", 403, html, false, 1, "set FOGIS_FALLBACK_TOKEN"},
		{"route not registered", 404, html, false, 1, "404: the receiver has no /manual-sync; check the path in FOGIS_FALLBACK_URL; an invalid REDIS_TIMEOUT at the Python calendar removes its /manual-sync"},
		{"method not allowed", 405, html, false, 1, "405: the receiver takes no POST at /manual-sync"},
		{"a proxy's login", 407, html, false, 1, "check the proxy"},
		{"too slow", 408, "", false, 3, "arrived too slowly"},
		{"conflict", 409, html, false, 3, "busy or not ready"},
		{"gone", 410, html, false, 1, "410: the receiver has no /manual-sync"},
		{"too large", 413, html, false, 1, "smaller parts"},
		{"of no known type", 415, html, false, 1, "cannot read the request"},
		{"an unknown 4xx", 418, html, false, 1, "cannot read the request"},
		{"misdirected", 421, html, false, 3, "check the proxy"},
		{"refused", 422, html, false, 1, "refuses the message"},
		{"locked", 423, html, false, 3, "busy"},
		{"what it depends on failed", 424, html, false, 3, "busy"},
		{"too early", 425, html, false, 3, "busy"},
		{"upgrade", 426, html, false, 1, "check the proxy"},
		{"too many", 429, "", false, 3, "busy"},
		{"gone before the answer", 499, "", false, 3, "arrived too slowly"},
		{"not implemented", 501, html, false, 3, "without a known answer"},
		{"bad gateway", 502, html, false, 3, "a proxy cannot reach"},
		{"not ready", 503, html, false, 3, "busy or not ready"},
		{"gateway timeout", 504, html, false, 3, "a proxy cannot reach"},
		{"no room", 507, html, false, 3, "without a known answer"},
		{"a cloud's proxy", 520, html, false, 3, "without a known answer"},
		{"a cloud's proxy with TLS", 526, html, false, 3, "without a known answer"},
		{"a cloud's DNS", 530, html, false, 3, "without a known answer"},
		{"an unknown 5xx", 598, html, false, 3, "without a known answer"},
		{"another unknown 5xx", 599, html, false, 3, "without a known answer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
				w.WriteHeader(row.status)
				if row.status != http.StatusNoContent {
					io.WriteString(w, row.body)
				}
			}}
			err := client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(1))
			require.Len(t, rec.got(http.MethodPost), row.attempts)
			if row.accepted {
				require.NoError(t, err)
				return
			}
			e := failed(t, err)
			require.Equal(t, row.status, e.Status)
			require.Equal(t, row.attempts, e.Attempts)
			require.Equal(t, [2]int{1, 1}, [2]int{e.Part, e.Of})
			final := slices.Contains([]int{400, 404, 410, 413, 415, 418, 422}, row.status)
			require.Equal(t, final, errors.Is(err, message.ErrRefused))
			require.Contains(t, err.Error(), row.text)
		})
	}
}

// What the URL answers to a request without a message says nothing about the
// message: the path is wrong, or a TLS port is spoken to in plain HTTP.
func TestClient_Notify_refusalOfTheURLIsNoneOfTheMessage(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 410} {
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := client(t, url, httpfallback.Options{}).Notify(t.Context(), snapshot(2))
		require.Equal(t, status, failed(t, err).Status)
		require.NotErrorIs(t, err, message.ErrRefused)
	}
	s := httptest.NewTLSServer(&recorder{})
	t.Cleanup(s.Close)
	url := strings.Replace(s.URL, "https:", "http:", 1)
	err := client(t, url, httpfallback.Options{}).Notify(t.Context(), snapshot(2))
	require.Equal(t, 400, failed(t, err).Status)
	require.NotErrorIs(t, err, message.ErrRefused)
}

// One part that may still come through makes another Notify worth while.
func TestClient_Notify_refusedPartBesideAFailedOne(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		other, part int
		refused     bool
	}{{200, 1, true}, {422, 1, true}, {500, 2, false}} {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, r request) {
			switch {
			case strings.Contains(string(r.body), "6200001"):
				w.WriteHeader(422)
			case strings.Contains(string(r.body), "6200002"):
				w.WriteHeader(row.other)
			}
			io.WriteString(w, success)
		}}
		m := snapshot(3)
		err := client(t, serve(t, rec), httpfallback.Options{Retries: -1}).Notify(t.Context(), m)
		require.Equal(t, row.part, failed(t, err).Part)
		require.Equal(t, row.refused, errors.Is(err, message.ErrRefused))
		require.Equal(t, []string{m.ID + "/1", m.ID + "/2", m.ID + "/3"}, rec.keys())
	}
}

func TestClient_Notify_passingFailure(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 409, 421, 423, 425, 429, 500, 502, 503, 504, 507, 520, 530, 598, 599} {
		rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
			if n <= 2 {
				w.WriteHeader(status)
				return
			}
			io.WriteString(w, success)
		}}
		require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(1)), status)
		require.Len(t, rec.got(http.MethodPost), 3)
	}
}

func TestClient_Notify_redirectNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := &recorder{}
	to := serve(t, elsewhere)
	for _, status := range []int{301, 302, 303, 307, 308} {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
			w.Header().Set("Location", to)
			w.WriteHeader(status)
		}}
		err := client(t, serve(t, rec), httpfallback.Options{Token: config.NewSecret(token)}).Notify(t.Context(), snapshot(1))
		require.Equal(t, status, failed(t, err).Status)
		require.ErrorContains(t, err, "redirects are not followed")
		require.Len(t, rec.got(http.MethodPost), 1)
	}
	require.Empty(t, elsewhere.requests)
}

// TestClient_Notify_hugeAnswer sends without end, so that a client that reads
// it all would never return.
func TestClient_Notify_hugeAnswer(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
		chunk := strings.Repeat(" ", 1<<16)
		for {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}}
	err := client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(1))
	require.Equal(t, 200, failed(t, err).Status)
	require.ErrorContains(t, err, "the answer is longer than 65536 bytes")
	require.NotErrorIs(t, err, message.ErrRefused)
	require.Len(t, rec.got(http.MethodPost), 1)
}

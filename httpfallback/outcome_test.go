package httpfallback_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
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
		{"wrong token", 401, html, false, 1, "set the fallback's token"},
		{"forbidden", 403, html, false, 1, "set the fallback's token"},
		{"route not registered", 404, html, false, 1, "404: the receiver has no /manual-sync; check the URL's path; an invalid REDIS_TIMEOUT at the Python calendar removes its /manual-sync"},
		{"method not allowed", 405, html, false, 1, "405: the receiver takes no POST at /manual-sync"},
		{"too slow", 408, "", false, 3, "arrived too slowly"},
		{"gone", 410, html, false, 1, "410: no receiver"},
		{"too large", 413, html, false, 1, "smaller parts"},
		{"refused", 422, html, false, 1, "refuses the message"},
		{"too many", 429, "", false, 3, "busy"},
		{"not implemented", 501, html, false, 1, "501: no receiver"},
		{"bad gateway", 502, html, false, 3, "a proxy cannot reach"},
		{"not ready", 503, html, false, 3, "busy or not ready"},
		{"gateway timeout", 504, html, false, 3, "a proxy cannot reach"},
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
			require.Contains(t, err.Error(), row.text)
		})
	}
}

func TestClient_Notify_passingFailure(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
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
		err := client(t, serve(t, rec), httpfallback.Options{Token: token}).Notify(t.Context(), snapshot(1))
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
	require.Len(t, rec.got(http.MethodPost), 1)
}

package httpfallback_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
)

func TestNew_faults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		target, token, text string
	}{
		{"calendar:5003/manual-sync", "", "want http://host"},
		{"redis://calendar:5003", "", "a URL with scheme redis"},
		{"http:///manual-sync", "", "a URL without host"},
		{"http://:5003/manual-sync", "", "a URL without host"},
		{"http://u:" + logcheck.Password + "@host:port/", "", "a URL that cannot be parsed"},
		{"http://u:" + logcheck.Password + "@host/", token, "a token beside a user in FOGIS_FALLBACK_URL"},
		{"http://u:1/" + logcheck.Password + "@host/", "", "an unescaped character in its password"},
		{"http://u:1?" + logcheck.Password + "@host/", "", "an unescaped @"},
		{"http://u:1#" + logcheck.Password + "@host/", "", "an unescaped character in its password"},
		{"http://host/manual-sync#part", "", "a URL with a fragment"},
		{"http://host;x=1/manual-sync", "", "a host that holds other characters"},
		{"http://host/", token + "\n", "not all of them visible ASCII"},
	} {
		given := config.NewSecret(row.token)
		c, err := httpfallback.New(row.target, httpfallback.Options{Token: given})
		require.Nil(t, c, row.target)
		require.ErrorContains(t, err, row.text)
		logcheck.CleanValue(t, "error", err)

		// The settings know the same faults, in the same words.
		settings := config.Config{Fallback: config.Fallback{URL: config.NewURL(row.target), Token: given}}.Validate()
		require.ErrorContains(t, settings, row.text)
		require.EqualError(t, err, "httpfallback: "+settings.Error())
	}
	_, err := httpfallback.New("", httpfallback.Options{})
	require.ErrorContains(t, err, "no URL")
	_, err = httpfallback.New("ftp:", httpfallback.Options{Token: config.NewSecret("\x00")})
	require.Len(t, strings.Split(err.Error(), "\n"), 2, "every fault at once")
}

// What New takes Validate takes, and the other way round.
func TestNew_agreesWithTheSettings(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"http://calendar:5003/manual-sync", "https://user:pw@calendar.example.com/x?y=z", "http://[::1]:80", "http://10.0.0.1/",
		"http://fogis_calendar", "http://[fe80::1%25eth0]/x", "http://h:0", "http://h:65536", "http://h:1:2", "http://a b", "http://h;a=b", "http://h,g/",
		"HTTP://h", "http:h", "http://h/%zz", "http://h?%zz", "http://räka", "http://h\n",
	} {
		for _, secret := range []string{"", "t0ken", "a b"} {
			fallback := config.Fallback{URL: config.NewURL(target), Token: config.NewSecret(secret)}
			_, err := httpfallback.New(target, httpfallback.Options{Token: fallback.Token, Logger: logcheck.New(t)})
			require.Equal(t, config.Config{Fallback: fallback}.Validate() == nil, err == nil, "%s %q: %v", target, secret, err)
		}
	}
}

func TestClient_format_showsNoSecret(t *testing.T) {
	t.Parallel()
	for _, c := range []*httpfallback.Client{
		client(t, "http://calendar:5003/manual-sync", httpfallback.Options{Token: config.NewSecret(token)}),
		client(t, "http://calendar:5003/manual-sync?key="+token, httpfallback.Options{}),
		client(t, "http://user:"+token+"@calendar:5003/manual-sync", httpfallback.Options{}),
	} {
		require.Equal(t, "http://calendar:5003/manual-sync", c.String())
		logcheck.CleanValue(t, "client", c)
		logcheck.CleanValue(t, "field", struct{ C *httpfallback.Client }{c})
	}
}

func TestClient_Notify_wholeEnvelope(t *testing.T) {
	t.Parallel()
	rec := &recorder{whole: true}
	c := client(t, serve(t, rec), httpfallback.Options{Token: config.NewSecret(token)})
	kept := snapshot(40)
	kept.StreamID = "1935846000000-1"
	for _, m := range []message.Outgoing{kept, status()} {
		require.NoError(t, c.Notify(t.Context(), m))
	}
	posts := rec.got(http.MethodPost)
	require.Len(t, posts, 2)
	for i, m := range []message.Outgoing{kept, status()} {
		require.Equal(t, m.StreamID, posts[i].header.Get("Fogis-Stream-ID"))
		require.Equal(t, string(m.Body), string(posts[i].body), "as it was published")
		require.Equal(t, envelopeType, posts[i].header.Get("Content-Type"))
		require.Equal(t, m.ID, posts[i].header.Get("Idempotency-Key"))
		require.Equal(t, "Bearer "+token, posts[i].header.Get("Authorization"))
	}
	require.Len(t, rec.got(http.MethodOptions), 1, "asked once")
}

func TestClient_Notify_parts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		batch, matches int
		want           [][]int
	}{
		{0, 3, [][]int{{6200001}, {6200002}, {6200003}}},
		{1, 2, [][]int{{6200001}, {6200002}}},
		{2, 3, [][]int{{6200001, 6200002}, {6200003}}},
		{2, 4, [][]int{{6200001, 6200002}, {6200003, 6200004}}},
		{10, 2, [][]int{{6200001, 6200002}}},
		{-1, 3, [][]int{{6200001, 6200002, 6200003}}},
		{0, 0, [][]int{{}}},
		{-1, 0, [][]int{{}}},
	} {
		t.Run(fmt.Sprintf("%d of %d", row.batch, row.matches), func(t *testing.T) {
			t.Parallel()
			rec := &recorder{}
			m := snapshot(row.matches)
			before := string(m.Body)
			require.NoError(t, client(t, serve(t, rec), httpfallback.Options{BatchSize: row.batch}).Notify(t.Context(), m))
			require.Equal(t, before, string(m.Body), "the message is not changed")
			posts := rec.got(http.MethodPost)
			require.Len(t, posts, len(row.want))
			for i, r := range posts {
				require.Equal(t, row.want[i], r.matchIDs(t))
				require.Equal(t, fmt.Sprintf("%s/%d", m.ID, i+1), r.header.Get("Idempotency-Key"))
				require.Equal(t, "application/json", r.header.Get("Content-Type"))
				require.Empty(t, r.header.Get("Authorization"))
				var e struct {
					ID   string `json:"message_id"`
					Part struct{ N, Of int }
				}
				require.NoError(t, json.Unmarshal(r.body, &e))
				require.Equal(t, m.ID, e.ID)
				require.Equal(t, struct{ N, Of int }{i + 1, len(row.want)}, e.Part)
			}
			require.Len(t, rec.got(http.MethodOptions), 1)
		})
	}
}

func TestClient_Notify_partsKeepMatchesExact(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(2)))
	for i, r := range rec.got(http.MethodPost) {
		var e struct {
			Matches []json.RawMessage
			Payload struct{ Matches []json.RawMessage }
		}
		require.NoError(t, json.Unmarshal(r.body, &e))
		require.Equal(t, match(i+1), string(e.Matches[0]))
		require.Equal(t, match(i+1), string(e.Payload.Matches[0]))
	}
}

func TestClient_Notify_acceptedPartIsNotRepeated(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
		if n == 3 || n == 4 { // the third part, twice
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, success)
	}}
	m := snapshot(4)
	require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), m))
	require.Equal(t, []string{m.ID + "/1", m.ID + "/2", m.ID + "/3", m.ID + "/3", m.ID + "/3", m.ID + "/4"}, rec.keys())
}

// The retries are there again after each accepted part.
func TestClient_Notify_retriesAreRefilled(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
		if n%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, success)
	}}
	require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(3)))
	require.Len(t, rec.keys(), 9)
}

// A match that the calendar can never write must not hold back the others.
func TestClient_Notify_failingPartDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status, attempts int
	}{{500, 3}, {413, 1}} {
		rec := &recorder{answer: func(w http.ResponseWriter, _ int, r request) {
			if strings.Contains(string(r.body), "6200002") {
				w.WriteHeader(row.status)
				return
			}
			io.WriteString(w, success)
		}}
		m := snapshot(4)
		err := client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), m)
		e := failed(t, err)
		require.Equal(t, [4]int{2, 4, 3, row.attempts}, [4]int{e.Part, e.Of, e.Accepted, e.Attempts})
		require.ErrorContains(t, err, "(part 2 of 4, 3 accepted)")
		keys := rec.keys()
		require.Equal(t, m.ID+"/4", keys[len(keys)-1])
		require.Len(t, keys, 3+row.attempts)
	}
}

// The retries are a budget of the Notify: a calendar that can write nothing
// is asked three times for the first match and once for each other.
func TestClient_Notify_everyPartFails(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
		w.WriteHeader(500)
		io.WriteString(w, `{"success":false,"matches_processed":1}`)
	}}
	m := snapshot(3)
	e := failed(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), m))
	require.Equal(t, [4]int{1, 3, 0, 3}, [4]int{e.Part, e.Of, e.Accepted, e.Attempts})
	require.Equal(t, []string{m.ID + "/1", m.ID + "/1", m.ID + "/1", m.ID + "/2", m.ID + "/3"}, rec.keys())
}

func TestClient_Notify_finalAnswerStops(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
		if n == 2 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, success)
	}}
	e := failed(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(3)))
	require.Equal(t, [4]int{2, 3, 1, 401}, [4]int{e.Part, e.Of, e.Accepted, e.Status})
	require.Len(t, rec.keys(), 2)
}

func TestClient_Notify_negativeRetries(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(503) }}
	e := failed(t, client(t, serve(t, rec), httpfallback.Options{Retries: -1}).Notify(t.Context(), snapshot(1)))
	require.Equal(t, 1, e.Attempts)
	require.Len(t, rec.keys(), 1)
}

func TestClient_Notify_otherTypeNeedsEnvelopes(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	err := client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), status())
	failed(t, err)
	require.ErrorContains(t, err, "match updates only")
	require.ErrorIs(t, err, message.ErrRefused)
	require.NotErrorIs(t, err, message.ErrInvalid)
	require.Empty(t, rec.keys())
}

func TestClient_Notify_undecodable(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	err := client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(),
		message.Outgoing{ID: "x", Type: message.TypeMatchUpdates, Body: []byte(`{"ake.oberg@example.com"`)})
	failed(t, err)
	require.ErrorIs(t, err, message.ErrInvalid)
	require.ErrorIs(t, err, message.ErrRefused)
	require.Empty(t, rec.keys())
}

func TestClient_Notify_keyOfAnyID(t *testing.T) {
	t.Parallel()
	rec := &recorder{whole: true}
	c := client(t, serve(t, rec), httpfallback.Options{})
	for _, id := range []string{"match-update-123", "a/b c", "new\r\nline: x"} {
		m := snapshot(1)
		m.ID = id
		require.NoError(t, c.Notify(t.Context(), m))
	}
	require.Equal(t, []string{"match-update-123", "a/b c", "new%0D%0Aline:%20x"}, rec.keys())
}

func TestClient_Notify_basicAuthentication(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(401) }}
	url := strings.Replace(serve(t, rec), "http://", "http://user:"+logcheck.Password+"@", 1)
	failed(t, client(t, url, httpfallback.Options{}).Notify(t.Context(), snapshot(1)))
	r := http.Request{Header: rec.got(http.MethodPost)[0].header}
	user, password, ok := r.BasicAuth()
	require.True(t, ok)
	require.Equal(t, [2]string{"user", logcheck.Password}, [2]string{user, password})
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that logs URLs sees no password in them.
func TestClient_Notify_givenTransport(t *testing.T) {
	t.Parallel()
	rec := &recorder{whole: true}
	var seen []string
	tr := roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.Method+" "+r.URL.String())
		w := httptest.NewRecorder()
		if r.Body == nil {
			r.Body = http.NoBody
		}
		rec.ServeHTTP(w, r)
		return w.Result(), nil
	})
	c := client(t, "http://user:"+logcheck.Password+"@calendar/manual-sync?x=1", httpfallback.Options{Transport: tr})
	require.NoError(t, c.Notify(t.Context(), snapshot(1)))
	require.Equal(t, []string{"OPTIONS http://calendar/manual-sync?x=1", "POST http://calendar/manual-sync?x=1"}, seen)
}

// The receiver behind the URL may be replaced while the client still believes
// what the former one said.
func TestClient_Notify_receiverReplaced(t *testing.T) {
	t.Parallel()
	asPython := func(w http.ResponseWriter, _ int, r request) {
		if !strings.Contains(string(r.body), `"part"`) {
			w.WriteHeader(400)
			io.WriteString(w, `{"success":false,"error":"Missing 'matches' in request data"}`)
			return
		}
		io.WriteString(w, success)
	}
	t.Run("by the Python calendar", func(t *testing.T) {
		t.Parallel()
		rec := &recorder{whole: true}
		c := client(t, serve(t, rec), httpfallback.Options{})
		m := snapshot(2)
		require.NoError(t, c.Notify(t.Context(), m))
		rec.become(false, asPython)
		require.NoError(t, c.Notify(t.Context(), m))
		require.NoError(t, c.Notify(t.Context(), m))
		require.Equal(t, []string{m.ID, m.ID, m.ID + "/1", m.ID + "/2", m.ID + "/1", m.ID + "/2"}, rec.keys())
		require.Len(t, rec.got(http.MethodOptions), 1)
	})
	t.Run("by a receiver of envelopes", func(t *testing.T) {
		t.Parallel()
		rec := &recorder{}
		c := client(t, serve(t, rec), httpfallback.Options{})
		m := snapshot(2)
		require.NoError(t, c.Notify(t.Context(), m))
		rec.become(true, func(w http.ResponseWriter, _ int, r request) {
			if strings.Contains(string(r.body), `"part"`) {
				w.WriteHeader(422)
				return
			}
			io.WriteString(w, success)
		})
		require.NoError(t, c.Notify(t.Context(), m))
		require.NoError(t, c.Notify(t.Context(), m))
		require.Equal(t, []string{m.ID + "/1", m.ID + "/2", m.ID + "/1", m.ID, m.ID}, rec.keys())
	})
	t.Run("between two parts", func(t *testing.T) {
		t.Parallel()
		rec := &recorder{}
		m := snapshot(2)
		refusesParts := func(w http.ResponseWriter, _ int, r request) {
			if strings.Contains(string(r.body), `"part"`) {
				w.WriteHeader(422)
				return
			}
			io.WriteString(w, success)
		}
		rec.answer = func(w http.ResponseWriter, _ int, _ request) {
			rec.become(true, refusesParts)
			w.WriteHeader(413)
		}
		require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), m),
			"the part that was skipped came with the envelope")
		require.Equal(t, []string{m.ID + "/1", m.ID + "/2", m.ID}, rec.keys())
	})
	t.Run("by one that refuses both", func(t *testing.T) {
		t.Parallel()
		rec := &recorder{whole: true}
		c := client(t, serve(t, rec), httpfallback.Options{})
		require.NoError(t, c.Notify(t.Context(), snapshot(2)))
		rec.become(false, func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(400) })
		require.Equal(t, 400, failed(t, c.Notify(t.Context(), snapshot(2))).Status)
		require.Len(t, rec.keys(), 4)
	})
}

func TestClient_Notify_receiverOfEnvelopesRefuses(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 404, 413, 415, 422} {
		rec := &recorder{whole: true, answer: func(w http.ResponseWriter, _ int, _ request) { w.WriteHeader(status) }}
		e := failed(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(2)))
		require.Equal(t, [3]int{status, 0, 0}, [3]int{e.Status, e.Part, e.Of})
		require.Len(t, rec.keys(), 1, status)
	}
}

package httpfallback_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
)

const (
	envelopeType = "application/vnd.fogis.envelope+json"
	token        = logcheck.Password
	success      = `{"success":true,"matches_processed":1,"timestamp":"2031-05-06T17:00:00.123456"}`
)

// match returns an invented match, with personal data that must not be shown.
func match(n int) string {
	return fmt.Sprintf(`{"matchid":%d,"matchnr":"00040201%d","lag1namn":"Ängsviks IF","lag2namn":"Östra <Åsby> BK",`+
		`"tid":"/Date(1935846000000)/","viktning":2.50,"domaruppdraglista":[{"personnamn":"Åke Öberg-Påhittad",`+
		`"mobiltelefon":"070-174 06 10","epostadress":"ake.oberg@example.com","adress":"Påhittsvägen 3"}],"kontaktpersoner":null}`, 6200000+n, n)
}

func matches(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = match(i + 1)
	}
	return list
}

// snapshot returns a message with n matches, 6200001 and on.
func snapshot(n int) message.Outgoing {
	const id = "00000000-0000-4000-8000-000000000001"
	body := fmt.Sprintf(`{"message_id":%q,"timestamp":"2031-05-06T15:00:00.123456Z","source":"match-list-processor","version":"1.0",`+
		`"schema_version":"2.0","type":"match_updates","payload":{"matches":[%s],"schema_version":"2.0","detailed_changes":[],"high_priority":false,`+
		`"metadata":{"total_matches":%d,"has_changes":true,"change_summary":{},"processing_timestamp":"2031-05-06T15:00:00.123456Z"}}}`,
		id, strings.Join(matches(n), ","), n)
	return message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: []byte(body)}
}

func status() message.Outgoing {
	const id = "00000000-0000-4000-8000-000000000002"
	body := `{"message_id":"` + id + `","timestamp":"2031-05-06T15:00:00.123456Z","source":"match-list-processor","version":"1.0",` +
		`"type":"processing_status","payload":{"status":"completed","timestamp":"2031-05-06T15:00:00.123456Z","details":{}}}`
	return message.Outgoing{ID: id, Type: message.TypeProcessingStatus, Body: []byte(body)}
}

// request is what a recorder saw.
type request struct {
	method string
	header http.Header
	body   []byte
}

// matchIDs returns those in the two lists of a part, which must be the same.
func (r request) matchIDs(t *testing.T) []int {
	t.Helper()
	type list []struct {
		MatchID int `json:"matchid"`
	}
	var e struct {
		Matches list
		Payload struct{ Matches list }
	}
	require.NoError(t, json.Unmarshal(r.body, &e))
	require.NotNil(t, e.Matches, "top-level matches")
	require.Equal(t, e.Payload.Matches, e.Matches)
	ids := []int{}
	for _, m := range e.Matches {
		ids = append(ids, m.MatchID)
	}
	return ids
}

// recorder is a receiver that keeps what it got. answer may be nil; it is
// called for every POST, n from 1.
type recorder struct {
	whole  bool // answers OPTIONS as a receiver of envelopes
	answer func(w http.ResponseWriter, n int, r request)

	mu       sync.Mutex
	requests []request
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r := request{req.Method, req.Header.Clone(), body}
	rec.mu.Lock()
	rec.requests = append(rec.requests, r)
	n := 0
	for _, earlier := range rec.requests {
		if earlier.method == http.MethodPost {
			n++
		}
	}
	whole, answer := rec.whole, rec.answer
	rec.mu.Unlock()
	if whole {
		w.Header().Set("Accept-Post", "text/turtle, "+envelopeType)
	}
	switch {
	case req.Method == http.MethodOptions:
		w.Header().Set("Allow", "POST, OPTIONS")
	case answer != nil:
		answer(w, n, r)
	default:
		io.WriteString(w, success)
	}
}

// become replaces the receiver by another, perhaps of the other kind.
func (rec *recorder) become(whole bool, answer func(w http.ResponseWriter, n int, r request)) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.whole, rec.answer = whole, answer
}

func (rec *recorder) got(method string) []request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var list []request
	for _, r := range rec.requests {
		if r.method == method {
			list = append(list, r)
		}
	}
	return list
}

// keys returns the Idempotency-Key of each POST.
func (rec *recorder) keys() []string {
	var keys []string
	for _, r := range rec.got(http.MethodPost) {
		keys = append(keys, r.header.Get("Idempotency-Key"))
	}
	return keys
}

// serve starts h and returns the URL of its /manual-sync.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/manual-sync"
}

// client returns a client that retries twice and at once, unless opts say
// otherwise.
func client(t *testing.T, url string, opts httpfallback.Options) *httpfallback.Client {
	t.Helper()
	if opts.Retries == 0 {
		opts.Retries = 2
	}
	if opts.RetryDelay == 0 {
		opts.RetryDelay = -1
	}
	if opts.Logger == nil {
		opts.Logger = logcheck.New(t)
	}
	c, err := httpfallback.New(url, opts)
	require.NoError(t, err)
	return c
}

// failed returns err as the package's own and looks for personal data in it.
func failed(t *testing.T, err error) *httpfallback.Error {
	t.Helper()
	var e *httpfallback.Error
	require.ErrorAs(t, err, &e)
	logcheck.CleanValue(t, "error", err)
	return e
}

// pipes is a listener without sockets, for synctest bubbles.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// bubble serves h over pipes and returns the transport that reaches it. Both
// must be used inside a synctest bubble.
func bubble(t *testing.T, h http.Handler) http.RoundTripper {
	t.Helper()
	p := newPipes()
	s := &http.Server{Handler: h}
	go s.Serve(p)
	tr := &http.Transport{DialContext: p.Dial}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
	})
	return tr
}

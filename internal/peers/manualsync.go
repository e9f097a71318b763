package peers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// ManualSync is a program that answers POST /manual-sync as the Python
// calendar does.
type ManualSync struct {
	tb  testing.TB
	url string
}

// Post is one request that /manual-sync got.
type Post struct {
	Headers map[string]string
	Body    string
}

// StartManualSync runs the program, which is httpfallback/testdata's
// manual_sync.py, and returns when it serves. It skips or fails the test
// without Python and Flask, as [realredis.Require] says.
func StartManualSync(tb testing.TB, program string) *ManualSync {
	tb.Helper()
	p := start(tb, realredis.RequirePython(tb, "flask"), program)
	var port int
	p.next(&port)
	return &ManualSync{tb, "http://127.0.0.1:" + strconv.Itoa(port)}
}

// URL is that of /manual-sync.
func (m *ManualSync) URL() string { return m.url + "/manual-sync" }

// Break makes the program fail the matches with these IDs and forget the
// requests it got.
func (m *ManualSync) Break(matchIDs ...int64) {
	m.tb.Helper()
	body, err := json.Marshal(map[string]any{"sync": "write", "broken": append([]int64{}, matchIDs...)})
	if err != nil {
		m.tb.Fatalf("peers: %v", err)
	}
	m.control(http.MethodPut, body, nil)
}

// Posts returns the requests that /manual-sync got, in order.
func (m *ManualSync) Posts() []Post {
	m.tb.Helper()
	var posts []Post
	m.control(http.MethodGet, nil, &posts)
	return posts
}

func (m *ManualSync) control(method string, body []byte, answer any) {
	m.tb.Helper()
	req, err := http.NewRequestWithContext(m.tb.Context(), method, m.url+"/control", bytes.NewReader(body))
	if err != nil {
		m.tb.Fatalf("peers: %v", err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, IdleConnTimeout: time.Second}}
	resp, err := client.Do(req)
	if err != nil {
		m.tb.Fatalf("peers: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.tb.Fatalf("peers: the program answered %d to %s /control", resp.StatusCode, method)
	}
	if answer != nil {
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			m.tb.Fatalf("peers: %v", err)
		}
	}
}

package httpfallback_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// calendar is the Flask program of testdata.
type calendar struct {
	t   *testing.T
	url string
}

// control is what the program does with the matches.
type control struct {
	Sync   string `json:"sync,omitempty"`
	Broken []int  `json:"broken,omitempty"`
}

func startCalendar(t *testing.T) calendar {
	t.Helper()
	cmd := exec.Command(realredis.RequirePython(t, "flask"), "-B", "testdata/manual_sync.py")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the program has printed no port")
	return calendar{t, "http://127.0.0.1:" + strings.TrimSpace(port)}
}

// set changes the program's behaviour and forgets what it got.
func (c calendar) set(what control) {
	c.t.Helper()
	body, err := json.Marshal(what)
	require.NoError(c.t, err)
	req, err := http.NewRequest(http.MethodPut, c.url+"/control", bytes.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	resp.Body.Close()
	require.Equal(c.t, 200, resp.StatusCode)
}

// got returns the requests since set.
func (c calendar) got() []request {
	c.t.Helper()
	resp, err := http.Get(c.url + "/control")
	require.NoError(c.t, err)
	defer resp.Body.Close()
	var seen []struct {
		Headers map[string]string
		Body    string
	}
	require.NoError(c.t, json.NewDecoder(resp.Body).Decode(&seen))
	var list []request
	for _, s := range seen {
		h := http.Header{}
		for k, v := range s.Headers {
			h.Set(k, v)
		}
		list = append(list, request{http.MethodPost, h, []byte(s.Body)})
	}
	return list
}

func TestClient_Notify_pythonCalendar(t *testing.T) {
	t.Parallel()
	cal := startCalendar(t)
	for _, row := range []struct {
		name     string
		control  control
		batch    int
		matches  int
		want     string // the parts requested, in order
		accepted bool
		status   int
		text     string
	}{
		{"every match is written", control{}, 1, 3, "1 2 3", true, 0, ""},
		{"no matches", control{}, 1, 0, "1", true, 0, ""},
		{"in batches", control{}, 2, 3, "1 2", true, 0, ""},
		{"one match is never written", control{Broken: []int{6200002}}, 1, 3, "1 2 2 2 3", false, 500, "handled none of the matches"},
		{"its failure is hidden in a batch", control{Broken: []int{6200002}}, -1, 3, "1", true, 0, ""},
		{"no match is written", control{Broken: []int{6200001, 6200002}}, 1, 2, "1 1 1 2", false, 500, "Google's token"},
		{"the calendar's code raises", control{Sync: "raise"}, 1, 1, "1 1 1", false, 500, "its own log says why"},
		{"the calendar's code says nothing", control{Sync: "nothing"}, 1, 1, "1 1 1", false, 500, "handled none of the matches"},
		{"no calendar is configured", control{Sync: "unset"}, 1, 1, "1 1 1", false, 500, "its own log says why"},
		{"the route was not registered", control{Sync: "gone"}, 1, 2, "1", false, 404, "an invalid REDIS_TIMEOUT"},
	} {
		cal.set(row.control)
		m := snapshot(row.matches)
		err := client(t, cal.url+"/manual-sync", httpfallback.Options{BatchSize: row.batch}).Notify(t.Context(), m)
		var keys []string
		for _, r := range cal.got() {
			keys = append(keys, strings.TrimPrefix(r.header.Get("Idempotency-Key"), m.ID+"/"))
		}
		require.Equal(t, row.want, strings.Join(keys, " "), row.name)
		if row.accepted {
			require.NoError(t, err, row.name)
			continue
		}
		require.Equal(t, row.status, failed(t, err).Status, row.name)
		require.ErrorContains(t, err, row.text, row.name)
	}
	// The program's own GET is 405, and what is no route 404, both in HTML.
	err := client(t, cal.url+"/sync", httpfallback.Options{}).Notify(t.Context(), snapshot(1))
	require.Equal(t, 404, failed(t, err).Status)
	require.ErrorContains(t, err, "has no /sync")
	err = client(t, cal.url+"/control", httpfallback.Options{}).Notify(t.Context(), snapshot(1))
	require.Equal(t, 405, failed(t, err).Status)
}

func TestClient_Notify_pythonCalendar_matches(t *testing.T) {
	t.Parallel()
	cal := startCalendar(t)
	cal.set(control{})
	require.NoError(t, client(t, cal.url+"/manual-sync", httpfallback.Options{}).Notify(t.Context(), snapshot(3)))
	for i, r := range cal.got() {
		require.Equal(t, []int{6200001 + i}, r.matchIDs(t))
		require.Contains(t, string(r.body), match(i+1))
	}
}

// The calendar was replaced by the Python one after its form was learnt.
func TestClient_Notify_pythonCalendar_wholeEnvelope(t *testing.T) {
	t.Parallel()
	cal := startCalendar(t)
	cal.set(control{})
	python := true
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if python && r.Method == http.MethodPost {
			resp, err := http.Post(cal.url+"/manual-sync", r.Header.Get("Content-Type"), r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			if resp.StatusCode == 200 {
				fmt.Fprint(w, success)
			}
			return
		}
		w.Header().Set("Accept-Post", envelopeType)
	})
	require.NoError(t, client(t, serve(t, front), httpfallback.Options{}).Notify(t.Context(), snapshot(2)))
	got := cal.got()
	require.Len(t, got, 3, "the envelope, which it refuses, and two parts")
	require.Equal(t, string(snapshot(2).Body), string(got[0].body))
	require.Equal(t, []int{6200001}, got[1].matchIDs(t))
	require.Equal(t, []int{6200002}, got[2].matchIDs(t))
}

// TestHandler_pythonCalendar_sameAnswers sends the same bodies to both: who
// posts to the one can post to the other.
func TestHandler_pythonCalendar_sameAnswers(t *testing.T) {
	t.Parallel()
	cal := startCalendar(t)
	cal.set(control{})
	h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) { return message.Result{}, nil }), httpfallback.HandlerOptions{})
	for _, body := range []string{
		"", "no JSON", "{}", "[]", "null", `{"a":1}`, `[{"matchid":6200001}]`,
		`{"matches":[]}`, `{"matches":[` + match(1) + `]}`, `{"matches":[{"matchid":6200001,"x":NaN}]}`,
		`{"matches":[` + match(1) + `],"more":true}`,
	} {
		resp, err := http.Post(cal.url+"/manual-sync", "text/plain", strings.NewReader(body))
		require.NoError(t, err)
		var want map[string]any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&want))
		resp.Body.Close()
		w, got := post(t, h, body)
		require.Equal(t, resp.StatusCode, w.Code, body)
		delete(want, "timestamp")
		delete(got, "message")
		require.Equal(t, want, got, body)
	}
}

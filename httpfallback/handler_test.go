package httpfallback_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
)

// receiver is a Receiver made of a function. A nil one decodes, as a
// subscriber does, and reports success.
type receiver func(ctx context.Context, channel string, data []byte) (message.Result, error)

func (f receiver) Dispatch(ctx context.Context, channel string, data []byte) (message.Result, error) {
	if f != nil {
		return f(ctx, channel, data)
	}
	e, err := message.Decode(data)
	if err != nil {
		return message.Result{}, err
	}
	return message.Result{Type: e.Type, MessageID: e.ID, Matches: e.MatchCount()}, nil
}

func handler(t *testing.T, r httpfallback.Receiver, opts httpfallback.HandlerOptions) http.Handler {
	t.Helper()
	if opts.Token.IsZero() {
		opts.AllowUnauthenticated = true
	}
	if opts.Logger == nil {
		opts.Logger = logcheck.New(t)
	}
	h, err := httpfallback.Handler(r, opts)
	require.NoError(t, err)
	return h
}

// post sends body and checks what all JSON answers have in common.
func post(t *testing.T, h http.Handler, body string, header ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/manual-sync", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return answered(t, h, req)
}

func answered(t *testing.T, h http.Handler, req *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, envelopeType, w.Header().Get("Accept-Post"))
	logcheck.Clean(t, "answer", w.Body.String())
	var keys map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &keys))
	require.Equal(t, w.Code == http.StatusOK, keys["success"])
	at, err := time.Parse(time.RFC3339, keys["timestamp"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	require.True(t, strings.HasSuffix(keys["timestamp"].(string), "Z"))
	delete(keys, "timestamp")
	return w, keys
}

func TestHandler_faults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		r    httpfallback.Receiver
		opts httpfallback.HandlerOptions
		text string
	}{
		{receiver(nil), httpfallback.HandlerOptions{}, "no token"},
		{receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token), AllowUnauthenticated: true}, "choose one"},
		{nil, httpfallback.HandlerOptions{Token: config.NewSecret(token)}, "needs a receiver"},
		{receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token), MaxBytes: -1}, "MaxBytes is negative"},
	} {
		_, err := httpfallback.Handler(row.r, row.opts)
		require.ErrorContains(t, err, row.text)
		logcheck.CleanValue(t, "error", err)
	}
}

func TestHandler_POST_accepts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, body, channel string
		matches             float64
	}{
		{"whole envelope", string(snapshot(3).Body), message.ChannelMatchUpdates, 3},
		{"empty snapshot", string(snapshot(0).Body), message.ChannelMatchUpdates, 0},
		{"status", string(status().Body), message.ChannelProcessingStatus, 0},
		{"bare matches", `{"matches":[` + match(1) + `,` + match(2) + `]}`, message.ChannelMatchUpdates, 2},
		{"bare and empty", ` {"matches" : [ ] } `, message.ChannelMatchUpdates, 0},
		{"the documented call", `{"matches": [{"matchid": 123456, "hemmalag": "Team A", "bortalag": "Team B"},
			{"matchid": 789012, "hemmalag": "Team C", "bortalag": "Team D"}]}`, message.ChannelMatchUpdates, 2},
		{"NaN", `{"matches":[{"matchid":6200001,"anlaggningLatitud":NaN}]}`, message.ChannelMatchUpdates, 1},
		{"a type of the user's own", `{"message_id":"x","type":"own","source":"s","version":"1.0","timestamp":"2031-05-06T15:00:00Z","payload":{"a":1}}`, "", 0},
	} {
		for _, contentType := range []string{"application/json", "Application/JSON; charset=utf-8", envelopeType} {
			var gotChannel, gotBody string
			h := handler(t, receiver(func(ctx context.Context, channel string, data []byte) (message.Result, error) {
				gotChannel, gotBody = channel, string(data)
				return receiver(nil).Dispatch(ctx, channel, data)
			}), httpfallback.HandlerOptions{})
			w, keys := post(t, h, row.body, "Content-Type", contentType)
			require.Equal(t, 200, w.Code, row.name)
			require.Equal(t, map[string]any{"success": true, "matches_processed": row.matches, "message": "Manual sync completed"}, keys, row.name)
			require.Equal(t, row.channel, gotChannel, row.name)
			require.Equal(t, row.body, gotBody, row.name)
		}
	}
}

// What a browser sends for a page of another origin is not taken, whoever may
// post; nor what does not call itself JSON, which such a page can send.
func TestHandler_POST_foreignPages(t *testing.T) {
	t.Parallel()
	always := func(*http.Request) bool { return true }
	for name, opts := range map[string]httpfallback.HandlerOptions{
		"open": {AllowUnauthenticated: true}, "authorize": {Authorize: always}, "token": {Token: config.NewSecret(token)},
	} {
		var refused []httpfallback.Refusal
		opts.OnRefused = func(r httpfallback.Refusal) { refused = append(refused, r) }
		opts.Logger = logcheck.New(t)
		h, err := httpfallback.Handler(receiver(nil), opts)
		require.NoError(t, err)
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
			w, _ := post(t, h, `{"matches":[]}`, append(header, "Authorization", "Bearer "+token)...)
			require.Equal(t, 403, w.Code, name)
		}
		for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ";"} {
			w, _ := post(t, h, `{"matches":[]}`, "Content-Type", contentType, "Authorization", "Bearer "+token)
			require.Equal(t, 415, w.Code, name)
		}
		require.Len(t, refused, 8, name)
		w, _ := post(t, h, `{"matches":[]}`, "Sec-Fetch-Site", "same-origin", "Authorization", "Bearer "+token)
		require.Equal(t, 200, w.Code, name)
	}
}

// Every refusal is counted by its reason and logged, however many there are.
func TestHandler_POST_countsRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		refused := map[httpfallback.Refusal]int{}
		r := receiver(func(context.Context, string, []byte) (message.Result, error) {
			return message.Result{}, message.ErrBusy
		})
		h := handler(t, r, httpfallback.HandlerOptions{
			Token: config.NewSecret(token), MaxBytes: 100, Logger: logger, OnRefused: func(why httpfallback.Refusal) { refused[why]++ },
		})
		good := []string{"Authorization", "Bearer " + token}
		for range 3 {
			post(t, h, `{"matches":[]}`, "Authorization", "Bearer guess")
			post(t, h, `{"matches":[]}`, append(good, "Sec-Fetch-Site", "cross-site")...)
			post(t, h, `{"matches":[]}`, append(good, "Content-Type", "text/plain")...)
			post(t, h, `{"matches":[`+strings.Repeat(" ", 200)+`]}`, good...)
			post(t, h, `{"matches":1}`, good...)
			post(t, h, `{"matches":[],"part":{"n":1,"of":2}}`, good...)
			post(t, h, `{"matches":[]}`, good...)
		}
		require.Equal(t, map[httpfallback.Refusal]int{
			httpfallback.RefusedUnauthorized: 3, httpfallback.RefusedOrigin: 3, httpfallback.RefusedMediaType: 3, httpfallback.RefusedTooLarge: 3,
			httpfallback.RefusedInvalid: 3, httpfallback.RefusedPart: 3, httpfallback.RefusedBusy: 3,
		}, refused)
		require.Equal(t, 7, log.Count("fallback message refused"), "a line of each kind")
		time.Sleep(10 * time.Second)
		post(t, h, `{"matches":1}`, good...)
		require.Equal(t, json.Number("2"), log.Records()[7].Attrs["held_back"])
	})
}

func TestHandler_POST_refuses(t *testing.T) {
	t.Parallel()
	const (
		noJSON    = "Missing JSON data in request"
		noMatches = "Missing 'matches' in request data"
	)
	envelope := func(payload string) string {
		return `{"message_id":"x","type":"match_updates","source":"s","version":"1.0","timestamp":"2031-05-06T15:00:00Z","payload":` + payload + `}`
	}
	for _, row := range []struct{ body, fault string }{
		{"", noJSON},
		{" \n", noJSON},
		{"ake.oberg@example.com", noJSON},
		{"health_check_1700000000", noJSON},
		{`{"matches":[`, noJSON},
		{`{"matches":[]} {}`, noJSON},
		{"{}", noJSON},
		{"[]", noJSON},
		{"null", noJSON},
		{"5", noJSON},
		{`"matches"`, noJSON},
		{"true", noJSON},
		{`[{"matchid":6200001}]`, noMatches},
		{`{"a":1}`, noMatches},
		{`{"test":true}`, noMatches},
		{`{"matches":null}`, noMatches},
		{`{"matches":{}}`, noMatches},
		{`{"matches":"070-174 06 10"}`, noMatches},
		{envelope(`{}`), noMatches},
		{envelope(`{"matches":null}`), noMatches},
		{envelope(`{"metadata":{}}`), noMatches},
	} {
		h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
			return message.Result{}, errors.New("dispatched")
		}), httpfallback.HandlerOptions{})
		w, keys := post(t, h, row.body)
		require.Equal(t, 400, w.Code, row.body)
		require.Equal(t, map[string]any{"success": false, "error": row.fault}, keys, row.body)
	}
	for _, body := range []string{
		envelope(`5`),
		envelope(`{"matches":5}`),
		"{\"matches\":[{\"matchid\":1,\"namn\":\"\xff\"}]}",
	} {
		w, keys := post(t, handler(t, receiver(nil), httpfallback.HandlerOptions{}), body)
		require.Equal(t, 400, w.Code, body)
		require.NotEmpty(t, keys["error"])
	}
}

func TestHandler_POST_part(t *testing.T) {
	t.Parallel()
	body := strings.Replace(string(snapshot(1).Body), `"payload"`, `"part":{"n":1,"of":2},"payload"`, 1)
	w, keys := post(t, handler(t, receiver(nil), httpfallback.HandlerOptions{}), body)
	require.Equal(t, 422, w.Code)
	require.Equal(t, "Parts are not accepted: send the whole message", keys["error"])
}

func TestHandler_POST_outcomes(t *testing.T) {
	t.Parallel()
	const failed = "Calendar synchronization failed"
	secret := errors.New("cannot write for ake.oberg@example.com, 070-174 06 10")
	for _, row := range []struct {
		name   string
		result message.Result
		err    error
		status int
		keys   map[string]any
	}{
		{"handled", message.Result{Matches: 2}, nil, 200,
			map[string]any{"success": true, "matches_processed": 2.0, "message": "Manual sync completed"}},
		{"duplicate", message.Result{Matches: 2, Duplicate: true}, nil, 200,
			map[string]any{"success": true, "matches_processed": 2.0, "message": "Manual sync completed"}},
		{"duplicate of which nothing else is known", message.Result{Duplicate: true}, nil, 200,
			map[string]any{"success": true, "matches_processed": 2.0, "message": "Manual sync completed"}},
		{"failed", message.Result{}, secret, 500,
			map[string]any{"success": false, "matches_processed": 2.0, "error": failed}},
		{"cancelled", message.Result{}, context.Canceled, 500,
			map[string]any{"success": false, "matches_processed": 2.0, "error": failed}},
		{"busy", message.Result{}, fmt.Errorf("%w: %w", message.ErrBusy, secret), 503,
			map[string]any{"success": false, "error": "Receiver is busy: send the message again later"}},
		{"invalid", message.Result{}, fmt.Errorf("%w: %w", message.ErrInvalid, secret), 400,
			map[string]any{"success": false, "error": "Invalid message"}},
	} {
		h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
			return row.result, row.err
		}), httpfallback.HandlerOptions{})
		w, keys := post(t, h, string(snapshot(2).Body))
		require.Equal(t, row.status, w.Code, row.name)
		require.Equal(t, row.keys, keys, row.name)
		require.Equal(t, row.status == 503, w.Header().Get("Retry-After") != "", row.name)
	}
}

func TestHandler_POST_panic(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	calls := 0
	h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
		if calls++; calls == 1 {
			panic("ake.oberg@example.com")
		}
		return message.Result{}, nil
	}), httpfallback.HandlerOptions{Logger: logger})
	w, keys := post(t, h, string(snapshot(2).Body))
	require.Equal(t, 500, w.Code)
	require.Equal(t, map[string]any{"success": false, "matches_processed": 2.0, "error": "Calendar synchronization failed"}, keys)
	require.Equal(t, 1, log.Count("fallback receiver panicked"))
	w, _ = post(t, h, string(snapshot(2).Body))
	require.Equal(t, 200, w.Code)
}

func TestHandler_token(t *testing.T) {
	t.Parallel()
	h := handler(t, receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token)})
	for _, row := range []struct {
		authorization string
		status        int
	}{
		{"Bearer " + token, 200},
		{"bearer  " + token, 200},
		{"", 401},
		{"Bearer", 401},
		{"Bearer ", 401},
		{token, 401},
		{"Basic " + token, 401},
		{"Bearer " + token + "x", 401},
		{"Bearer " + token[1:], 401},
		{"Bearer " + token + " " + token, 401},
	} {
		w, _ := post(t, h, string(snapshot(1).Body), "Authorization", row.authorization)
		require.Equal(t, row.status, w.Code, row.authorization)
		if row.status == 401 {
			require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
		}
	}
	w, _ := post(t, handler(t, receiver(nil), httpfallback.HandlerOptions{AllowUnauthenticated: true}), string(snapshot(1).Body))
	require.Equal(t, 200, w.Code)
}

func TestHandler_OPTIONS(t *testing.T) {
	t.Parallel()
	h := handler(t, receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token)})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, "/x", nil))
	require.Equal(t, 204, w.Code)
	require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"), "a POST without the token would be a 401")
	require.Equal(t, envelopeType, w.Header().Get("Accept-Post"), "what is accepted is told to everybody")

	w = httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodOptions, "/x", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	h.ServeHTTP(w, req)
	require.Equal(t, 204, w.Code)
	require.Equal(t, "OPTIONS, POST", w.Header().Get("Allow"))
	require.Equal(t, envelopeType, w.Header().Get("Accept-Post"))
	require.Empty(t, w.Body.String())
}

func TestHandler_otherMethods(t *testing.T) {
	t.Parallel()
	h := handler(t, receiver(nil), httpfallback.HandlerOptions{Token: config.NewSecret(token)})
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
		w, _ := answered(t, h, httptest.NewRequest(method, "/manual-sync", nil))
		require.Equal(t, 405, w.Code)
		require.Equal(t, "OPTIONS, POST", w.Header().Get("Allow"))
	}
}

func TestHandler_POST_tooLong(t *testing.T) {
	t.Parallel()
	limit := len(snapshot(1).Body)
	h := handler(t, receiver(nil), httpfallback.HandlerOptions{MaxBytes: limit})
	fill := func(n int) string { return string(snapshot(1).Body) + strings.Repeat(" ", n-limit) }
	for _, row := range []struct {
		body   string
		status int
	}{
		{fill(limit), 200},
		{fill(limit + 1), 413},
		{fill(2 * limit), 413},
		{fill(20 * limit), 413},
	} {
		w, _ := post(t, h, row.body)
		require.Equal(t, row.status, w.Code, len(row.body))

		req := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(row.body)))
		require.EqualValues(t, -1, req.ContentLength)
		req.Header.Set("Content-Type", "application/json")
		w, _ = answered(t, h, req)
		require.Equal(t, row.status, w.Code, "length not announced")
	}
}

func TestHandler_POST_bodyCut(t *testing.T) {
	t.Parallel()
	dispatched := make(chan struct{}, 1)
	s := httptest.NewServer(handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
		dispatched <- struct{}{}
		return message.Result{}, nil
	}), httpfallback.HandlerOptions{}))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n%s", snapshot(1).Body)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 400, resp.StatusCode)
	require.NoError(t, conn.Close())
	s.Close()
	require.Empty(t, dispatched)
}

// An Idempotency-Key is no message ID: each of these is handled.
func TestHandler_POST_keyWithoutMessageID(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	h := handler(t, receiver(func(_ context.Context, _ string, data []byte) (message.Result, error) {
		e, err := message.Decode(data)
		require.NoError(t, err)
		require.True(t, e.IDGenerated)
		ids[e.ID] = true
		return message.Result{}, nil
	}), httpfallback.HandlerOptions{})
	for range 3 {
		w, _ := post(t, h, `{"matches":[`+match(1)+`]}`, "Idempotency-Key", "always-the-same")
		require.Equal(t, 200, w.Code)
	}
	require.Len(t, ids, 3)
}

// However many large messages come at once, those that are at work have a bound:
// the others are asked to come back, and are taken when there is room again.
func TestHandler_bytesAtWorkAreBounded(t *testing.T) {
	t.Parallel()
	const limit, posts = 64 << 10, 50
	body := `{"matches":[{"matchid":1}]}`
	body += strings.Repeat(" ", limit-len(body))
	for name, length := range map[string]int64{"length": limit, "no length": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate, answers := make(chan struct{}), make(chan *httptest.ResponseRecorder, posts)
			var arrived atomic.Int32
			h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
				if arrived.Add(1) <= 4 { // one more is answered, and seen below
					<-gate
				}
				return message.Result{}, nil
			}), httpfallback.HandlerOptions{MaxBytes: limit})
			send := func(body string) {
				req := httptest.NewRequest(http.MethodPost, "/manual-sync", strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				req.ContentLength = length
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				answers <- w
			}
			for range posts {
				go send(body)
			}
			for range posts - 4 {
				w := <-answers
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				require.Equal(t, "1", w.Header().Get("Retry-After"))
			}
			close(gate)
			for range 4 {
				require.Equal(t, http.StatusOK, (<-answers).Code)
			}
			for range posts {
				send(body)
				require.Equal(t, http.StatusOK, (<-answers).Code)
			}
		})
	}
}

// Small messages of unknown length count by what they are as soon as they are read.
func TestHandler_smallMessagesAreAtWorkTogether(t *testing.T) {
	t.Parallel()
	gate, arrived, answers := make(chan struct{}), make(chan struct{}), make(chan int)
	h := handler(t, receiver(func(context.Context, string, []byte) (message.Result, error) {
		arrived <- struct{}{}
		<-gate
		return message.Result{}, nil
	}), httpfallback.HandlerOptions{})
	const posts = 20
	for range posts {
		go func() {
			req := httptest.NewRequest(http.MethodPost, "/manual-sync", strings.NewReader(`{"matches":[{"matchid":1}]}`))
			req.Header.Set("Content-Type", "application/json")
			req.ContentLength = -1
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			answers <- w.Code
		}()
		<-arrived
	}
	close(gate)
	for range posts {
		require.Equal(t, http.StatusOK, <-answers)
	}
}

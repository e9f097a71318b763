package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// ask makes one request and returns the status and the body.
func ask(t *testing.T, method, url, bearer, body string) (int, string) {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, reader)
	require.NoError(t, err)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

// sameKeys requires the keys of the guide's example, with values of its kinds.
// further are keys that the answer has besides, by their paths.
func sameKeys(t *testing.T, path string, want, got any, further map[string]bool) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		require.True(t, ok, "%s is an object", path)
		for key, value := range want {
			require.Contains(t, object, key, path)
			sameKeys(t, path+"."+key, value, object[key], further)
		}
		for key := range object {
			if _, known := want[key]; !known {
				require.True(t, further[path+"."+key], "%s.%s is not in the guide", path, key)
			}
		}
	case []any:
		require.IsType(t, want, got, path)
	default:
		require.IsType(t, want, got, path)
	}
}

// TestServe_guide asks what the integration guide shows, with its curl
// commands, against a real Redis: the same keys, at the same places. The files
// hold the answers of the guide.
func TestServe_guide(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	p, url := serving(t, map[string]string{"REDIS_URL": "redis://calendar:" + logcheck.Password + "@" + redis.Addr(), "FOGIS_FALLBACK_TOKEN": token}, aclUser(t, redis)...)
	base := strings.TrimSuffix(url, "/manual-sync")
	p.saw("subscribed")
	const stats = ".statistics.statistics.subscription_stats"
	further := map[string]bool{
		stats + ".invalid_messages": true, stats + ".duplicate_messages": true, stats + ".dead_lettered_messages": true,
		stats + ".unhandled_messages": true, stats + ".probe_messages": true, stats + ".withdrawn_messages": true, stats + ".left_to_stream_messages": true,
		stats + ".left_to_holder_messages": true, stats + ".returned_messages": true, stats + ".waiting_messages": true,
		".statistics.statistics.publisher_stats": true, ".statistics.statistics.http_stats": true,
		stats + ".gaps": true, stats + ".reconnects": true, stats + ".last_message": true, ".test_results.durations_ms": true,
	}
	for _, test := range []struct{ method, path, bearer, body string }{
		{"GET", "/redis-status", "", ""},
		{"GET", "/redis-config", "", ""},
		{"POST", "/manual-sync", token, `{"matches": [{"matchid": 123456, "hemmalag": "Team A", "bortalag": "Team B"}, {"matchid": 789012, "hemmalag": "Team C", "bortalag": "Team D"}]}`},
		{"GET", "/redis-stats", "", ""},
		{"POST", "/redis-test", token, ""},
		{"POST", "/redis-restart", token, ""},
	} {
		code, body := ask(t, test.method, base+test.path, test.bearer, test.body)
		require.Equal(t, http.StatusOK, code, "%s: %s", test.path, body)
		text, err := os.ReadFile(filepath.Join("testdata", "guide"+strings.ReplaceAll(test.path, "/", "_")+".json"))
		require.NoError(t, err)
		var want, got any
		require.NoError(t, json.Unmarshal(text, &want))
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		sameKeys(t, "", want, got, further)
		logcheck.Clean(t, test.path, body)
	}

	// The truth behind the keys.
	_, body := ask(t, "GET", base+"/redis-status", "", "")
	require.Contains(t, body, `"status":"connected"`)
	require.Contains(t, body, `"active_channels":["fogis:matches:updates","fogis:processor:status","fogis:system:alerts"]`)
	_, body = ask(t, "GET", base+"/redis-stats", "", "")
	require.Contains(t, body, `"successful_messages":1`)
	require.Contains(t, body, `"gaps":3,"reconnects":3`, "the restart's")
	code, body := ask(t, "POST", base+"/manual-sync", token, `{"matches": [{"matchid": 123456}]}`)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"matches_processed":1`)

	// With Redis away nothing says that it is connected.
	redis.Stop()
	require.Eventually(t, func() bool {
		_, body := ask(t, "GET", base+"/redis-status", "", "")
		return strings.Contains(body, `"status":"degraded"`) && strings.Contains(body, `"active_channels":[]`)
	}, patience, 20*time.Millisecond)
	code, body = ask(t, "GET", base+"/readyz", "", "")
	require.Equal(t, http.StatusOK, code, "it takes updates by HTTP: %s", body)
	require.Contains(t, body, `"routes":["http"]`)
	require.Contains(t, body, `"reasons":["`)
	code, _ = ask(t, "GET", base+"/livez", "", "")
	require.Equal(t, http.StatusOK, code)
	code, body = ask(t, "POST", base+"/redis-test", token, "")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "Redis connection failed: ")
	require.Contains(t, body, "Check Redis URL and ensure Redis service is running")
	code, body = ask(t, "GET", base+"/redis-health", "", "")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, `"overall_status":"unhealthy"`)
	code, body = ask(t, "POST", base+"/manual-sync", token, `{"matches": [{"matchid": 7}]}`)
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, exitDone, p.stop(), p.stderr)
}

// aclUser makes the user calendar with the password of the privacy tests.
func aclUser(t *testing.T, redis *realredis.Server) []string {
	require.NoError(t, redis.Client(t).Do(t.Context(), "ACL", "SETUSER", "calendar", "on", ">"+logcheck.Password, "~*", "&*", "+@all").Err())
	return nil
}

// What was published and posted with persons in it shows up nowhere.
func TestServe_showsNothingOfMessages(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	p, url := serving(t, map[string]string{"REDIS_URL": redis.URL(), "FOGIS_FALLBACK_TOKEN": logcheck.Password})
	base := strings.TrimSuffix(url, "/manual-sync")
	p.saw("subscribed")
	secrets := logcheck.Forbidden()
	require.NotEmpty(t, secrets)
	conn := redis.Client(t)
	for _, secret := range secrets {
		// The names of a source and of an alert's type are shown if they are
		// names: no word of a message's text may be taken for one.
		name := `"` + secret + ` "`
		text, err := json.Marshal(secret)
		require.NoError(t, err)
		match := `{"matches":[{"matchid":1,"hemmalag":` + string(text) + `,"domaruppdraglista":[{"personnamn":` + string(text) + `,"mobiltelefon":` + string(text) + `,"epostadress":` + string(text) + `}]}]}`
		_, body := ask(t, "POST", base+"/manual-sync", logcheck.Password, match)
		logcheck.Clean(t, "manual-sync", body)
		_, body = ask(t, "POST", base+"/redis-test", logcheck.Password, `["`+secret)
		logcheck.Clean(t, "redis-test", body)
		_, body = ask(t, "POST", base+"/redis-restart", secret, "")
		logcheck.Clean(t, "redis-restart", body)
		for channel, payload := range map[string]string{
			message.ChannelMatchUpdates:     `{"type":"match_updates","source":` + name + `,"payload":` + match + `}`,
			message.ChannelProcessingStatus: `{"type":"processing_status","source":` + name + `,"payload":{"status":` + string(text) + `,"details":{"cycle_number":` + string(text) + `,"error":` + string(text) + `}}}`,
			message.ChannelSystemAlerts:     `{"type":"system_alert","source":` + name + `,"payload":{"alert_type":` + name + `,"severity":` + string(text) + `,"message":` + string(text) + `}}`,
		} {
			require.NoError(t, conn.Publish(t.Context(), channel, payload).Err())
			require.NoError(t, conn.Publish(t.Context(), channel, payload[:len(payload)-2]).Err()) // broken
		}
	}
	require.Eventually(t, func() bool {
		_, body := ask(t, "GET", base+"/redis-history", "", "")
		return strings.Count(body, `"type":"system_alert"`) == len(secrets) && strings.Count(body, `"type":"processing_status"`) == len(secrets)
	}, patience, 20*time.Millisecond)
	for _, path := range []string{"/redis-status", "/redis-stats", "/redis-config", "/redis-history", "/redis-health", "/redis-dashboard", "/livez", "/readyz", "/" + secrets[0]} {
		_, body := ask(t, "GET", base+path, "", "")
		logcheck.Clean(t, path, body)
	}
	resp, err := http.Get(base + "/redis-dashboard/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	event := make([]byte, 64<<10)
	n, err := io.ReadAtLeast(resp.Body, event, 1000)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(event, []byte("data: {")))
	logcheck.Clean(t, "events", string(event[:n]))
	require.Equal(t, exitDone, p.stop(), p.stderr)
}

// Callers that send slowly, or without end, are cut off.
func TestServe_slowAndEndlessRequests(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	p, url := serving(t, map[string]string{"REDIS_URL": redis.URL(), "FOGIS_FALLBACK_TOKEN": token})
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), manualSyncPath)

	slow, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer slow.Close()
	_, err = io.WriteString(slow, "GET /redis-status HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)

	for _, path := range []string{manualSyncPath, "/redis-test"} {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		const gigabyte = 1 << 30
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, token, gigabyte)
		require.NoError(t, err)
		sent, chunk := 0, bytes.Repeat([]byte(" "), 1<<20)
		for err == nil && sent < gigabyte {
			var n int
			n, err = conn.Write(chunk)
			sent += n
		}
		require.Error(t, err, "%s: cut off", path)
		require.Less(t, sent, 128<<20, path)
	}

	// ReadHeaderTimeout is five seconds.
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(patience)))
	_, err = io.ReadAll(slow)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the server ends it first")
	code, body := ask(t, "GET", "http://"+addr+"/livez", "", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, exitDone, p.stop(), p.stderr)
}

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

const token = "s3kret-l0senord"

// serving starts serve on a free port and returns its URL.
func serving(t *testing.T, env map[string]string, args ...string) (*program, string) {
	t.Helper()
	p := start(t, env, "", append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	_, url, found := strings.Cut(p.saw("listening on "), "listening on ")
	require.True(t, found)
	return p, url
}

func TestServe_takesBothRoutes(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	env := map[string]string{"REDIS_URL": redis.URL(), "FOGIS_FALLBACK_TOKEN": token, "REDIS_MAX_RETRIES": "0"}
	server, url := serving(t, env)
	server.saw("subscribed")

	writer := start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--fallback", url)
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, "pubsub", writer.line()["route"])
	require.Equal(t, "pubsub", server.line()["via"])

	redis.Stop()
	writer = start(t, env, "["+oddMatch+"]", "publish", "matches", "--file", "-", "--fallback", url)
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	receipt := writer.line()
	require.Equal(t, "fallback", receipt["route"])
	require.Equal(t, "accepted", receipt["fallback"])
	line := server.line()
	require.Equal(t, "http", line["via"])
	require.Equal(t, receipt["message_id"], line["message_id"])
	require.Equal(t, []any{exact(t, oddMatch)}, line["payload"].(map[string]any)["matches"])
	require.Equal(t, exitDone, server.stop(), server.stderr)
}

func TestServe_asksForTheToken(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	env := map[string]string{"REDIS_URL": redis.URL(), "FOGIS_FALLBACK_TOKEN": token}
	_, url := serving(t, env)
	response, err := http.Post(url, "application/json", strings.NewReader(`{"matches":[]}`))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

func TestServe_withoutToken_mustBeSaidAloud(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	env := map[string]string{"REDIS_URL": redis.URL()}
	p := start(t, env, "", "serve", "--addr", "127.0.0.1:0")
	require.Equal(t, exitUsage, p.wait())
	require.Contains(t, p.stderr.String(), "--allow-unauthenticated")

	server, url := serving(t, env, "--allow-unauthenticated")
	server.saw("subscribed")
	response, err := http.Post(url, "application/json", strings.NewReader(`{"matches": [{"matchid": 123456}]}`))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var answer struct {
		Success   bool `json:"success"`
		Processed int  `json:"matches_processed"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.True(t, answer.Success)
	require.Equal(t, 1, answer.Processed)
	require.Equal(t, "http", server.line()["via"])
}

func TestServe_addressInUse_fails(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	p := start(t, nil, "", "serve", "--allow-unauthenticated", "--redis", redis.URL(), "--addr", strings.TrimPrefix(redis.URL(), "redis://"))
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), "address already in use")
}

func TestDev_servesRedis(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "", "dev", "--addr", "127.0.0.1:0")
	url := p.line()["redis_url"].(string)
	reader := start(t, nil, "", "subscribe", "--count", "1", "--redis", url)
	reader.saw("subscribed")
	writer := start(t, nil, "", "publish", "status", "--status", "started", "--redis", url)
	require.Equal(t, exitDone, writer.wait(), writer.stderr)
	require.Equal(t, message.ChannelProcessingStatus, reader.line()["channel"])
	require.Equal(t, exitDone, reader.wait())
	require.Equal(t, exitDone, p.stop())
}

func TestCheck_states(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	down := faultnet.Reserve(t)
	_, url := serving(t, map[string]string{"REDIS_URL": redis.URL()}, "--allow-unauthenticated")
	tests := []struct {
		name    string
		redis   string
		args    []string
		code    int
		overall string
		stderr  string
	}{
		{"healthy", redis.URL(), nil, exitDone, "healthy", "✅ Healthy: Redis pub/sub available"},
		{"healthy with fallback", redis.URL(), []string{"--fallback", url}, exitDone, "healthy", "✅ Healthy: Redis pub/sub available"},
		{"fallback away", redis.URL(), []string{"--fallback", "http://" + down + "/manual-sync"}, exitFailed, "degraded", "see fallback"},
		{"Redis away", "redis://" + down, []string{"--fallback", url}, exitFailed, "degraded", "⚠️ Degraded: Redis unavailable - HTTP fallback active"},
		{"both away", "redis://:s3kret-l0senord@" + down, []string{"--fallback", "http://" + down + "/manual-sync"}, exitUnhealthy, "unhealthy", down},
		{"Redis away, no fallback", "redis://" + down, nil, exitUnhealthy, "unhealthy", down},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var code int
			p := unhurried(func() (*program, string) {
				p := start(t, map[string]string{"REDIS_URL": test.redis}, "", append([]string{"check"}, test.args...)...)
				code = p.wait()
				return p, p.stderr.String()
			})
			require.Equal(t, test.code, code, p.stderr)
			require.Contains(t, p.stderr.String(), test.stderr)
			report := p.line()
			require.Equal(t, test.overall, report["overall_status"])
			checks := report["health_checks"].(map[string]any)
			if test.overall == "healthy" {
				for _, name := range []string{"performance", "persistence", "eviction", "output_buffer", "clock", "permissions", "publisher"} {
					require.Equal(t, "healthy", checks[name].(map[string]any)["status"], name)
				}
				for _, name := range []string{"connectivity", "pubsub"} {
					elapsed, err := checks[name].(map[string]any)["response_time_ms"].(json.Number).Float64()
					require.NoError(t, err)
					require.Positive(t, elapsed, name)
				}
			}
		})
	}
}

func TestCheck_answersPingButDeliversNothing_isUnhealthy(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	proxy := faultnet.New(t, redis.Addr())
	proxy.DropMessages(true)
	p := start(t, map[string]string{"REDIS_URL": "redis://" + proxy.Addr()}, "", "check")
	require.Equal(t, exitUnhealthy, p.wait(), p.stderr)
	require.Contains(t, p.stderr.String(), "did not come back")
}

func TestCheck_watch_repeatsUntilInterrupted(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	p := start(t, map[string]string{"REDIS_URL": redis.URL()}, "", "check", "--watch", "1s", "--json")
	until := func(state string) {
		for deadline := time.Now().Add(patience); p.line()["overall_status"] != state; {
			require.True(t, time.Now().Before(deadline), "never %s", state)
		}
	}
	until("healthy") // at once, but for a machine that is too busy to answer quickly
	redis.Stop()
	until("unhealthy")
	require.Equal(t, exitUnhealthy, p.stop())
	require.Empty(t, p.stderr.String(), "--json prints nothing for people")
	p = start(t, nil, "", "check", "--watch", "10ms")
	require.Equal(t, exitUsage, p.wait())
}

// What a user may not do is told by name, and nothing of it is done.
func TestCheck_permissions(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	conn := redis.Client(t)
	require.NoError(t, conn.Do(t.Context(), "ACL", "SETUSER", "calendar", "on", ">"+logcheck.Password, "~*", "&fogis:health:test", "&fogis:matches:updates", "&fogis:processor:status",
		"+@all", "-xadd").Err())
	env := map[string]string{"REDIS_URL": "redis://calendar:" + logcheck.Password + "@" + redis.Addr(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}
	p := start(t, env, "", "check")
	require.Equal(t, exitFailed, p.wait(), p.stderr)
	for _, says := range []string{"may not PUBLISH on fogis:system:alerts", "may not SUBSCRIBE on fogis:system:alerts", "may not XADD on {fogis:matches:updates}:stream"} {
		require.Contains(t, p.stderr.String(), says)
	}
	require.NotContains(t, p.stderr.String(), "PUBLISH on fogis:matches")
	require.Zero(t, conn.Exists(t.Context(), "{fogis:matches:updates}:stream").Val())
	require.Zero(t, conn.PubSubNumSub(t.Context(), "fogis:matches:updates").Val()["fogis:matches:updates"])
}

// Dead letters and a group that is behind are findings.
func TestCheck_streams(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	conn := redis.Client(t)
	require.NoError(t, conn.ConfigSet(t.Context(), "appendonly", "yes").Err())
	const channel = message.ChannelMatchUpdates
	require.NoError(t, conn.Do(t.Context(), "XADD", "{"+channel+"}:stream", "1000-1", "message", "x").Err())
	require.NoError(t, conn.XGroupCreate(t.Context(), "{"+channel+"}:stream", "calendar", "0").Err())
	require.NoError(t, conn.Do(t.Context(), "XADD", "{"+channel+"}:dead", "*", "message", "x").Err())
	p := start(t, map[string]string{"REDIS_URL": redis.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}, "", "check")
	require.Equal(t, exitFailed, p.wait(), p.stderr)
	require.Contains(t, p.stderr.String(), "dead letters of "+channel+", which no handler could handle: 1")
	require.Contains(t, p.stderr.String(), "group calendar on "+channel+" has had an entry waiting")
	checks := p.line()["health_checks"].(map[string]any)
	details := checks["streams"].(map[string]any)["details"].(map[string]any)[channel].(map[string]any)
	require.Equal(t, json.Number("1"), details["groups"].(map[string]any)["calendar"].(map[string]any)["lag"])
}

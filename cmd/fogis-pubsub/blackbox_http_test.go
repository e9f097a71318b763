package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// A status that may pass is tried again, whoever of the proxies between made it
// up, and none of them is called a fault of the URL.
func TestBlackbox_fallback_passingStatusIsTriedAgain(t *testing.T) {
	t.Parallel()
	away := "redis://" + faultnet.Reserve(t)
	statuses := []int{409, 423, 425, 429, 499, 500, 502, 503, 504, 507, 511, 598, 599}
	for status := 520; status <= 530; status++ {
		statuses = append(statuses, status)
	}
	for _, status := range statuses {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			receiver := newReceiver(t, func(_ string, attempt int) int {
				if attempt == 1 {
					return status
				}
				return http.StatusOK
			})
			env := map[string]string{"REDIS_URL": away, "REDIS_DURABLE": "false", "REDIS_MAX_RETRIES": "0", "FOGIS_FALLBACK_URL": receiver.URL + "/manual-sync"}
			receipt, stderr := publishes(t, env, 1)
			require.Equal(t, "fallback", receipt["route"], stderr)
			require.Equal(t, []string{"1"}, receiver.took())
			require.Equal(t, 2, receiver.attempts())

			receiver.busy() // so that there is one attempt
			receiver.set(func(string, int) int { return status })
			r := operate(t, env, "publish", "matches", "--file", snapshot(t, 2))
			require.Equal(t, exitFailed, r.code, r.stdout)
			require.Contains(t, r.stderr, fmt.Sprintf(": %d: ", status))
			require.NotContains(t, r.stderr, "FOGIS_FALLBACK_URL")
		})
	}
}

// receiving starts a receiving service of the program itself with a token, and
// returns its URL.
func receiving(t *testing.T, token string) (url string) {
	t.Helper()
	env := map[string]string{"REDIS_PUBSUB_ENABLED": "false", "FOGIS_FALLBACK_TOKEN": token}
	p := launch(t, "fogis-pubsub", env, "serve", "--addr", "127.0.0.1:0")
	_, url, _ = strings.Cut(p.saw("listening on "), "listening on ")
	return url
}

// A token that the receiver does not take is told wherever it is noticed, also
// when Redis or the outbox has the message.
func TestBlackbox_fallback_wrongTokenIsTold(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	const right, wrong = "a-token-of-some-length", "another-token-of-that-length"
	url := receiving(t, right)
	env := map[string]string{
		"REDIS_URL": server.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "processor",
		"FOGIS_FALLBACK_URL": url, "FOGIS_FALLBACK_TOKEN": wrong, "FOGIS_REQUIRE_RECEIVERS": "1",
	}
	// A command by itself posts, since nobody listens.
	receipt, stderr := publishes(t, env, 1)
	require.Equal(t, "stream", receipt["route"])
	require.Equal(t, "failed", receipt["fallback"], stderr)
	require.Contains(t, receipt["fallback_error"], "401")
	require.Contains(t, receipt["fallback_error"], "FOGIS_FALLBACK_TOKEN")

	// The outbox has it.
	away, _ := outboxEnv(t, "FOGIS_FALLBACK_URL", url, "FOGIS_FALLBACK_TOKEN", wrong)
	receipt, stderr = publishes(t, away, 2)
	require.Equal(t, "outbox", receipt["route"])
	require.Equal(t, "failed", receipt["fallback"], stderr)
	require.Contains(t, receipt["fallback_error"], "401")

	// A service logs it once, and its health says it for as long as it holds.
	service := launch(t, "service", env, "-run")
	require.Equal(t, "stream", order(t, service, "publish 3")["Route"])
	service.saw("401")
	for number := range 3 {
		require.Equal(t, "stream", order(t, service, fmt.Sprintf("publish %d", number+4))["Route"])
	}
	eventually(t, "a finding", func() bool {
		return strings.Contains(fmt.Sprint(service.order("health")), "did not take its last message")
	})
	require.Equal(t, 1, strings.Count(service.stderr.String(), "401"), service.stderr)

	// check proves the token, by a request that changes nothing.
	env["REDIS_DURABLE"] = "false"
	check := operate(t, env, "check")
	require.Equal(t, exitFailed, check.code, check.stderr)
	require.Contains(t, check.stderr, "401")
	require.Contains(t, check.stderr, "FOGIS_FALLBACK_TOKEN")
	check = unhurried(func() (result, string) {
		r := operate(t, with(env, "FOGIS_FALLBACK_TOKEN", right), "check")
		return r, r.stderr
	})
	require.Equal(t, exitDone, check.code, check.stderr)
	receipt, stderr = publishes(t, with(env, "FOGIS_FALLBACK_TOKEN", right), 9)
	require.Equal(t, "fallback", receipt["route"], stderr)
}

// The status of a healthy cycle says that Redis has the update, in each mode.
func TestBlackbox_cycle_statusSaysThatRedisHasTheUpdate(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "true", "false"} {
		t.Run("REDIS_DURABLE="+mode, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			env := map[string]string{"REDIS_URL": server.URL(), "REDIS_DURABLE": mode, "FOGIS_SERVICE_NAME": "processor"}
			subscriber := launch(t, "fogis-pubsub", map[string]string{"REDIS_URL": server.URL()}, "subscribe", "--count", "3")
			subscriber.saw("subscribed")
			service := launch(t, "service", env)
			receipt := order(t, service, "cycle 1")
			require.Equal(t, map[string]string{"auto": "stream", "true": "stream", "false": "pubsub"}[mode], receipt["Route"])
			require.Equal(t, exitDone, subscriber.wait(), subscriber.stderr)
			var completed map[string]any
			for range 3 {
				line := subscriber.line()
				if payload := line["payload"].(map[string]any); payload["status"] == "completed" {
					completed = payload["details"].(map[string]any)
				}
			}
			require.Equal(t, true, completed["match_publishing_success"])
			updates := completed["redis_publishing"].(map[string]any)["match_updates"].(map[string]any)
			require.Equal(t, true, updates["success"])
			require.Equal(t, receipt["ID"], updates["message_id"])
		})
	}
}

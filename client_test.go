package fogispubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// newLocal makes a client of the in-memory Redis that ends with the test.
func newLocal(t *testing.T, redis *pubsubtest.Redis, opts fogispubsub.Options) *fogispubsub.Client {
	t.Helper()
	opts.Getenv = redis.Getenv
	opts.Logger = logcheck.New(t)
	client, err := fogispubsub.FromEnv(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// runLocal runs the client until the test ends and waits for its subscriptions.
func runLocal(t *testing.T, client *fogispubsub.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	require.NoError(t, client.Subscribed(t.Context()))
}

func TestFromEnv_namesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: func(name string) string {
		return map[string]string{"REDIS_MAX_RETRIES": "-3", "REDIS_PUBSUB_ENABLED": "maybe"}[name]
	}})
	var faults *config.Error
	require.ErrorAs(t, err, &faults)
	require.Len(t, faults.Faults, 2)
}

func TestNew_reportsFaultsOfOptions(t *testing.T) {
	t.Parallel()
	_, err := fogispubsub.New(config.Config{}, fogispubsub.Options{
		Logger:     logcheck.New(t),
		Subscriber: subscriber.Options{PingInterval: -1},
	})
	require.ErrorContains(t, err, "PingInterval")
	_, err = fogispubsub.New(config.Config{}, fogispubsub.Options{
		Logger:    logcheck.New(t),
		Publisher: publisher.Options{Channels: map[message.Type]string{"referee_update": ""}},
	})
	require.ErrorContains(t, err, "referee_update")
	_, err = fogispubsub.New(config.Config{Channels: config.Channels{MatchUpdates: "one", SystemAlerts: "one"}}, fogispubsub.Options{})
	var faults *config.Error
	require.ErrorAs(t, err, &faults)
}

func TestClient_roundTrip(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("FOGIS_SERVICE_NAME", "match-list-processor")
	redis.Set("REDIS_DURABLE", "false")
	client := newLocal(t, redis, fogispubsub.Options{})
	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
	fogispubsub.On(client, got.Handle)
	runLocal(t, client)

	receipt, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(3)})
	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	require.EqualValues(t, 1, receipt.Receivers)
	m := got.Next()
	require.Equal(t, receipt.ID, m.ID)
	require.Equal(t, "match-list-processor", m.Source)
	require.Equal(t, message.ViaPubSub, m.Via)
	require.Equal(t, message.ChannelMatchUpdates, m.Channel)
	require.Len(t, m.Payload.Matches, 3)
	require.Equal(t, pubsubtest.Match(2).Home, m.Payload.Matches[1].Home)
	require.True(t, pubsubtest.Match(2).Kickoff.Equal(m.Payload.Matches[1].Kickoff))

	require.EqualValues(t, 1, client.Stats().Publisher.PubSub)
	require.Eventually(t, func() bool { return client.Stats().Subscriber.Handled == 1 }, time.Minute, time.Millisecond)
	text, err := json.Marshal(struct {
		fogispubsub.Stats
		Status subscriber.Status
	}{client.Stats(), client.Status()})
	require.NoError(t, err)
	logcheck.Clean(t, "statistics and status", string(text))
}

func TestClient_channelsOfTheSettings_areUsedByBothHalves(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_MATCH_UPDATES_CHANNEL", "custom:matches")
	client := newLocal(t, redis, fogispubsub.Options{})
	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
	fogispubsub.On(client, got.Handle)
	runLocal(t, client)
	require.Zero(t, redis.Publish(message.ChannelMatchUpdates, []byte("{}")), "never both names")
	_, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
	require.NoError(t, err)
	require.Equal(t, "custom:matches", got.Next().Channel)
}

// Without a setting a message is kept for those who are down, and a service
// with a name gets it from there.
func TestClient_durableIsTheDefault(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("FOGIS_SERVICE_NAME", "calendar")
	client := newLocal(t, redis, fogispubsub.Options{})
	receipt, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
	require.NoError(t, err)
	require.Equal(t, publisher.RouteStream, receipt.Route)
	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
	fogispubsub.On(client, got.Handle)
	runLocal(t, client)
	m := got.Next()
	require.Equal(t, receipt.ID, m.ID)
	require.Equal(t, message.ViaStream, m.Via)
}

func TestClient_withoutHandlers_isNoListener(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_DURABLE", "false")
	client := newLocal(t, redis, fogispubsub.Options{})
	runLocal(t, client)
	_, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
	require.ErrorIs(t, err, publisher.ErrTooFewReceivers)
	receipt, err := client.Publish(t.Context(), message.ProcessingStatus{Status: "started"})
	require.NoError(t, err, "a status needs no listener")
	require.Zero(t, receipt.Receivers)
}

// What was received and published is in the figures once, on every face: a
// healthy durable run with copies by pub/sub, duplicates, refusals by HTTP and
// failures.
func TestClient_counters_addUp(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("FOGIS_SERVICE_NAME", "calendar")
	redis.Set("FOGIS_FALLBACK_TOKEN", logcheck.Password)
	client := newLocal(t, redis, fogispubsub.Options{})
	listen(client)
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error {
		return subscriber.Permanent(errors.New("no"))
	})
	runLocal(t, client)
	admin, err := client.AdminHandler(httpadmin.Options{})
	require.NoError(t, err)
	ask := func(method, path, body string) (int, string) {
		req := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+logcheck.Password)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	for range 20 {
		_, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
		require.NoError(t, err)
	}
	for range 3 {
		_, err := client.Publish(t.Context(), message.ProcessingStatus{Status: "started"})
		require.NoError(t, err)
	}
	_, err = client.Publish(t.Context(), message.ProcessingStatus{})
	require.ErrorIs(t, err, message.ErrInvalid)
	redis.Publish(message.ChannelMatchUpdates, []byte("no message"))
	for range 2 {
		code, _ := ask("POST", "/manual-sync", `{"message_id":"one","type":"match_updates","payload":{"matches":[]}}`)
		require.Equal(t, 200, code)
	}
	code, _ := ask("POST", "/manual-sync", `{"matches":1}`)
	require.Equal(t, 400, code)

	var got map[string]float64
	require.Eventually(t, func() bool {
		_, body := ask("GET", "/redis-stats", "")
		var answer struct {
			Statistics struct {
				Statistics struct {
					Subscription map[string]any `json:"subscription_stats"`
					Publisher    map[string]any `json:"publisher_stats"`
					HTTP         struct {
						Refused  float64            `json:"refused_messages"`
						Refusals map[string]float64 `json:"refusals"`
					} `json:"http_stats"`
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		got = map[string]float64{}
		for key, value := range answer.Statistics.Statistics.Subscription {
			if n, ok := value.(float64); ok {
				got["sub."+key] = n
			}
		}
		for key, value := range answer.Statistics.Statistics.Publisher {
			if n, ok := value.(float64); ok {
				got["pub."+key] = n
			}
		}
		require.Equal(t, answer.Statistics.Statistics.HTTP.Refusals, map[string]float64{"invalid": 1})
		require.EqualValues(t, 1, answer.Statistics.Statistics.HTTP.Refused)
		return got["sub.successful_messages"] == 21 && got["sub.failed_messages"] == 3 && got["sub.waiting_messages"] == 0 && got["sub.invalid_messages"] == 1
	}, time.Minute, 10*time.Millisecond, "%v", &got)
	sum := func(half string, keys ...string) (n float64) {
		for _, key := range keys {
			require.Contains(t, got, half+key)
			n += got[half+key]
		}
		return n
	}
	require.Positive(t, got["sub.left_to_stream_messages"], "copies came by pub/sub")
	require.Equal(t, got["sub.total_messages_received"], sum("sub.", "successful_messages", "failed_messages", "invalid_messages", "unhandled_messages", "probe_messages",
		"duplicate_messages", "withdrawn_messages", "left_to_stream_messages", "left_to_holder_messages", "returned_messages", "waiting_messages"), "%v", got)
	require.EqualValues(t, 24, got["pub.total_messages_published"])
	require.EqualValues(t, 24, sum("pub.", "pubsub_messages", "stream_messages", "fallback_messages", "outbox_messages", "disabled_messages", "invalid_messages", "failed_messages"))
}

// The counters have names of one form as JSON, those that are added too.
func TestStats_JSON_names(t *testing.T) {
	t.Parallel()
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			require.Regexp(t, "^[a-z][a-z_]*$", name, "%s.%s", of, field.Name)
			if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]() {
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[fogispubsub.Stats]())
}

func TestClient_disabled_waitsAndSaysSo(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_ENABLED", "off")
	logger, log := logcheck.NewLog(t)
	client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: redis.Getenv, Logger: logger})
	require.NoError(t, err)
	defer client.Close()
	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
	fogispubsub.On(client, got.Handle)
	runLocal(t, client)
	require.Equal(t, subscriber.StateDisabled, client.Status().State)
	receipt, err := client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
	require.NoError(t, err)
	require.Equal(t, publisher.RouteNone, receipt.Route)
	require.Contains(t, log.Text(), "REDIS_ENABLED", "the log names what decided")

	result, err := client.Dispatch(t.Context(), "by hand", []byte(`{"matches":[{"matchid":6200001}]}`))
	require.NoError(t, err)
	require.Equal(t, 1, result.Matches)
	require.Equal(t, "by hand", got.Next().Channel)
}

// One line at the start says what the settings lead to.
func TestNew_saysWhatTheSettingsLeadTo(t *testing.T) {
	t.Parallel()
	for want, env := range map[string]environment{
		`"mode":"plain","group":"","routes":"pubsub","outbox":"none"`:                  {"REDIS_DURABLE": "false"},
		`"mode":"auto","group":"calendar","routes":"stream, fallback","outbox":"none"`: {"REDIS_DURABLE": "auto", "FOGIS_SERVICE_NAME": "calendar", "FOGIS_FALLBACK_URL": "http://calendar:5003/manual-sync"},
		`"mode":"disabled","group":"","routes":"fallback","outbox":"opened when`:       {"REDIS_PUBSUB_ENABLED": "false", "FOGIS_FALLBACK_URL": "http://calendar:5003/manual-sync", "FOGIS_OUTBOX_PATH": "/var/lib/fogis/outbox"},
	} {
		logger, log := logcheck.NewLog(t)
		newClient(t, env, fogispubsub.Options{Logger: logger, OpenOutbox: openOutbox})
		require.Equal(t, 1, log.Count("client ready"))
		require.Contains(t, log.Text(), want)
	}
}

func TestClient_settingsWithoutEffect_areSaidOnceAtDebug(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_DECODE_RESPONSES", "true")
	redis.Set("REDIS_MAX_RETRIES", "50")
	redis.Set("FOGIS_SERVICE_NAME", "calendar")
	logger, log := logcheck.NewLog(t)
	client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: redis.Getenv, Logger: logger})
	require.NoError(t, err)
	defer client.Close()
	require.Equal(t, 1, log.Count("settings are accepted without effect"))
	require.Equal(t, 1, log.Count("check this setting"))
}

func TestClient_Close_mayBeRepeated(t *testing.T) {
	t.Parallel()
	client, err := fogispubsub.New(config.Config{}, fogispubsub.Options{Logger: logcheck.New(t)})
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.NoError(t, client.Close())
}

func TestClient_FallbackHandler_needsAToken(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	_, err := newLocal(t, redis, fogispubsub.Options{}).FallbackHandler()
	require.Error(t, err)
	redis.Set("FOGIS_FALLBACK_TOKEN", logcheck.Password)
	_, err = newLocal(t, redis, fogispubsub.Options{}).FallbackHandler()
	require.NoError(t, err)
}

// The bound of a received message holds for the fallback's handler and the
// endpoints as for the subscriptions, lowered and raised.
func TestClient_FallbackHandler_hasTheBoundOfTheSubscriber(t *testing.T) {
	t.Parallel()
	message := `{"matches":[{"matchid":1}],"padding":"` + strings.Repeat("x", 9<<20) + `"}`
	for bound, want := range map[int]int{0: http.StatusRequestEntityTooLarge, 16 << 20: http.StatusOK, 1 << 10: http.StatusRequestEntityTooLarge} {
		redis := pubsubtest.StartRedis(t)
		redis.Set("FOGIS_FALLBACK_TOKEN", logcheck.Password)
		client := newLocal(t, redis, fogispubsub.Options{Subscriber: subscriber.Options{MaxMessageBytes: bound}})
		listen(client)
		runLocal(t, client)
		fallback, err := client.FallbackHandler()
		require.NoError(t, err)
		admin, err := client.AdminHandler(httpadmin.Options{})
		require.NoError(t, err)
		for _, h := range []http.Handler{fallback, admin} {
			req := httptest.NewRequest(http.MethodPost, "http://localhost/manual-sync", strings.NewReader(message))
			req.Header.Set("Authorization", "Bearer "+logcheck.Password)
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			require.Equal(t, want, w.Code, "%d: %s", bound, w.Body)
		}
	}
}

// A Run that never reached Redis leaves nothing behind: the bubble would not
// end with a goroutine in it.
func TestClient_Run_leavesNoGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := fogispubsub.New(config.Config{}, fogispubsub.Options{
			Logger: logcheck.New(t),
			Redis:  refuseDials,
		})
		require.NoError(t, err)
		fogispubsub.On(client, func(context.Context, message.Message[message.SystemAlert]) error { return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, client.Run(ctx))
		require.NoError(t, client.Close())
	})
}

var errRefused = errors.New("no server here")

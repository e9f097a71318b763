package fogispubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func invalidReceived(t *testing.T) map[string]string {
	t.Helper()
	envelope := func(payload string) string {
		return `{"message_id":"1","type":"match_updates","timestamp":"` + telephone + `","payload":` + payload + `}`
	}
	return map[string]string{
		"text":               email + " " + telephone,
		"list":               `["` + email + `"]`,
		"string":             `"` + email + `"`,
		"no end":             `{"type":"match_updates","payload":{"matches":[{"epostadress":"` + email,
		"no UTF-8":           `{"type":"match_updates","payload":{"matches":[{"matchid":1,"adress":"Påhittsvägen ` + "\xe5" + `"}]}}`,
		"byte order mark":    "\ufeff" + envelope(`{"matches":[]}`),
		"too deep":           strings.Repeat("[", 10_000) + `"` + email + `"` + strings.Repeat("]", 10_000),
		"payload is text":    envelope(`"` + email + `"`),
		"matches are text":   envelope(`{"matches":"` + email + `"}`),
		"match is text":      envelope(`{"matches":["` + email + `"]}`),
		"changes are text":   envelope(`{"matches":[],"detailed_changes":"` + email + `"}`),
		"change is text":     envelope(`{"matches":[],"detailed_changes":["` + email + `"]}`),
		"metadata is a list": envelope(`{"matches":[],"metadata":["` + email + `"]}`),
		"type is an object":  `{"type":{"x":"` + email + `"},"payload":{}}`,
		"ID is an object":    `{"message_id":{"x":"` + email + `"},"type":"match_updates","payload":{"matches":[]}}`,
		"no status":          `{"type":"processing_status","payload":{"details":{"kontakt":"` + email + `"}}}`,
		"status is a list":   `{"type":"processing_status","payload":{"status":["` + email + `"]}}`,
		"alert is a number":  `{"type":"system_alert","payload":{"alert_type":7,"message":"` + email + `"}}`,
		"unknown type":       `{"type":"referee_update","payload":{"epostadress":"` + email + `"}}`,
		"9 MiB":              `{"type":"match_updates","x":"` + strings.Repeat(email+" ", (9<<20)/len(email+" ")) + `"}`,
	}
}

type holder struct{ official message.Official }

func TestPrivacy_receiving(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	direct := server.Client(t)
	var mu sync.Mutex
	var said []any
	keep := func(v any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, v)
	}
	client := newClient(t, environment{
		"REDIS_URL": "redis://default:" + secret + "@" + server.Addr(), "FOGIS_FALLBACK_TOKEN": "token-" + secret,
	}, fogispubsub.Options{Subscriber: subscriber.Options{
		RetryDelay: time.Millisecond, MaxRetries: 1, PingInterval: 5 * time.Second, QueueMessages: 1, DispatchTimeout: 5 * time.Second,
		OnGap:     func(g subscriber.Gap) { keep(g) },
		OnResumed: func(r subscriber.Resumed) { keep(r) },
		OnError:   func(_ context.Context, err *subscriber.HandlerError) { keep(err) },
	}})
	panics := []any{holder{message.Official{Email: email}}, email, errors.New(telephone), []byte(email), map[string]string{"a": email}}
	block := make(chan struct{})
	calls := 0
	fogispubsub.On(client, func(ctx context.Context, m message.Message[message.MatchUpdates]) error {
		logcheck.CleanValue(t, "the message", m)
		logged(t, m)
		clean(t, "its head", m.Header)
		for _, match := range m.Payload.Matches {
			logcheck.CleanValue(t, "a match", match)
			logcheck.CleanValue(t, "its officials", match.Officials)
			logcheck.CleanValue(t, "its contacts", match.Contacts)
		}
		logcheck.CleanValue(t, "the changes", m.Payload.Changes)
		calls++
		switch {
		case m.ID == "block":
			<-block
			return nil
		case calls <= len(panics):
			panic(panics[calls-1])
		case calls == len(panics)+1:
			panic(m)
		case calls == len(panics)+2:
			panic(m.Payload.Matches[0])
		case calls == len(panics)+3:
			_ = panics[calls] // a runtime error
		}
		return subscriber.Permanent(errors.New("the calendar is away"))
	})
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error { return errors.New("no") })
	fogispubsub.On(client, func(context.Context, message.Message[message.SystemAlert]) error { return errors.New("no") })
	require.NoError(t, direct.ConfigSet(t.Context(), "requirepass", secret).Err())
	stop := runSubscribed(t, client)
	url := serveFallback(t, client).URL
	authorized := server.Options()
	authorized.Password, authorized.ReadTimeout, authorized.WriteTimeout = secret, patience, patience
	direct = redis.NewClient(authorized)
	defer direct.Close()

	post := func(label, method, token, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+"/"+email, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", email)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		logcheck.Clean(t, label+": the answer", string(text))
		logcheck.Clean(t, label+": the answer's head", fmt.Sprint(resp.Header))
		return resp.StatusCode
	}
	encode := func(id string) string {
		data, err := message.AppendEncode(nil, message.Header{ID: id, Source: "test"}, marked(t))
		require.NoError(t, err)
		return string(data)
	}

	// Nobody can handle these, on either route.
	bodies := invalidReceived(t)
	for name, body := range bodies {
		for _, channel := range []string{message.ChannelMatchUpdates, message.ChannelProcessingStatus} {
			require.EqualValues(t, 1, direct.Publish(t.Context(), channel, body).Val(), name)
		}
		status := post(name, http.MethodPost, "token-"+secret, body)
		require.Truef(t, status >= 400, "%s: %d", name, status)
		_, err := client.Dispatch(t.Context(), message.ChannelMatchUpdates, []byte(body))
		require.Error(t, err, name)
		clean(t, name, err)
	}
	wait(t, "all to be counted", func() bool {
		s := client.Stats().Subscriber
		return s.Invalid+s.Unhandled >= uint64(3*len(bodies)) // by two channels and Dispatch; the door keeps out the rest
	})

	// Refused at the door.
	require.Equal(t, 401, post("no token", http.MethodPost, email, encode("1")))
	require.Equal(t, 405, post("GET", http.MethodGet, email, ""))
	require.Equal(t, 422, post("part", http.MethodPost, "token-"+secret, strings.Replace(encode("1"), `{"`, `{"part":{"n":1,"of":2},"`, 1)))

	// Handlers that panic and fail, on either route.
	for n := range 2 * (len(panics) + 5) {
		if n%2 == 0 {
			require.Equal(t, 500, post("panic", http.MethodPost, "token-"+secret, encode(fmt.Sprint("p", n))))
			continue
		}
		_, err := client.Dispatch(t.Context(), message.ChannelMatchUpdates, []byte(encode(fmt.Sprint("p", n))))
		require.Error(t, err)
		logcheck.Clean(t, "the error", err.Error())
		logcheck.CleanValue(t, "the error", err.Error())
	}
	require.EqualValues(t, len(panics)+3, client.Stats().Subscriber.Panics)

	// Busy: one in its handler, one queued, one too many.
	for _, id := range []string{"block", "queued"} {
		require.EqualValues(t, 1, direct.Publish(t.Context(), message.ChannelMatchUpdates, encode(id)).Val())
		wait(t, id, func() bool {
			for _, lane := range client.Status().Lanes {
				if lane.Type == message.TypeMatchUpdates {
					return id == "block" && lane.Handling == 1 || lane.Queued == 1
				}
			}
			return false
		})
	}
	require.Equal(t, 503, post("busy", http.MethodPost, "token-"+secret, encode("late")))
	close(block)

	// Gaps, also one that ends with a refusal.
	require.NoError(t, direct.ConfigSet(t.Context(), "requirepass", "another").Err())
	for _, kind := range []string{"normal", "pubsub"} {
		_ = direct.Do(t.Context(), "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err()
	}
	waitState(t, client, subscriber.StateDegraded)
	wait(t, "a refusal", func() bool {
		return len(client.Status().Sessions) > 0 && strings.Contains(client.Status().Sessions[0].LastError, "WRONGPASS")
	})
	cleanClient(t, client)
	require.NoError(t, publishOnly(client, t))
	require.NoError(t, direct.ConfigSet(t.Context(), "requirepass", secret).Err())
	waitState(t, client, subscriber.StateSubscribed)
	cleanClient(t, client)
	stop()
	cleanClient(t, client)

	mu.Lock()
	defer mu.Unlock()
	kinds := map[string]int{}
	for _, v := range said {
		kinds[fmt.Sprintf("%T", v)]++
		if err, ok := v.(*subscriber.HandlerError); ok {
			// Its fields may hold what the handler failed with; its texts do not.
			logcheck.Clean(t, "the handler's error", fmt.Sprintf("%v %+v %s", err, err, err))
			cleanCauses(t, "the handler's error", withoutHandlers(err))
			clean(t, "its head", err.Header)
			continue
		}
		clean(t, "told to a callback", v)
	}
	require.NotZero(t, kinds["subscriber.Gap"])
	require.NotZero(t, kinds["subscriber.Resumed"])
	require.NotZero(t, kinds["*subscriber.HandlerError"])
}

func withoutHandlers(err *subscriber.HandlerError) error {
	if panicked, ok := errors.AsType[*subscriber.PanicError](err.Err); ok {
		return errors.New(panicked.Error())
	}
	return err
}

func publishOnly(client *fogispubsub.Client, t *testing.T) error {
	t.Helper()
	receipt, err := client.Publish(t.Context(), message.ProcessingStatus{Status: "started", Details: map[string]json.RawMessage{"kontakt": json.RawMessage(`"` + email + `"`)}})
	clean(t, "the receipt", receipt)
	if err == nil {
		return errors.New("Redis took it")
	}
	clean(t, "the error", err)
	return nil
}

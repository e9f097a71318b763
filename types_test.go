package fogispubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

const typePerson = "Rut Provsson"

// typePayloads is a payload of each type that names a person.
func typePayloads() map[message.Type]message.Payload {
	text := []byte(`"` + typePerson + `"`)
	payloads := map[message.Type]message.Payload{}
	for _, p := range []message.Payload{
		message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1), Officials: []message.Official{{Name: typePerson}}}}},
		message.ProcessingStatus{Status: "x", Details: map[string]json.RawMessage{"by": text}},
		message.SystemAlert{AlertType: "x", Message: typePerson, Details: map[string]json.RawMessage{"by": text}},
	} {
		payloads[p.MessageType()] = p
	}
	return payloads
}

// What a type needs to be whole: a fourth one fails here until every face of the
// SDK knows it.
func TestTypes_everyFaceKnowsEach(t *testing.T) {
	t.Parallel()
	payloads := typePayloads()
	require.Equal(t, reflect.TypeFor[config.Channels]().NumField(), len(message.Types()), "a channel setting for each type")
	redis := pubsubtest.StartRedis(t)
	client := newClient(t, environment{"REDIS_URL": redis.URL()}, fogispubsub.Options{})
	got := make(chan *message.Envelope, 1)
	for _, typ := range message.Types() {
		client.Handle(typ, func(_ context.Context, e *message.Envelope) error {
			got <- e
			return nil
		})
	}
	runSubscribed(t, client)
	channels := map[string]bool{}
	for _, typ := range message.Types() {
		p := payloads[typ]
		require.NotNil(t, p, "the test has no payload of %s", typ)
		require.NotEmpty(t, typ.DefaultChannel())
		require.Equal(t, typ.DefaultChannel(), config.Config{}.WithDefaults().Channel(typ))
		require.False(t, channels[typ.DefaultChannel()], "a channel of its own")
		channels[typ.DefaultChannel()] = true

		receipt, err := client.Publish(t.Context(), p)
		require.NoError(t, err)
		e := receive(t, got)
		require.Equal(t, typ, e.Type)
		require.Equal(t, receipt.ID, e.ID)
		require.Equal(t, typ.DefaultChannel(), e.Channel)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(verb, p), typePerson, "%s of %s", verb, typ)
			require.NotContains(t, fmt.Sprintf(verb, e), typePerson, "%s of a message of %s", verb, typ)
		}
	}
}

// A type that a handler refuses for good is found among the dead letters of its
// channel, without its contents in any text, and can be requeued there.
func TestTypes_eachCanBeBuriedAndRequeued(t *testing.T) {
	t.Parallel()
	redis := realredis.Start(t)
	client := newClient(t, environment{"REDIS_URL": redis.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}, fogispubsub.Options{})
	got := make(chan *message.Envelope, 1)
	var bury atomic.Bool
	bury.Store(true)
	for _, typ := range message.Types() {
		client.Handle(typ, func(_ context.Context, e *message.Envelope) error {
			if bury.Load() {
				return subscriber.Permanent(errors.New("refused"))
			}
			got <- e
			return nil
		})
	}
	runSubscribed(t, client)
	letters := map[message.Type]durable.DeadLetter{}
	for _, typ := range message.Types() {
		receipt, err := client.Publish(t.Context(), typePayloads()[typ])
		require.NoError(t, err)
		dead, err := durable.NewDeadLetters(client.Redis(), typ.DefaultChannel())
		require.NoError(t, err)
		wait(t, "a dead letter of "+string(typ), func() bool {
			for letter, err := range dead.List(t.Context(), durable.Filter{}) {
				require.NoError(t, err)
				letters[typ] = letter
			}
			return letters[typ].LetterID != ""
		})
		e, err := message.Decode(letters[typ].Entry.Body)
		require.NoError(t, err)
		require.Equal(t, typ, e.Type)
		require.Equal(t, receipt.ID, e.ID)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(verb, letters[typ]), typePerson, "%s of %s", verb, typ)
		}
	}
	bury.Store(false)
	for _, typ := range message.Types() {
		dead, err := durable.NewDeadLetters(client.Redis(), typ.DefaultChannel())
		require.NoError(t, err)
		_, err = dead.Requeue(t.Context(), letters[typ].LetterID, true)
		require.NoError(t, err)
		require.Equal(t, typ, receive(t, got).Type)
	}
}

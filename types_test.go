package fogispubsub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

// What a type needs to be whole: a fourth one fails here until every face of the
// SDK knows it.
func TestTypes_everyFaceKnowsEach(t *testing.T) {
	t.Parallel()
	const person = "Rut Provsson"
	text := []byte(`"` + person + `"`)
	payloads := map[message.Type]message.Payload{}
	for _, p := range []message.Payload{
		message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1), Officials: []message.Official{{Name: person}}}}},
		message.ProcessingStatus{Status: "x", Details: map[string]json.RawMessage{"by": text}},
		message.SystemAlert{AlertType: "x", Message: person, Details: map[string]json.RawMessage{"by": text}},
	} {
		payloads[p.MessageType()] = p
	}
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
			require.NotContains(t, fmt.Sprintf(verb, p), person, "%s of %s", verb, typ)
			require.NotContains(t, fmt.Sprintf(verb, e), person, "%s of a message of %s", verb, typ)
		}
	}
}

package bench_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// publishes is the SDK's side of publishing p. Nobody listens.
func publishes(t *testing.T, server *realredis.Server, p message.Payload) contender {
	t.Helper()
	client := newClient(t, server, fogispubsub.Options{Publisher: publisher.Options{RequireReceivers: -1}})
	return contender{work: func(t *testing.T, n int) {
		for range n {
			receipt, err := client.Publish(t.Context(), p)
			require.NoError(t, err)
			if receipt.Route != publisher.RoutePubSub {
				t.Fatalf("published by route %q", receipt.Route)
			}
		}
	}}
}

// publishesByHand is the other side: body makes the bytes of message n.
func publishesByHand(t *testing.T, server *realredis.Server, channel string, body func(n uint64) ([]byte, error)) contender {
	t.Helper()
	client := newHand(t, handOptions(server))
	sent := uint64(0)
	return contender{work: func(t *testing.T, n int) {
		for range n {
			sent++
			bytes, err := body(sent)
			require.NoError(t, err)
			_, err = client.Publish(t.Context(), channel, bytes).Result()
			require.NoError(t, err)
		}
	}}
}

func publishRaw(t *testing.T, server *realredis.Server) *result {
	snapshot := rawSnapshot()
	body := encoded(t, snapshot, 1)
	hand := func(uint64) ([]byte, error) {
		if !json.Valid(body) {
			return nil, message.ErrInvalid
		}
		return body, nil
	}
	return compare(t,
		publishes(t, server, snapshot),
		publishesByHand(t, server, message.ChannelMatchUpdates, hand),
		slice(400, 5), 1)
}

func publishStatus(t *testing.T, server *realredis.Server) *result {
	body := encoded(t, status(), 1)
	return compare(t,
		publishes(t, server, status()),
		publishesByHand(t, server, message.ChannelProcessingStatus, func(uint64) ([]byte, error) { return body, nil }),
		slice(3000, 20), slice(2, 1))
}

func publishTyped(t *testing.T, server *realredis.Server) *result {
	snapshot := typedSnapshot(t)
	byHand := newHandSnapshot(snapshot.Matches)
	return compare(t,
		publishes(t, server, snapshot),
		publishesByHand(t, server, message.ChannelMatchUpdates, func(n uint64) ([]byte, error) { return json.Marshal(byHand.envelope(n)) }),
		slice(1000, 5), 1)
}

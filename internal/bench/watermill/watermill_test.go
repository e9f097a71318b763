package watermill_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

var pairs = flag.Int("pairs", 1, "how many pairs to measure; fewer than 15 only show that it works")

const (
	group   = "bench"
	channel = "bench:sdk"
	topic   = "bench:watermill"
	wanted  = 10 // times the rate of watermill-redisstream
)

// side is one of the two consumers.
type side struct {
	key  string
	fill func(pipe redis.Pipeliner, body []byte, id string)
	left atomic.Int64
	done chan struct{}
}

func newSide(key string) *side { return &side{key: key, done: make(chan struct{}, 1)} }

func (s *side) one() {
	if s.left.Add(-1) == 0 {
		s.done <- struct{}{}
	}
}

// measure has the side consume n messages, and returns how many a second.
func (s *side) measure(t *testing.T, conn *redis.Client, n int) float64 {
	t.Helper()
	s.left.Store(int64(n))
	pipe := conn.Pipeline()
	for range n {
		id := message.NewID()
		body, err := message.AppendEncode(nil, message.Header{ID: id, Source: "bench", Stream: true}, message.ProcessingStatus{
			Status: message.StatusCompleted, Details: map[string]json.RawMessage{"matches": json.RawMessage("12"), "changes": json.RawMessage("3")},
		})
		require.NoError(t, err)
		s.fill(pipe, body, id)
	}
	// In one transaction, so that neither reads before all are there.
	began := time.Now()
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		t.Fatalf("%d of %d messages are missing", s.left.Load(), n)
	}
	for {
		pending, err := conn.XPending(t.Context(), s.key, group).Result()
		require.NoError(t, err)
		if pending.Count == 0 {
			return float64(n) / time.Since(began).Seconds()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func TestRatio(t *testing.T) {
	server := realredis.Start(t)
	conn := server.Client(t)

	sdk := newSide(durable.StreamKey(channel))
	sdk.fill = func(pipe redis.Pipeliner, body []byte, id string) {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: sdk.key, Values: []any{"id", id, "type", "processing_status", "data", body}})
	}
	client, err := fogispubsub.New(config.Config{ServiceName: "bench", Redis: config.Redis{URL: config.NewURL(server.URL())}}, fogispubsub.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Subscriber: subscriber.Options{
			ChannelNames: map[message.Type]string{message.TypeProcessingStatus: channel},
			Durable:      subscriber.DurableOptions{Group: group},
		},
	})
	require.NoError(t, err)
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error { sdk.one(); return nil })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
		require.NoError(t, client.Close())
	}()
	require.NoError(t, client.Subscribed(t.Context()))

	other := newSide(topic)
	marshaller := redisstream.DefaultMarshallerUnmarshaller{}
	other.fill = func(pipe redis.Pipeliner, body []byte, id string) {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: []any{redisstream.UUIDHeaderKey, id, "metadata", "", "payload", body}})
	}
	consumer, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: server.Client(t), Unmarshaller: marshaller, ConsumerGroup: group, Consumer: "main",
	}, watermill.NopLogger{})
	require.NoError(t, err)
	messages, err := consumer.Subscribe(ctx, topic)
	require.NoError(t, err)
	go func() {
		for m := range messages {
			m.Ack()
			other.one()
		}
	}()
	defer func() { require.NoError(t, consumer.Close()) }()

	n := 2000
	if *pairs < 15 {
		n = 50
	}
	sdk.measure(t, conn, n)
	other.measure(t, conn, n)
	var ratios, rates, others []float64
	for pair := range *pairs {
		var a, b float64
		if pair%2 == 0 {
			a = sdk.measure(t, conn, n)
			b = other.measure(t, conn, n)
		} else {
			b = other.measure(t, conn, n)
			a = sdk.measure(t, conn, n)
		}
		ratios, rates, others = append(ratios, a/b), append(rates, a), append(others, b)
	}
	for _, list := range [][]float64{ratios, rates, others} {
		slices.Sort(list)
	}
	p75 := ratios[len(ratios)*3/4]
	verdict := "not judged, too few pairs"
	switch {
	case *pairs < 15:
	case p75 >= wanted:
		verdict = "holds"
	default:
		verdict = "short"
	}
	fmt.Printf("consume and acknowledge: %.1f times the rate of watermill-redisstream, p75 %.1f (wanted %d: %s); %.0f and %.0f messages a second by median\n",
		ratios[len(ratios)/2], p75, wanted, verdict, rates[len(rates)/2], others[len(others)/2])
}

package subscriber_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// BenchmarkReceive sends b.N messages as fast as Redis takes them and ends
// when they are received: by a bare loop of go-redis, by a Subscriber without
// a handler for their type, and by one with a typed handler.
func BenchmarkReceive(b *testing.B) {
	server := realredis.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	body := encode(b, message.Header{Source: "bench"}, message.ProcessingStatus{Status: message.StatusCompleted})
	unidentified := bytes.Replace(body, []byte(`"message_id"`), []byte(`"no_id"`), 1)
	b.Run("bare", func(b *testing.B) {
		client := redis.NewClient(server.Options())
		defer client.Close()
		pubsub := client.Subscribe(b.Context(), statusChannel)
		defer pubsub.Close()
		_, err := pubsub.Receive(b.Context())
		require.NoError(b, err)
		b.ReportAllocs()
		b.ResetTimer()
		go publish(b, server.Options(), body)
		for range b.N {
			if _, err := pubsub.ReceiveMessage(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, name := range []string{"unhandled", "handled", "deduped"} {
		b.Run(name, func(b *testing.B) {
			o := subscriber.Options{Logger: slog.New(slog.DiscardHandler)}
			if name == "unhandled" {
				o.ChannelNames = map[message.Type]string{message.TypeSystemAlert: statusChannel}
			}
			s, err := subscriber.New(connect(b, server.Options()), o)
			require.NoError(b, err)
			handled := func() int { return int(s.Stats().Unhandled) }
			if name == "unhandled" {
				subscriber.On(s, func(context.Context, message.Message[message.SystemAlert]) error { return nil })
			} else {
				subscriber.On(s, func(context.Context, message.Message[message.ProcessingStatus]) error { return nil })
				handled = func() int { st := s.Stats(); return int(st.Handled + st.Duplicates) }
			}
			run(b, s)
			sent := unidentified
			if name == "deduped" {
				sent = body
			}
			b.ReportAllocs()
			b.ResetTimer()
			go publish(b, server.Options(), sent)
			for handled() < b.N {
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
}

// BenchmarkLatency sends a message every millisecond and reports how long it
// takes to the handler.
func BenchmarkLatency(b *testing.B) {
	server := realredis.Start(b)
	client := server.Client(b)
	body := encode(b, message.Header{Source: "bench"}, message.ProcessingStatus{Status: message.StatusCompleted})
	body = bytes.Replace(body, []byte(`"message_id"`), []byte(`"no_id"`), 1)
	measure := func(b *testing.B, arrived <-chan time.Time) {
		latencies := make([]time.Duration, 0, b.N)
		for range b.N {
			time.Sleep(time.Millisecond)
			sent := time.Now()
			client.Publish(b.Context(), statusChannel, body)
			latencies = append(latencies, (<-arrived).Sub(sent))
		}
		slices.Sort(latencies)
		b.ReportMetric(float64(latencies[b.N/2].Nanoseconds())/1000, "p50-µs")
		b.ReportMetric(float64(latencies[b.N*99/100].Nanoseconds())/1000, "p99-µs")
	}
	b.Run("bare", func(b *testing.B) {
		pubsub := client.Subscribe(b.Context(), statusChannel)
		defer pubsub.Close()
		_, err := pubsub.Receive(b.Context())
		require.NoError(b, err)
		arrived := make(chan time.Time, 1)
		go func() {
			for {
				m, err := pubsub.ReceiveMessage(context.Background())
				if err != nil {
					return
				}
				var status struct {
					Payload struct{ Status string }
				}
				if err := json.Unmarshal([]byte(m.Payload), &status); err != nil {
					b.Error(err)
				}
				arrived <- time.Now()
			}
		}()
		measure(b, arrived)
	})
	b.Run("subscriber", func(b *testing.B) {
		s, err := subscriber.New(connect(b, server.Options()), subscriber.Options{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		arrived := make(chan time.Time, 1)
		subscriber.On(s, func(context.Context, message.Message[message.ProcessingStatus]) error {
			arrived <- time.Now()
			return nil
		})
		run(b, s)
		measure(b, arrived)
	})
}

// BenchmarkKill reports how long it takes from the end of the connection to
// the next handled message.
func BenchmarkKill(b *testing.B) {
	server := realredis.Start(b)
	client := server.Client(b)
	handled := make(chan struct{}, 1)
	resumed := make(chan struct{}, 1)
	s, err := subscriber.New(connect(b, server.Options()), subscriber.Options{
		Logger:    slog.New(slog.DiscardHandler),
		OnResumed: func(subscriber.Resumed) { resumed <- struct{}{} },
	})
	require.NoError(b, err)
	subscriber.On(s, func(context.Context, message.Message[message.ProcessingStatus]) error {
		handled <- struct{}{}
		return nil
	})
	run(b, s)
	<-resumed
	for range b.N {
		b.StopTimer()
		time.Sleep(20 * time.Millisecond)
		body := encode(b, message.Header{}, message.ProcessingStatus{Status: message.StatusCompleted})
		b.StartTimer()
		require.NoError(b, client.ClientKillByFilter(b.Context(), "TYPE", "pubsub").Err())
		<-resumed
		require.NoError(b, client.Publish(b.Context(), statusChannel, body).Err())
		<-handled
	}
}

// publish sends body b.N times.
func publish(b *testing.B, options *redis.Options, body []byte) {
	client := redis.NewClient(options)
	defer client.Close()
	for sent := 0; sent < b.N; {
		pipe := client.Pipeline()
		for range min(100, b.N-sent) {
			pipe.Publish(b.Context(), statusChannel, body)
			sent++
		}
		if _, err := pipe.Exec(b.Context()); err != nil {
			b.Error(err)
			return
		}
	}
}

// run runs s until the benchmark ends and returns when it is subscribed.
func run(b *testing.B, s *subscriber.Subscriber) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-ended)
	})
	for s.Status().State != subscriber.StateSubscribed {
		time.Sleep(time.Millisecond)
	}
}

package health

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// probeChannel is a channel that no service listens to: a probe on a channel
// of theirs counts as an error at the Python calendar.
const probeChannel = "fogis:health:test"

// Connection asks the server for a PONG. Redis away is unhealthy: whether a
// fallback makes that a mere degradation is for the caller to know.
func Connection(ctx context.Context, conn redis.UniversalClient) Check {
	ctx, cancel := bounded(ctx)
	defer cancel()
	began := time.Now()
	if err := conn.Ping(ctx).Err(); err != nil {
		return Check{Status: Unhealthy, Err: fmt.Errorf("PING %s: %w", topology.Addr(conn), err)}
	}
	return Check{Status: Healthy, Elapsed: time.Since(began)}
}

// RoundTrip subscribes to a channel of its own, publishes a nonce there and
// waits for it. The answer to a PUBLISH alone proves no delivery, so only the
// received nonce counts. Elapsed is the time from publishing to receiving.
func RoundTrip(ctx context.Context, conn redis.UniversalClient) Check {
	ctx, cancel := bounded(ctx)
	defer cancel()
	elapsed, err := roundTrip(ctx, conn)
	if err != nil {
		return Check{Status: Unhealthy, Err: fmt.Errorf("pub/sub round trip on %s: %w", probeChannel, err)}
	}
	return Check{Status: Healthy, Elapsed: elapsed}
}

func roundTrip(ctx context.Context, conn redis.UniversalClient) (time.Duration, error) {
	pubsub := conn.Subscribe(ctx)
	defer pubsub.Close()
	if err := pubsub.Subscribe(ctx, probeChannel); err != nil {
		return 0, err
	}
	if _, err := receive(ctx, pubsub); err != nil {
		return 0, fmt.Errorf("SUBSCRIBE: %w", err)
	}
	nonce := "health_check_" + rand.Text()
	began := time.Now()
	if err := conn.Publish(ctx, probeChannel, nonce).Err(); err != nil {
		return 0, fmt.Errorf("PUBLISH: %w", err)
	}
	for {
		reply, err := receive(ctx, pubsub)
		if err != nil {
			return 0, fmt.Errorf("published, but it did not come back: %w", err)
		}
		if m, ok := reply.(*redis.Message); ok && m.Payload == nonce {
			return time.Since(began), nil
		}
	}
}

// receive reads one reply before ctx's deadline.
func receive(ctx context.Context, pubsub *redis.PubSub) (any, error) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	return pubsub.ReceiveTimeout(ctx, left)
}

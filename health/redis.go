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

// Latencies of the monitoring guide (docs/wire.md §9.2).
const (
	latencyGood = 10 * time.Millisecond
	latencyBad  = 50 * time.Millisecond
)

// pings is of how many answers the fastest counts: the first one opens the
// connection, and one hiccup is no finding.
const pings = 3

// Connection asks the server for a PONG, three times; Elapsed is the shortest.
// Redis away is unhealthy: whether a fallback makes that a mere degradation is
// for [NewReport] to say.
func Connection(ctx context.Context, conn redis.UniversalClient) Check {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c := Check{Name: NameConnectivity, Status: Healthy}
	for range pings {
		began := time.Now()
		if err := conn.Ping(ctx).Err(); err != nil {
			status, cure := judgePing(err)
			if status == Unhealthy || len(c.Findings) == 0 {
				c.Find(status, fmt.Sprintf("PING %s: %v", topology.Addr(conn), err), cure)
			}
			if status == Unhealthy {
				c.Elapsed = 0
				return c
			}
		}
		if took := time.Since(began); c.Elapsed == 0 || took < c.Elapsed {
			c.Elapsed = took
		}
	}
	c.judgeLatency()
	return c
}

// withoutSnapshots is what ends a MISCONF for good where snapshots are not wanted.
const withoutSnapshots = "or turn snapshots off: CONFIG SET save \"\", and in its file"

// judgePing tells what a failed PING means, and its cure. An error that a living
// server answers is an answer: what counts is whether it takes messages.
func judgePing(err error) (State, string) {
	for prefix, cure := range map[string]string{
		"NOAUTH":     "set the user and the password in REDIS_URL",
		"WRONGPASS":  "correct the user and the password in REDIS_URL",
		"LOADING":    "wait: the server loads its data",
		"MASTERDOWN": "set REDIS_URL to the master, or to the Sentinels",
		"BUSY":       "end the script that runs on the server: SCRIPT KILL",
	} {
		if redis.HasErrorPrefix(err, prefix) {
			return Unhealthy, cure
		}
	}
	switch {
	case redis.HasErrorPrefix(err, "MISCONF"):
		return Degraded, "the server cannot save its snapshot and refuses writes: streams take nothing, pub/sub works; look at its log and its disk, " + withoutSnapshots
	case redis.HasErrorPrefix(err, "NOPERM"):
		return Degraded, "ACL SETUSER <user> +ping"
	}
	if cure := judgeTLS(err); cure != "" {
		return Unhealthy, cure
	}
	return Unhealthy, "check REDIS_URL, and that the server runs"
}

func (c *Check) judgeLatency() {
	switch {
	case c.Elapsed > latencyBad:
		c.Find(Degraded, fmt.Sprintf("an answer takes %v, critical is more than %v", c.Elapsed.Round(time.Millisecond), latencyBad), "look at the server's load and its slow log (SLOWLOG GET)")
	case c.Elapsed >= latencyGood:
		c.Find(Degraded, fmt.Sprintf("an answer takes %v, good is less than %v", c.Elapsed.Round(time.Millisecond), latencyGood), "look at the network and the server's load")
	}
}

// RoundTrip subscribes to a channel of its own, publishes a nonce there and
// waits for it. The answer to a PUBLISH alone proves no delivery, so only the
// received nonce counts. Elapsed is the time from publishing to receiving.
func RoundTrip(ctx context.Context, conn redis.UniversalClient) Check {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c := Check{Name: NamePubSub, Status: Healthy}
	elapsed, err := roundTrip(ctx, conn)
	if err != nil {
		c.Find(Unhealthy, fmt.Sprintf("round trip on %s: %v", probeChannel, err), "")
		return c
	}
	c.Elapsed = elapsed
	return c
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

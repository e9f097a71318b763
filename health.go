package fogispubsub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// waitingAge is how long an entry or a record may wait before that is a finding.
const waitingAge = time.Minute

// Health asks everything an operator would: Redis, its settings and rights, the
// streams, the fallback, the outbox, and this client's own state. It answers
// within 15 s, or earlier when ctx ends. It changes nothing, and says nothing
// of what messages hold.
func (c *Client) Health(ctx context.Context) health.Report {
	var fallback []health.Check
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		fallback = c.fallbackHealth(ctx)
	}()
	checks := c.redisHealth(ctx)
	<-asked
	checks = append(checks, fallback...)
	return health.NewReport(time.Now(), append(checks, c.ownHealth()...)...)
}

// redisHealth asks the servers. Without a connection the rest is not asked.
func (c *Client) redisHealth(ctx context.Context) []health.Check {
	connection := health.Connection(ctx, c.redis)
	if connection.Status == health.Unhealthy {
		trip := health.Check{Name: health.NamePubSub, Status: health.Unknown}
		trip.Find(health.Unknown, "not tried: there is no connection", "")
		return []health.Check{connection, trip}
	}
	checks := []health.Check{connection, health.RoundTrip(ctx, c.redis)}
	checks = append(checks, health.Server(ctx, c.redis, c.question())...)
	if c.keeps() {
		checks = append(checks, c.streamsHealth(ctx))
	}
	return checks
}

// keeps tells whether this client keeps or reads messages in streams.
func (c *Client) keeps() bool {
	return c.config.Durable.Mode != config.DurableOff && !c.Stats().Publisher.Degraded
}

var ownTypes = message.Types()

func (c *Client) channelNames() (names []string) {
	for _, t := range ownTypes {
		names = append(names, c.config.Channel(t))
	}
	return names
}

// question names what the client's user must be allowed to do.
func (c *Client) question() health.Question {
	q := health.Question{Channels: c.channelNames(), Keeps: c.keeps(), Commands: map[string][][]any{}}
	for _, channel := range q.Channels {
		commands := [][]any{{"PUBLISH", channel, ""}, {"SUBSCRIBE", channel}}
		if q.Keeps {
			stream := durable.StreamKey(channel)
			commands = append(commands, []any{"XADD", stream, "*", "k", "v"}, []any{"XRANGE", stream, "-", "+", "COUNT", 1}, []any{"EVALSHA", "0000000000000000000000000000000000000000", 1, stream})
		}
		q.Commands[channel] = commands
	}
	return q
}

// streamsHealth judges how far the groups have got.
func (c *Client) streamsHealth(ctx context.Context) health.Check {
	check := health.Check{Name: "streams", Status: health.Healthy, Details: map[string]any{}}
	began := time.Now()
	for _, channel := range c.channelNames() {
		stream, err := durable.Inspect(ctx, c.redis, channel)
		if err != nil {
			check.Find(health.Unknown, err.Error(), "")
			continue
		}
		details := map[string]any{"length": stream.Length, "dead_letters": stream.DeadLetters}
		if stream.DeadLetters > 0 {
			check.Find(health.Degraded, fmt.Sprintf("dead letters of %s, which no handler could handle: %d", channel, stream.DeadLetters), "fogis-pubsub deadletter list, then requeue or discard")
		}
		groups := map[string]any{}
		for _, g := range stream.Groups {
			waiting := time.Duration(0)
			if !g.Waiting.IsZero() {
				waiting = time.Since(g.Waiting)
			}
			if waiting > waitingAge {
				check.Find(health.Degraded, fmt.Sprintf("group %s on %s has had an entry waiting for %v", g.Name, channel, waiting.Round(time.Second)), "start that service, or look at what its handler says")
			}
			groups[g.Name] = map[string]any{"lag": g.Lag, "pending": g.Pending, "waiting_seconds": int(max(waiting, 0).Seconds())}
		}
		if len(groups) > 0 {
			details["groups"] = groups
		}
		check.Details[channel] = details
	}
	check.Elapsed = time.Since(began)
	return check
}

// fallbackHealth asks whether the fallback's server answers at all.
func (c *Client) fallbackHealth(ctx context.Context) []health.Check {
	if c.fallback == nil {
		return nil
	}
	check := health.Check{Name: health.NameFallback, Status: health.Healthy}
	began := time.Now()
	if err := c.fallback.Check(ctx); err != nil {
		cure := "check FOGIS_FALLBACK_URL and its server: nothing but Redis carries updates now"
		if e, ok := errors.AsType[*httpfallback.Error](err); ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
			cure = "set FOGIS_FALLBACK_TOKEN to the receiver's token: nothing but Redis carries updates now"
		}
		check.Find(health.Unhealthy, err.Error(), cure)
	} else {
		check.Elapsed = time.Since(began)
	}
	return []health.Check{check}
}

// routed tells whether messages of a type can leave the outbox: there is no
// channel for a type of the program's own that Options no longer names.
func (c *Client) routed(t message.Type) bool {
	return c.config.Channel(t) != "" || c.sender.options.Channels[t] != ""
}

// ownHealth judges what the client knows of itself.
func (c *Client) ownHealth() (checks []health.Check) {
	stats := c.sender.stats()
	publishing := health.Check{Name: "publisher", Status: health.Healthy, Details: map[string]any{"waiting_in_outbox": stats.Waiting, "failed": stats.Failed}}
	if stats.BreakerOpen {
		publishing.Find(health.Degraded, "circuit breaker open since "+stats.BreakerSince.UTC().Format(time.RFC3339)+": Redis failed", "Redis is retried every second")
	}
	if !stats.NotMasterSince.IsZero() {
		publishing.Find(health.Degraded, "the connected server has not been a master since "+stats.NotMasterSince.UTC().Format(time.RFC3339), "point REDIS_URL to the master, or to Sentinel")
	}
	if stats.Degraded {
		publishing.Find(health.Degraded, "the server has no streams: messages are published only", "use Redis 7 or later")
	}
	if err := c.sender.openProblem(); err != nil {
		publishing.Find(health.Degraded, "the outbox is not opened: "+err.Error(), "until it is, Publish returns an error")
	}
	if at, err := c.watched.problem(); err != nil {
		publishing.Find(health.Degraded, fmt.Sprintf("the fallback did not take its last message (%s): %v", at.UTC().Format(time.RFC3339), err), "until it takes one, only Redis and the outbox carry updates")
	}
	if stats.Waiting > 0 {
		publishing.Find(health.Degraded, fmt.Sprintf("%d messages wait in the outbox", stats.Waiting), "they go out in order when Redis is back; fogis-pubsub outbox list")
	}
	settings := health.Check{Name: "settings", Status: health.Healthy}
	for _, warning := range c.config.Warnings() {
		settings.Find(health.Healthy, warning, "") // a note: it may be meant so
	}
	checks = append(checks, publishing, settings)
	if box, ok := c.sender.check(c.routed); ok {
		checks = append(checks, box)
	}
	status := c.Status()
	if status.State == subscriber.StateStopped {
		return checks // Run does not run: nothing is to be subscribed
	}
	subscription := health.Check{Name: "subscription", Status: health.Healthy, Details: map[string]any{"state": status.State}}
	for _, s := range status.Sessions {
		if s.State != subscriber.StateSubscribed {
			subscription.Find(health.Degraded, fmt.Sprintf("session %s is %s: %s", s.Name, s.State, s.LastError), "it is retried automatically")
		}
		if slices.Contains([]subscriber.ProbeState{subscriber.ProbeFailed, subscriber.ProbeRefused}, s.Probe) {
			subscription.Find(health.Degraded, fmt.Sprintf("session %s cannot prove that Redis delivers: %s", s.Name, s.ProbeError), "allow the Redis user the channels fogis:probe:*")
		}
	}
	for _, l := range status.Lanes {
		if l.Queued > 0 {
			subscription.Details["queued_"+string(l.Type)] = l.Queued
		}
	}
	return append(checks, subscription)
}

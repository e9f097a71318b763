package fogispubsub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

var _ httpadmin.Source = (*adminSource)(nil)

// AdminHandler returns the endpoints of package httpadmin over this client,
// POST /manual-sync among them; mount it with [httpadmin.Handler.Mount]. Of o only
// who may POST and the Logger need to be set; with neither Token, Authorize nor AllowUnauthenticated the token of the
// settings (FOGIS_FALLBACK_TOKEN) is asked for, and without one it is an error.
func (c *Client) AdminHandler(o httpadmin.Options) (*httpadmin.Handler, error) {
	if o.Logger == nil {
		o.Logger = c.logger
	}
	if o.Token.IsZero() && o.Authorize == nil && !o.AllowUnauthenticated {
		o.Token = c.config.Fallback.Token
	}
	o.Config = c.config
	if o.Source == nil {
		o.Source = &adminSource{c}
	}
	if o.History == nil {
		o.History = &c.history
	}
	if o.ManualSync == nil {
		handler, err := httpfallback.Handler(c, httpfallback.HandlerOptions{
			Token: o.Token, Authorize: o.Authorize, AllowUnauthenticated: o.AllowUnauthenticated, MaxBytes: c.maxBytes, OnRefused: c.countRefusal, Logger: o.Logger,
		})
		if err != nil {
			return nil, err
		}
		o.ManualSync = handler
	}
	return httpadmin.New(o)
}

// adminSource shows a client to httpadmin.
type adminSource struct{ c *Client }

func (a *adminSource) Health(ctx context.Context) health.Report { return a.c.Health(ctx) }
func (a *adminSource) Restart(ctx context.Context) error        { return a.c.Restart(ctx) }

// Test asks for a PONG, then sends a message to each session and through its
// lanes.
func (a *adminSource) Test(ctx context.Context) (r httpadmin.TestResult) {
	if a.c.config.Redis.Disabled {
		err := errors.New("Redis is disabled by " + a.c.config.Redis.DecidedBy)
		return httpadmin.TestResult{Connection: err, Subscription: err, Handling: err}
	}
	connection := health.Connection(ctx, a.c.redis)
	r.ConnectionTook = connection.Elapsed
	if connection.Status == health.Unhealthy {
		r.Connection = connection.Err()
	}
	results, err := a.c.subscriber.Test(ctx)
	r.Subscription, r.Handling = err, err
	for _, result := range results {
		r.SubscriptionTook = max(r.SubscriptionTook, result.Delivered)
		r.HandlingTook = max(r.HandlingTook, result.Handled)
		if result.Err == nil {
			continue
		}
		r.Handling = errors.Join(r.Handling, result.Err)
		if errors.Is(result.Err, subscriber.ErrNotDelivered) {
			r.Subscription = errors.Join(r.Subscription, result.Err)
		}
	}
	return r
}

// Status translates what both halves know.
func (a *adminSource) Status() httpadmin.Status {
	c := a.c
	now, stats, sub := c.subscriber.Status(), c.subscriber.Stats(), httpadmin.Status{}
	sub.State, sub.Ended = adminState(now.State), c.ended.Load()
	sub.Fresh = 15 * time.Second // three intervals between PINGs
	if interval := c.pingInterval; interval > 0 {
		sub.Fresh = 3 * interval
	}
	if began := c.began.Load(); began != nil {
		sub.Started = *began
	}
	published := c.sender.stats()
	sub.Outbox, sub.LastPublished = published.Waiting, published.LastSuccess
	sub.Publishing, sub.Refusals = adminPublishing(published), c.refused()
	sub.Subscriptions = []httpadmin.Subscription{}
	for _, s := range now.Sessions {
		sub.Subscriptions = append(sub.Subscriptions, adminSubscription(s))
		c.noteMessage(s.LastMessage)
	}
	for _, l := range now.Lanes {
		sub.Queued += l.Queued + l.Handling
	}
	if last := c.lastMessage.Load(); last != nil {
		sub.LastMessage = *last
	}
	sub.Counters = httpadmin.Counters{
		Received: stats.Received, Successful: stats.Handled, Failed: stats.Failed, Invalid: stats.Invalid,
		Unhandled: stats.Unhandled, Probes: stats.Probes, Duplicate: stats.Duplicates, Withdrawn: stats.Withdrawn,
		LeftToStream: stats.LeftToStream, LeftToHolder: stats.LeftToHolder, Returned: stats.Returned, Waiting: uint64(sub.Queued),
		DeadLettered: stats.Buried, Gaps: stats.Gaps, Reconnects: stats.Reconnects,
	}
	return sub
}

func adminPublishing(s publisher.Stats) httpadmin.PublishCounters {
	return httpadmin.PublishCounters{
		Published: s.PubSub + s.Stream + s.Fallback + s.Outbox + s.None + s.Invalid + s.Failed,
		PubSub:    s.PubSub, Stream: s.Stream, Fallback: s.Fallback, Outbox: s.Outbox, None: s.None, Invalid: s.Invalid, Failed: s.Failed,
		Drained: s.Drained, Waiting: uint64(s.Waiting), Retries: s.Retries, UnknownOutcomes: s.UnknownOutcomes, TooFewReceivers: s.TooFewReceivers,
	}
}

// noteMessage keeps the newest time over several connections.
func (c *Client) noteMessage(at time.Time) {
	for {
		last := c.lastMessage.Load()
		if at.IsZero() || last != nil && !at.After(*last) || c.lastMessage.CompareAndSwap(last, &at) {
			return
		}
	}
}

func adminState(s subscriber.State) string {
	if s == subscriber.StateSubscribed {
		return httpadmin.StateConnected
	}
	return string(s) // the other words are the same
}

func adminSubscription(s subscriber.SessionStatus) httpadmin.Subscription {
	problem, latency, proof := s.LastError, s.PingRTT, s.LastPing
	if problem == "" {
		problem = s.ProbeError
	}
	if s.ProbeRTT > 0 {
		latency = s.ProbeRTT
	}
	for _, at := range []time.Time{s.LastProbe, s.LastMessage} {
		if at.After(proof) {
			proof = at
		}
	}
	return httpadmin.Subscription{
		Name: s.Name, State: adminState(s.State), Since: s.Since, Channels: s.Channels, Confirmed: s.Confirmed,
		LastProof: proof, LastMessage: s.LastMessage, Probe: string(s.Probe), LatencyMS: float64(latency.Microseconds()) / 1000, Problem: problem,
	}
}

// record has gaps go to the history before they go to the user's function.
func (c *Client) record(o subscriber.Options) subscriber.Options {
	c.pingInterval = o.PingInterval
	told := o.OnGap
	o.OnGap = func(g subscriber.Gap) {
		c.history.Gap(httpadmin.GapEvent{Session: g.Session, Cause: string(g.Cause), From: g.From, To: g.To})
		if told != nil {
			told(g)
		}
	}
	return o
}

// noteStatus and noteAlert add what was handled to the history, without any
// text.
func (c *Client) noteStatus(h *message.Header, p *message.ProcessingStatus) {
	c.history.Message(httpadmin.Event{
		Time: sentAt(h), Type: string(h.Type), Source: h.Source, Status: p.Status,
		Cycle: smallNumber(p.Details["cycle_number"]), Matches: smallNumber(p.Details["matches_processed"]),
	})
}

// sentAt is when a message was made, or else when it was handled.
func sentAt(h *message.Header) time.Time {
	if h.Timestamp.Time.IsZero() {
		return time.Now()
	}
	return h.Timestamp.Time
}

// smallNumber is a count; what is as long as a telephone number is none.
func smallNumber(raw json.RawMessage) int64 {
	if len(raw) == 0 || len(raw) > 6 {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil { // a fraction, a text
		return 0
	}
	return n
}

func (c *Client) noteAlert(h *message.Header, p *message.SystemAlert) {
	c.history.Message(httpadmin.Event{Time: sentAt(h), Type: string(h.Type), Source: h.Source, Alert: p.AlertType, Severity: p.Severity})
}

// noting has handled statuses and alerts noted.
func noting[P message.Payload](c *Client, handler func(context.Context, message.Message[P]) error) func(context.Context, message.Message[P]) error {
	var zero P
	switch any(zero).(type) {
	case message.ProcessingStatus, message.SystemAlert:
	default:
		return handler
	}
	if handler == nil {
		return nil
	}
	return func(ctx context.Context, m message.Message[P]) error {
		err := handler(ctx, m)
		if err != nil {
			return err
		}
		switch p := any(&m.Payload).(type) {
		case *message.ProcessingStatus:
			c.noteStatus(&m.Header, p)
		case *message.SystemAlert:
			c.noteAlert(&m.Header, p)
		}
		return nil
	}
}

// notingRaw is noting for handlers of undecoded messages.
func (c *Client) notingRaw(t message.Type, handler subscriber.HandlerFunc) subscriber.HandlerFunc {
	if handler == nil || t != message.TypeProcessingStatus && t != message.TypeSystemAlert {
		return handler
	}
	return func(ctx context.Context, e *message.Envelope) error {
		err := handler(ctx, e)
		if err != nil {
			return err
		}
		if m, err := message.As[message.ProcessingStatus](e); err == nil && t == message.TypeProcessingStatus {
			c.noteStatus(&m.Header, &m.Payload)
		}
		if m, err := message.As[message.SystemAlert](e); err == nil && t == message.TypeSystemAlert {
			c.noteAlert(&m.Header, &m.Payload)
		}
		return nil
	}
}

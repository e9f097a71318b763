package publisher

import "time"

// Stats counts what a [Publisher] did since it was made.
type Stats struct {
	PubSub   uint64 `json:"pubsub"`   // messages that were published only
	Stream   uint64 `json:"stream"`   // messages that were put into a stream and published
	Fallback uint64 `json:"fallback"` // messages that went through the fallback
	Outbox   uint64 `json:"outbox"`   // messages that Publish left in the outbox
	Drained  uint64 `json:"drained"`  // messages that left the outbox by a route, those of an earlier process too
	Aside    uint64 `json:"aside"`    // messages that the outbox set aside because a route refused them for good
	None     uint64 `json:"none"`     // messages that went nowhere, because publishing is disabled
	Invalid  uint64 `json:"invalid"`  // messages refused before anything was sent
	Failed   uint64 `json:"failed"`   // messages that no route took

	// TooFewReceivers counts the answers of Redis that named fewer listeners
	// than Options.RequireReceivers.
	TooFewReceivers uint64 `json:"too_few_receivers"`
	// Repeats counts the snapshots that were published once more for listeners
	// that came later.
	Repeats uint64 `json:"repeats"`
	// Retries counts the attempts after the first of a message,
	// UnknownOutcomes those of all attempts whose answer was lost.
	Retries         uint64 `json:"retries"`
	UnknownOutcomes uint64 `json:"unknown_outcomes"`

	// FallbackFailures counts the calls of the fallback that failed, also those
	// that another route made up for. FallbackError is why the last one failed, ""
	// if it did not.
	FallbackFailures uint64 `json:"fallback_failures"`
	FallbackError    string `json:"fallback_error"`

	// Waiting is how many messages are in the outbox now, Stranded how many of
	// them have no route: their type has no channel any more, or Redis is disabled
	// and their type has no fallback.
	Waiting  int `json:"waiting"`
	Stranded int `json:"stranded"`
	// Degraded tells that messages are not kept in streams though
	// [DurableAuto] asks for it, because the server has none.
	Degraded bool `json:"degraded"`
	// LastSuccess is when a route last took a message; zero: never.
	LastSuccess time.Time `json:"last_success,omitzero"`

	// NotMasterSince is since when the server at Redis' address is a replica, on
	// which nothing can be published; zero when it is a master, or not known.
	NotMasterSince time.Time `json:"not_master_since,omitzero"`

	// BreakerOpen tells that Redis is left out for now because it failed, and
	// BreakerSince since when.
	BreakerOpen  bool      `json:"breaker_open"`
	BreakerSince time.Time `json:"breaker_since,omitzero"`
}

// Stats returns a snapshot of the counters. It does not block.
func (p *Publisher) Stats() Stats {
	p.mu.Lock()
	s := p.stats
	p.mu.Unlock()
	s.Degraded = p.streams.degraded.Load()
	if p.opts.Outbox != nil {
		s.Waiting = p.opts.Outbox.Len()
		s.Stranded = p.stranded()
	}
	s.NotMasterSince = p.trust.notMaster()
	s.BreakerSince, s.BreakerOpen = p.breaker.openSince()
	return s
}

// count adds one outcome to the counters.
func (p *Publisher) count(route Route, t redisPart, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch route {
	case RoutePubSub:
		p.stats.PubSub++
	case RouteStream:
		p.stats.Stream++
	case RouteFallback:
		p.stats.Fallback++
	case RouteOutbox:
		p.stats.Outbox++
	case RouteNone:
		p.stats.None++
	default:
		p.stats.Failed++
	}
	if route != "" {
		p.stats.LastSuccess = now
	}
	if t.tooFew {
		p.stats.TooFewReceivers++
	}
	p.stats.Retries += uint64(max(t.attempts-1, 0))
	p.stats.UnknownOutcomes += uint64(t.unknown)
}

func (p *Publisher) countDrained() {
	p.mu.Lock()
	p.stats.Drained++
	p.mu.Unlock()
}

func (p *Publisher) countAside() {
	p.mu.Lock()
	p.stats.Aside++
	p.mu.Unlock()
}

func (p *Publisher) countFallback(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.FallbackError = ""
	if err != nil {
		p.stats.FallbackFailures++
		p.stats.FallbackError = err.Error()
	}
}

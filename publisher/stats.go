package publisher

import "time"

// Stats counts what a [Publisher] did since it was made.
type Stats struct {
	PubSub   uint64 // messages that went through Redis
	Fallback uint64 // messages that went through the fallback
	None     uint64 // messages that went nowhere, because publishing is disabled
	Invalid  uint64 // messages refused before anything was sent
	Failed   uint64 // messages that no route took

	// TooFewReceivers counts the answers of Redis that named fewer listeners
	// than Options.RequireReceivers.
	TooFewReceivers uint64
	// Retries counts the PUBLISH attempts after the first of a message,
	// UnknownOutcomes those of all attempts whose answer was lost.
	Retries         uint64
	UnknownOutcomes uint64

	// LastSuccess is when a route last took a message; zero: never.
	LastSuccess time.Time

	// BreakerOpen tells that Redis is left out for now because it failed, and
	// BreakerSince since when.
	BreakerOpen  bool
	BreakerSince time.Time
}

// Stats returns a snapshot of the counters. It does not block.
func (p *Publisher) Stats() Stats {
	p.mu.Lock()
	s := p.stats
	p.mu.Unlock()
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
	case RouteFallback:
		p.stats.Fallback++
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

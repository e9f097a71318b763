package subscriber

import (
	"sync/atomic"

	"github.com/PitchConnect/fogispubsub/message"
)

// Stats are counters since New. Every received message ends as exactly one
// of Handled, Failed, Invalid, Unhandled, Probes, Duplicates, Withdrawn,
// LeftToStream, LeftToHolder or Returned, or is still waiting or in its
// handler.
type Stats struct {
	Received  uint64 `json:"received"` // by all routes together
	Bytes     uint64 `json:"bytes"`    // of the received messages
	Handled   uint64 `json:"handled"`
	Failed    uint64 `json:"failed"`    // given up after the last attempt
	Invalid   uint64 `json:"invalid"`   // undecodable, or refused by the payload's type
	Unhandled uint64 `json:"unhandled"` // of a type without a handler, or on the channel of another type
	Probes    uint64 `json:"probes"`    // an operator's probes; the subscriber's own are not counted
	// Duplicates were not handled, because a copy had been.
	Duplicates uint64 `json:"duplicates"`
	// Withdrawn is messages whose Dispatch ended before their turn came, or
	// found no room.
	Withdrawn uint64 `json:"withdrawn"`
	// LeftToStream are repeats, or came by pub/sub or Dispatch and come from the stream too, or
	// are in a gap of [CauseAnnounced]. LeftToHolder came by pub/sub and have no
	// entry, but another instance of the group may have handled them. Returned
	// are entries of the stream that were read and left to the next holder of
	// the lease. All are zero without Options.Durable.
	LeftToStream uint64 `json:"left_to_stream"`
	LeftToHolder uint64 `json:"left_to_holder"`
	Returned     uint64 `json:"returned"`

	Redelivered uint64 `json:"redelivered"` // entries that an earlier holder had read
	Buried      uint64 `json:"buried"`      // entries made dead letters; Failed or Invalid too

	Retried    uint64 `json:"retried"`   // repeated calls of a handler
	Panics     uint64 `json:"panics"`    // of handlers and callbacks
	Sanitized  uint64 `json:"sanitized"` // messages with NaN or Infinity, read as null
	Gaps       uint64 `json:"gaps"`
	Reconnects uint64 `json:"reconnects"` // sessions that were up after another one

	// Polls are calls of Options.Poll.Source, PollFailures those that brought
	// nothing, and PollsSkipped those whose matches were not handed over: they
	// were those of the poll before, or a match update had come meanwhile.
	Polls        uint64 `json:"polls"`
	PollFailures uint64 `json:"poll_failures"`
	PollsSkipped uint64 `json:"polls_skipped"`

	// Types has an entry for each type with a handler.
	Types map[message.Type]TypeStats `json:"types"`
}

// TypeStats are the counters of one type.
type TypeStats struct {
	Received   uint64 `json:"received"`
	Handled    uint64 `json:"handled"`
	Failed     uint64 `json:"failed"`
	Invalid    uint64 `json:"invalid"` // refused by the payload's type
	Duplicates uint64 `json:"duplicates"`
	Withdrawn  uint64 `json:"withdrawn"`
	Retried    uint64 `json:"retried"`
	Panics     uint64 `json:"panics"`
	Buried     uint64 `json:"buried"` // entries of the stream made dead letters; Failed or Invalid too
}

// counters count what belongs to no type.
type counters struct {
	received, bytes                     atomic.Uint64
	invalid, unhandled, probes          atomic.Uint64
	sanitized, gaps, reconnects, panics atomic.Uint64 // panics of callbacks
	leftToStream, leftToHolder          atomic.Uint64
	returned, redelivered, buried       atomic.Uint64 // buried: undecodable
	polls, pollFailures, pollsSkipped   atomic.Uint64
}

// typeCounters count for one type.
type typeCounters struct {
	received, handled, failed, invalid     atomic.Uint64
	duplicates, withdrawn, retried, panics atomic.Uint64
	buried                                 atomic.Uint64
}

// Stats returns a copy of the counters. They are read one after another, so
// that sums may be off by what happens meanwhile.
func (s *Subscriber) Stats() Stats {
	st := Stats{
		Received:   s.counts.received.Load(),
		Bytes:      s.counts.bytes.Load(),
		Invalid:    s.counts.invalid.Load(),
		Unhandled:  s.counts.unhandled.Load(),
		Probes:     s.counts.probes.Load(),
		Sanitized:  s.counts.sanitized.Load(),
		Gaps:       s.counts.gaps.Load(),
		Reconnects: s.counts.reconnects.Load(),
		Panics:     s.counts.panics.Load(),

		LeftToStream: s.counts.leftToStream.Load(),
		LeftToHolder: s.counts.leftToHolder.Load(),
		Returned:     s.counts.returned.Load(),
		Redelivered:  s.counts.redelivered.Load(),
		Buried:       s.counts.buried.Load(),

		Polls:        s.counts.polls.Load(),
		PollFailures: s.counts.pollFailures.Load(),
		PollsSkipped: s.counts.pollsSkipped.Load(),

		Types: map[message.Type]TypeStats{},
	}
	for t, r := range s.routeTable() {
		c := &r.counts
		ts := TypeStats{
			Received:   c.received.Load(),
			Handled:    c.handled.Load(),
			Failed:     c.failed.Load(),
			Invalid:    c.invalid.Load(),
			Duplicates: c.duplicates.Load(),
			Withdrawn:  c.withdrawn.Load(),
			Retried:    c.retried.Load(),
			Panics:     c.panics.Load(),
			Buried:     c.buried.Load(),
		}
		st.Types[t] = ts
		st.Handled += ts.Handled
		st.Failed += ts.Failed
		st.Invalid += ts.Invalid
		st.Duplicates += ts.Duplicates
		st.Withdrawn += ts.Withdrawn
		st.Retried += ts.Retried
		st.Panics += ts.Panics
		st.Buried += ts.Buried
	}
	return st
}

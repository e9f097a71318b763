package httpadmin

import (
	"net/http"
	"time"
)

// Counters count received messages since the start. Every one that was received
// is counted once more by what became of it, or is Waiting: the others of the
// first group add up to Received.
type Counters struct {
	Received     uint64 `json:"total_messages_received"`
	Successful   uint64 `json:"successful_messages"`
	Failed       uint64 `json:"failed_messages"`
	Invalid      uint64 `json:"invalid_messages"`
	Unhandled    uint64 `json:"unhandled_messages"` // of a type without a handler
	Probes       uint64 `json:"probe_messages"`
	Duplicate    uint64 `json:"duplicate_messages"`
	Withdrawn    uint64 `json:"withdrawn_messages"`      // their sender stopped waiting
	LeftToStream uint64 `json:"left_to_stream_messages"` // copies: the stream brings them too
	LeftToHolder uint64 `json:"left_to_holder_messages"` // another instance handles them
	Returned     uint64 `json:"returned_messages"`       // to the stream, for the next holder
	Waiting      uint64 `json:"waiting_messages"`        // before or in their handler now

	DeadLettered uint64 `json:"dead_lettered_messages"` // of the failed and invalid ones
	Gaps         uint64 `json:"gaps"`
	Reconnects   uint64 `json:"reconnects"`
}

// PublishCounters count published messages since the start. Each is counted once
// by the route that took it, or as Invalid or Failed: those of the first group
// add up to Published.
type PublishCounters struct {
	Published uint64 `json:"total_messages_published"`
	PubSub    uint64 `json:"pubsub_messages"`
	Stream    uint64 `json:"stream_messages"`
	Fallback  uint64 `json:"fallback_messages"`
	Outbox    uint64 `json:"outbox_messages"`   // kept on disk, to be sent later
	None      uint64 `json:"disabled_messages"` // went nowhere, because publishing is disabled
	Invalid   uint64 `json:"invalid_messages"`
	Failed    uint64 `json:"failed_messages"`

	Drained         uint64 `json:"drained_messages"` // left the outbox again
	Waiting         uint64 `json:"waiting_messages"` // in the outbox now
	Retries         uint64 `json:"retries"`
	UnknownOutcomes uint64 `json:"unknown_outcomes"`
	TooFewReceivers uint64 `json:"too_few_receivers"`
}

type subscriptionStats struct {
	Counters
	LastMessage *time.Time `json:"last_message"`
	Uptime      int64      `json:"uptime_seconds"`
}

type publisherStats struct {
	PublishCounters
	LastSuccess *time.Time `json:"last_success"`
}

// httpStats are the messages that came by HTTP and were refused before they were
// received.
type httpStats struct {
	Refused uint64            `json:"refused_messages"`
	Reasons map[string]uint64 `json:"refusals"`
}

func (h *Handler) stats(w http.ResponseWriter, _ *http.Request) {
	st := h.opts.Source.Status()
	body := statsAnswer{head: head{true, now()}}
	body.Statistics.Enabled, body.Statistics.Active = h.enabled(), st.active()
	all := &body.Statistics.Statistics
	all.Subscription, all.Publisher, all.HTTP = st.stats(), st.publishing(), st.refused()
	answer(w, http.StatusOK, body)
}

func (st *Status) stats() subscriptionStats {
	s := subscriptionStats{Counters: st.Counters, LastMessage: known(st.LastMessage)}
	if !st.Started.IsZero() && !st.Ended {
		s.Uptime = int64(time.Since(st.Started).Seconds())
	}
	return s
}

func (st *Status) publishing() publisherStats {
	return publisherStats{st.Publishing, known(st.LastPublished)}
}

func (st *Status) refused() httpStats {
	s := httpStats{Reasons: map[string]uint64{}}
	for reason, n := range st.Refusals {
		s.Reasons[reason] = n
		s.Refused += n
	}
	return s
}

// known is a time, or nil for none.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

package message

import "encoding/json"

// MatchUpdates is a snapshot: the publisher's whole current match list, with
// what changed since the last one.
type MatchUpdates struct {
	Matches []Match
	Changes []Change
	// HasChanges is nil when the message does not say. Sent as true when nil.
	// It never filters: a message that says false reaches the handler.
	HasChanges *bool
	// HighPriorityFlag is the publisher's own flag; [MatchUpdates.HighPriority]
	// is the rule to act on.
	HighPriorityFlag bool
	Summary          ChangeSummary
	// Metadata holds the other keys of the payload's metadata as they came,
	// or to send; the contract's own keys win over it.
	Metadata map[string]json.RawMessage
}

// ChangeSummary counts changes. Text is set for producers that write one
// sentence instead.
type ChangeSummary struct {
	New, Updated, Cancelled, Removed, Total int
	Text                                    string
}

// MessageType implements [Payload].
func (MatchUpdates) MessageType() Type { return TypeMatchUpdates }

// Validate refuses a match that is not a JSON object, has neither matchid nor
// match_id, or holds invalid UTF-8, NaN or Infinity. Unknown, null, missing
// and repeated values pass.
func (m MatchUpdates) Validate() error { panic("in work") }

// HighPriority tells whether somebody should look now: the publisher's flag,
// a change of priority critical or high, one of the calendar's categories
// (time, date, venue, referee), or a cancellation, postponement, interruption.
func (m MatchUpdates) HighPriority() bool { panic("in work") }

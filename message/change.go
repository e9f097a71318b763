package message

import "encoding/json"

// Change is one entry of detailed_changes, in either form of the services
// (field_name/previous_value/… or field/from/to/…). As with [Match], Raw is
// what is sent when it is set.
type Change struct {
	MatchID     MatchID
	MatchNumber string
	Category    string
	Priority    string
	Affected    []string // affected_stakeholders
	Field       string
	From, To    json.RawMessage // nil for null and missing
	Description string
	Timestamp   Timestamp

	Raw json.RawMessage
}

// The categories and priorities of the Python publisher. Both are open.
const (
	CategoryNewAssignment = "new_assignment"
	CategoryRefereeChange = "referee_change"
	CategoryTimeChange    = "time_change"
	CategoryDateChange    = "date_change"
	CategoryVenueChange   = "venue_change"
	CategoryTeamChange    = "team_change"
	CategoryStatusChange  = "status_change"
	CategoryCancellation  = "cancellation"
	CategoryPostponement  = "postponement"
	CategoryInterruption  = "interruption"

	PriorityCritical = "critical"
	PriorityHigh     = "high"
	PriorityMedium   = "medium"
	PriorityLow      = "low"
)

package message

import "encoding/json"

// ProcessingStatus tells where a publisher's processing cycle stands.
type ProcessingStatus struct {
	// Status is open; the services write started, completed and failed.
	Status string
	// Details holds the details object, and for producers that write their
	// counters beside it (cycle_number, matches_processed) those too.
	Details map[string]json.RawMessage
}

// The statuses of the Python publisher.
const (
	StatusStarted   = "started"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
)

// MessageType implements [Payload].
func (ProcessingStatus) MessageType() Type { return TypeProcessingStatus }

// Validate refuses an empty status and invalid details.
func (s ProcessingStatus) Validate() error { panic("in work") }

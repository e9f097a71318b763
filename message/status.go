package message

import "encoding/json"

// ProcessingStatus tells where a publisher's processing cycle stands.
//
// Details may hold anything: printing or logging shows the status only.
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

// Validate refuses an empty status and invalid or too many details.
func (s ProcessingStatus) Validate() error {
	if s.Status == "" {
		return refuse("payload.status", "missing")
	}
	if err := checkText("payload.status", s.Status); err != nil {
		return err
	}
	if err := checkValues("payload.details", s.Details); err != nil {
		return err
	}
	var t tally
	if t.values(s.Details); t.fits() {
		return nil
	}
	_, err := findDetails(s.appendPayload(nil, &Header{})) // as a reader would see it
	return err
}

// read fills s from a payload, or from a whole message that has none.
func (s *ProcessingStatus) read(payload span) error {
	f, err := findDetails(payload)
	if err != nil {
		return err
	}
	switch {
	case f.status != nil && f.status[0] != '"':
		return wantError("payload.status", "a string", f.status)
	case f.status != nil:
		s.Status = wellKnownStatus(f.status)
	case f.event != "":
		s.Status = f.event
	}
	if s.Status == "" {
		return refuse("payload.status", "missing")
	}
	s.Details = f.all
	return nil
}

func wellKnownStatus(raw span) string {
	switch string(raw) {
	case `"started"`:
		return StatusStarted
	case `"completed"`:
		return StatusCompleted
	case `"failed"`:
		return StatusFailed
	}
	return textOf(raw)
}

func (s ProcessingStatus) appendPayload(dst []byte, h *Header) []byte {
	dst = append(dst, `{"status":`...)
	dst = appendString(dst, s.Status)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, h.Timestamp.Time)
	dst = append(dst, `,"details":`...)
	dst = appendValues(dst, s.Details)
	return append(dst, '}')
}

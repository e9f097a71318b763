package message

import "encoding/json"

// SystemAlert tells that something went wrong in a service.
type SystemAlert struct {
	AlertType string // open; "processing_error" in production
	Severity  string // open; info, warning, error, high. "" is sent as info
	Message   string
	Details   map[string]json.RawMessage
}

// MessageType implements [Payload].
func (SystemAlert) MessageType() Type { return TypeSystemAlert }

// Validate refuses an empty alert type and invalid details.
func (a SystemAlert) Validate() error { panic("in work") }

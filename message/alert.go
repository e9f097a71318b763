package message

import "encoding/json"

// SystemAlert tells that something went wrong in a service.
//
// Message and Details may hold anything: printing or logging shows the type
// and the severity only.
type SystemAlert struct {
	AlertType string // open; "processing_error" in production
	Severity  string // open; info, warning, error, high. "" is sent as info
	Message   string
	// Details holds the details object, and what stood beside it.
	Details map[string]json.RawMessage
}

// MessageType implements [Payload].
func (SystemAlert) MessageType() Type { return TypeSystemAlert }

// Validate refuses an empty alert type and invalid or too many details.
func (a SystemAlert) Validate() error {
	if a.AlertType == "" {
		return refuse("payload.alert_type", "missing")
	}
	if err := checkText("payload.alert_type", a.AlertType); err != nil {
		return err
	}
	if err := checkText("payload.severity", a.Severity); err != nil {
		return err
	}
	if err := checkText("payload.message", a.Message); err != nil {
		return err
	}
	if err := checkValues("payload.details", a.Details); err != nil {
		return err
	}
	var t tally
	if t.values(a.Details); t.fits() {
		return nil
	}
	_, err := findDetails(a.appendPayload(nil, &Header{})) // as a reader would see it
	return err
}

// read fills a from a payload, or from a whole message that has none.
func (a *SystemAlert) read(payload span) error {
	f, err := findDetails(payload)
	if err != nil {
		return err
	}
	for _, field := range []struct {
		key  string
		raw  span
		text *string
	}{
		{"alert_type", f.alertType, &a.AlertType},
		{"severity", f.severity, &a.Severity},
		{"message", f.message, &a.Message},
	} {
		if field.raw == nil {
			continue
		}
		if field.raw[0] != '"' {
			return wantError(under("payload", field.key), "a string", field.raw)
		}
		*field.text = textOf(field.raw)
	}
	a.Details = f.all
	if f.event != "" {
		a.fromEvent(f.event)
	}
	if a.AlertType == "" {
		return refuse("payload.alert_type", "missing")
	}
	return nil
}

// fromEvent reads what a system.error event says in its data.
func (a *SystemAlert) fromEvent(event string) {
	if a.AlertType == "" {
		a.AlertType = event
	}
	if a.Severity == "" {
		a.Severity = "error"
	}
	for _, key := range []string{"message", "error"} {
		if a.Message == "" {
			a.Message = textOf(a.Details[key])
		}
	}
}

func (a SystemAlert) appendPayload(dst []byte, h *Header) []byte {
	severity := a.Severity
	if severity == "" {
		severity = "info"
	}
	dst = append(dst, `{"alert_type":`...)
	dst = appendString(dst, a.AlertType)
	dst = append(dst, `,"severity":`...)
	dst = appendString(dst, severity)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, a.Message)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, h.Timestamp.Time)
	dst = append(dst, `,"details":`...)
	dst = appendValues(dst, a.Details)
	return append(dst, '}')
}

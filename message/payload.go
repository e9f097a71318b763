package message

import (
	"encoding/json"
	"reflect"
)

// Payload is the content of a message. [MatchUpdates], [ProcessingStatus] and
// [SystemAlert] implement it on the value, not the pointer. A service may add
// its own type; it is then encoded and decoded by encoding/json.
type Payload interface {
	// MessageType names the type; it must not depend on the value.
	MessageType() Type
	// Validate tells why the payload may not be sent, wrapping [ErrInvalid]
	// and naming the field, or nil.
	Validate() error
}

// Message is a decoded message with its typed payload. Printing or logging it
// shows its head only.
type Message[P Payload] struct {
	Header
	Payload P
}

// As gives the typed form of a decoded envelope. The error wraps [ErrInvalid]
// when the envelope has another type than P or P cannot hold its payload.
// The result keeps parts of the envelope's bytes alive (see [Match.Raw]).
func As[P Payload](e *Envelope) (Message[P], error) {
	var m Message[P]
	if kind := reflect.TypeFor[P]().Kind(); kind == reflect.Pointer || kind == reflect.Interface {
		return m, refuse("payload", "wanted as a pointer or an interface: name the payload's own type")
	}
	if want := m.Payload.MessageType(); e.Type != want {
		return m, refusef("type", "want %s, got another", want)
	}
	if err := e.read(&m.Payload); err != nil {
		return Message[P]{}, err
	}
	m.Header = e.Header
	return m, nil
}

// read turns the payload into the value that p points to.
func (e *Envelope) read(p any) error {
	switch p := p.(type) {
	case *MatchUpdates:
		found := e.found
		if found.object == nil {
			var err error
			if found, err = findContents(e.Payload); err != nil {
				return err
			}
		}
		return p.read(found)
	case *ProcessingStatus:
		if err := e.checkPayload(); err != nil {
			return err
		}
		return p.read(e.Payload)
	case *SystemAlert:
		if err := e.checkPayload(); err != nil {
			return err
		}
		return p.read(e.Payload)
	}
	if err := json.Unmarshal(e.Payload, p); err != nil {
		// The error of encoding/json may quote the value.
		return refusef("payload", "does not fit into %T", p)
	}
	return nil
}

// checkPayload checks the payload of an envelope that no Decode has made.
func (e *Envelope) checkPayload() error {
	if e.found.object != nil {
		return nil
	}
	if err := checkRaw("payload", e.Payload); err != nil {
		return err
	}
	if len(e.Payload) == 0 || e.Payload[0] != '{' {
		return wantError("payload", "an object", e.Payload)
	}
	return nil
}

// checkRaw refuses JSON that may not be sent as the value at path.
func checkRaw(path string, raw []byte) error {
	s := scanner{data: raw, max: maxNesting}
	end := s.value(s.space(0), 0)
	if end < 0 || s.trailing(end) < 0 {
		return s.err(path)
	}
	if len(s.bare) > 0 {
		s.at, s.why = s.bare[0], whyBare
		return s.err(path)
	}
	return nil
}

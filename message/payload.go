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
// The result keeps parts of the envelope's bytes alive (see [Match.Raw]). It
// takes at most 10 times the message's bytes and 1 MiB; a message that would take
// more is refused with [ErrTooLarge]. Of a type of your own encoding/json decides.
func As[P Payload](e *Envelope) (Message[P], error) {
	if kind := reflect.TypeFor[P]().Kind(); kind == reflect.Pointer || kind == reflect.Interface {
		return Message[P]{}, refuse("payload", "wanted as a pointer or an interface: name the payload's own type")
	}
	payload := new(P) // by itself: what read gets is allocated, and the head need not be
	if want := (*payload).MessageType(); e.Type != want {
		return Message[P]{}, refusef("type", "want %s, got another", want)
	}
	if err := e.read(payload); err != nil {
		return Message[P]{}, err
	}
	return Message[P]{Header: e.Header, Payload: *payload}, nil
}

// read turns the payload into the value that p points to.
func (e *Envelope) read(p any) error {
	payload, found := e.Payload, e.found
	if e.data == nil { // an envelope made by hand
		seen, err := findContents(payload)
		if err != nil {
			return err
		}
		if e.Type == TypeMatchUpdates {
			if err := seen.check(); err != nil {
				return err
			}
		}
		payload, found = seen.object, &seen
	}
	switch p := p.(type) {
	case *MatchUpdates:
		view := roomFor(max(len(payload), len(e.data)))
		return p.read(found, e.zone, &view)
	case *ProcessingStatus:
		return p.read(payload)
	case *SystemAlert:
		return p.read(payload)
	}
	if err := json.Unmarshal(payload, p); err != nil {
		// The error of encoding/json may quote the value.
		return refusef("payload", "does not fit into %T", p)
	}
	return nil
}

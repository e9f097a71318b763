package message

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

// Message is a decoded message with its typed payload.
type Message[P Payload] struct {
	Header
	Payload P
}

// As gives the typed form of a decoded envelope. The error wraps [ErrInvalid]
// when the envelope has another type than P or P cannot hold its payload.
// The result keeps parts of the envelope's bytes alive (see [Match.Raw]).
func As[P Payload](e *Envelope) (Message[P], error) {
	panic("message.As: in work")
}

package message

import (
	"encoding/json"
	"time"
)

// Default bounds of a [Decoder].
const (
	DefaultMaxBytes = 8 << 20
	DefaultMaxDepth = 500
)

// Decoder holds the bounds of decoding. The zero value is ready to use; a
// Decoder may be used by several goroutines.
type Decoder struct {
	MaxBytes int // largest message in bytes; zero: DefaultMaxBytes
	MaxDepth int // deepest nesting of JSON values; zero: DefaultMaxDepth
	// Zone is the zone of timestamps that name none; nil: Europe/Stockholm.
	Zone *time.Location
}

// Envelope is a message whose head was read and whose payload was checked and
// found, but not yet turned into values; [As] does that.
type Envelope struct {
	Header
	// Payload is the payload's JSON: an object, for the flat forms the whole
	// message. It shares memory with the bytes given to Decode.
	Payload json.RawMessage
	// Sanitized tells that bare NaN or Infinity values were read as null.
	Sanitized bool
}

// Decode reads every envelope that the FOGIS services send or accept, with
// their deviations. The error is [ErrProbe] or wraps [ErrInvalid] and names
// the field. It never panics, whatever the bytes. The envelope keeps data
// alive; data must not change afterwards.
func (d Decoder) Decode(data []byte) (*Envelope, error) {
	panic("message.Decode: in work")
}

// Decode is the zero [Decoder]'s Decode.
func Decode(data []byte) (*Envelope, error) { return Decoder{}.Decode(data) }

// PeekType finds the type of a message without checking the rest. It returns
// "" when it cannot tell cheaply; then decode.
func PeekType(data []byte) Type {
	panic("message.PeekType: in work")
}

// MatchCount returns how many matches the envelope carries.
func (e *Envelope) MatchCount() int { panic("in work") }

// RawMatches returns the JSON of each match, in order, sharing memory with
// the message.
func (e *Envelope) RawMatches() []json.RawMessage { panic("in work") }

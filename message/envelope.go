package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Decoder holds the bounds of decoding. The zero value is ready to use; a
// Decoder may be used by several goroutines. Whatever the bounds, more
// than 50 000 matches or changes are refused, and a name of more than 256 bytes:
// an ID, a source, a type, a version, a status.
type Decoder struct {
	// MaxBytes is the largest message in bytes. Zero: DefaultMaxBytes;
	// negative: no bound.
	MaxBytes int
	// MaxDepth is the deepest nesting of JSON values. Zero: DefaultMaxDepth;
	// negative, and anything above 10 000: 10 000.
	MaxDepth int
	// Zone is the zone of timestamps that name none; nil: Europe/Stockholm.
	Zone *time.Location
}

// Envelope is a message whose head was read and whose payload was checked and
// found, but not yet turned into values; [As] does that.
//
// Printing or logging it shows its head only.
type Envelope struct {
	Header
	// Payload is the payload's JSON: an object, for the flat forms the whole
	// message. It shares memory with the bytes given to Decode, unless
	// Sanitized is set.
	Payload json.RawMessage
	// Sanitized tells that bare NaN or Infinity values were read as null. The
	// bytes kept of the message then have null in their place.
	Sanitized bool

	data  span      // the whole message; nil in an envelope made by hand
	found *contents // what Decode saw in the payload of match updates
	zone  *time.Location
}

// Decode reads every envelope that the FOGIS services send or accept, with
// their deviations. The error is [ErrProbe] or wraps [ErrInvalid] and names
// the field. It never panics, whatever the bytes. The envelope keeps data
// alive; data must not change afterwards.
//
// Of keys that occur twice the last one counts, as in Python. Two types that
// differ are refused: a reader that looks at the first alone would take the
// message for another one.
func (d Decoder) Decode(data []byte) (*Envelope, error) {
	if max := d.maxBytes(); max >= 0 && len(data) > max {
		return nil, &refusal{kind: ErrTooLarge, why: fmt.Sprintf(
			"has %d bytes, more than the %d allowed: send less in one message, or raise MaxMessageBytes of publisher and subscriber", len(data), max)}
	}
	if isProbeText(data) {
		return nil, ErrProbe
	}
	var l layout
	s := scanner{data: data, max: depthBound(d.MaxDepth)}
	if err := l.read(&s); err != nil {
		return nil, err
	}
	sanitized := len(s.bare) > 0
	if sanitized {
		data, l = s.mended(), layout{}
		s = scanner{data: data, max: s.max}
		if err := l.read(&s); err != nil {
			return nil, err
		}
	}
	e := &Envelope{data: l.whole.object, Sanitized: sanitized, zone: d.Zone}
	if err := l.fill(e); err != nil {
		return nil, err
	}
	return e, nil
}

func (d Decoder) maxBytes() int {
	if d.MaxBytes == 0 {
		return DefaultMaxBytes
	}
	return d.MaxBytes
}

func depthBound(depth int) int {
	switch {
	case depth == 0:
		return DefaultMaxDepth
	case depth < 0 || depth > maxNesting:
		return maxNesting
	}
	return depth
}

// Decode is the zero [Decoder]'s Decode.
func Decode(data []byte) (*Envelope, error) { return Decoder{}.Decode(data) }

// MatchCount returns how many matches the envelope carries.
func (e *Envelope) MatchCount() int { return len(e.contents().matches) }

// RawMatches returns the JSON of each match, in order, sharing memory with
// the message.
func (e *Envelope) RawMatches() []json.RawMessage { return e.contents().matches }

// contents is what Decode found in the payload, or for an envelope made by
// hand what is found there now; nothing, if that payload is invalid.
func (e *Envelope) contents() contents {
	switch {
	case e.found != nil:
		return *e.found
	case e.data != nil:
		return contents{object: e.Payload}
	}
	found, _ := findContents(e.Payload)
	return found
}

// isProbeText recognises the operators' probes that are no JSON.
func isProbeText(data []byte) bool {
	if len(data) > 64 {
		return false
	}
	data = bytes.TrimSpace(data)
	for _, prefix := range []string{"health_check_", "test_message_"} {
		if rest, ok := bytes.CutPrefix(data, []byte(prefix)); ok && len(rest) > 0 {
			return digits(rest, 0) == len(rest)
		}
	}
	return false
}

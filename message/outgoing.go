package message

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Outgoing is an encoded message on its way: what every route sends. Printing
// or logging it shows its ID and type only.
type Outgoing struct {
	ID   string
	Type Type
	// Body is the envelope's JSON. Who holds an Outgoing must not change it
	// and must not keep it beyond the call unless the giver says so.
	Body []byte
	// StreamID is the message's place in its channel's stream, for a message
	// that takes another route though the stream has it; else "".
	StreamID string
}

// AppendEncode validates p and appends the envelope of h and p to dst. Of h
// it uses ID, Source, Timestamp.Time (UTC, microseconds), Seq, Part, Stream and
// Repeat; type and versions come from p. The result is UTF-8 without HTML escaping and
// without null where the Python services expect a value; it is one line,
// unless a Raw holds line breaks: Raw is copied byte for byte.
//
// An empty ID is replaced by a fresh one and a zero time by now; a publisher
// sets both, to know them. On error, which wraps [ErrInvalid], dst is
// returned unchanged.
func AppendEncode(dst []byte, h Header, p Payload) ([]byte, error) {
	switch v := p.(type) {
	case nil:
		return dst, refuse("payload", "missing")
	case *MatchUpdates:
		if v == nil {
			return dst, refuse("payload", "missing")
		}
		p = *v
	case *ProcessingStatus:
		if v == nil {
			return dst, refuse("payload", "missing")
		}
		p = *v
	case *SystemAlert:
		if v == nil {
			return dst, refuse("payload", "missing")
		}
		p = *v
	}
	if err := p.Validate(); err != nil {
		return dst, err
	}
	if h.ID == "" {
		h.ID = NewID()
	}
	if h.Timestamp.IsZero() {
		h.Timestamp.Time = time.Now()
	}
	h.Type = p.MessageType()
	if err := h.validate(); err != nil {
		return dst, err
	}
	switch p := p.(type) {
	case MatchUpdates:
		out := appendHead(dst, &h)
		if h.Part != (Part{}) {
			out = p.appendMatches(append(out, `,"matches":`...))
		}
		out = p.appendPayload(append(out, `,"payload":`...), &h)
		return append(out, '}'), nil
	case ProcessingStatus:
		out := append(appendHead(dst, &h), `,"payload":`...)
		return append(p.appendPayload(out, &h), '}'), nil
	case SystemAlert:
		out := append(appendHead(dst, &h), `,"payload":`...)
		return append(p.appendPayload(out, &h), '}'), nil
	}
	payload, err := marshal(p)
	if err != nil {
		return dst, err
	}
	out := append(appendHead(dst, &h), `,"payload":`...)
	return append(append(out, payload...), '}'), nil
}

// NewID returns a fresh message ID: a random UUID, as the Python publisher's.
func NewID() string {
	// What uuid.NewString does, with one allocation instead of two.
	var id uuid.UUID
	rand.Read(id[:])          // never fails
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // RFC 9562
	return id.String()
}

func (h *Header) validate() error {
	if h.Type == "" {
		return refuse("type", "missing: MessageType must name one")
	}
	for _, field := range [][2]string{
		{"message_id", h.ID}, {"source", h.Source}, {"type", string(h.Type)}, {"seq.epoch", h.Seq.Epoch},
	} {
		if err := checkName(field[0], field[1]); err != nil {
			return err
		}
	}
	return checkTime("timestamp", h.Timestamp.Time)
}

// appendHead writes everything before the payload; the object stays open.
func appendHead(dst []byte, h *Header) []byte {
	switch {
	case h.Stream:
		dst = append(append(dst, streamMark...), `"message_id":`...)
	case h.Repeat:
		dst = append(append(dst, repeatMark...), `"message_id":`...)
	default:
		dst = append(dst, `{"message_id":`...)
	}
	dst = appendString(dst, h.ID)
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, h.Timestamp.Time)
	dst = append(dst, `,"source":`...)
	dst = appendString(dst, h.Source)
	dst = append(dst, `,"version":"1.0","type":`...)
	dst = appendString(dst, string(h.Type))
	dst = append(dst, `,"schema_version":"2.0"`...)
	if h.Seq.N != 0 {
		dst = appendSeq(append(dst, `,"seq":`...), h.Seq)
	}
	if h.Part != (Part{}) {
		dst = appendPart(append(dst, `,"part":`...), h.Part)
	}
	return dst
}

func (m MatchUpdates) appendMatches(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range m.Matches {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.Matches[i].append(dst)
	}
	return append(dst, ']')
}

// appendPayload writes the payload that every version of the calendar reads:
// matches as FOGIS has them, and the version, which it looks for in the
// envelope and the publisher writes here.
func (m MatchUpdates) appendPayload(dst []byte, h *Header) []byte {
	dst = m.appendMatches(append(dst, `{"matches":`...))
	dst = append(dst, `,"schema_version":"2.0","detailed_changes":[`...)
	for i := range m.Changes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.Changes[i].append(dst)
	}
	dst = append(dst, `],"high_priority":`...)
	dst = strconv.AppendBool(dst, m.urgent())
	dst = append(dst, `,"metadata":{"total_matches":`...)
	dst = strconv.AppendInt(dst, int64(len(m.Matches)), 10)
	dst = append(dst, `,"has_changes":`...)
	dst = strconv.AppendBool(dst, m.HasChanges == nil || *m.HasChanges)
	dst = m.Summary.append(append(dst, `,"change_summary":`...))
	dst = append(dst, `,"processing_timestamp":`...)
	processed := m.ProcessedAt.Time
	if processed.IsZero() {
		processed = h.Timestamp.Time
	}
	dst = appendTime(dst, processed)
	var room [16]string
	for _, key := range sortedKeys(room[:0], m.Metadata) {
		switch key {
		case "total_matches", "has_changes", "change_summary", "processing_timestamp":
			continue
		}
		dst = appendString(append(dst, ','), key)
		dst = appendRaw(append(dst, ':'), m.Metadata[key])
	}
	return append(dst, "}}"...)
}

func (s ChangeSummary) append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"new_matches":`...), int64(s.New), 10)
	dst = strconv.AppendInt(append(dst, `,"updated_matches":`...), int64(s.Updated), 10)
	dst = strconv.AppendInt(append(dst, `,"cancelled_matches":`...), int64(s.Cancelled), 10)
	dst = strconv.AppendInt(append(dst, `,"removed_matches":`...), int64(s.Removed), 10)
	dst = strconv.AppendInt(append(dst, `,"total_changes":`...), int64(s.Total), 10)
	if s.Text != "" {
		dst = appendString(append(dst, `,"text":`...), s.Text)
	}
	return append(dst, '}')
}

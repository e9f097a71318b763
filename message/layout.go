package message

import (
	"bytes"
	"strings"
	"time"
)

// layout is where the parts of an envelope stand, in whichever form it is.
// A part that is missing or null is nil.
type layout struct {
	id, timestamp, source, version span
	typ, event                     span
	schema                         span
	seq, part                      span
	test                           bool

	whole   contents // the message itself, for the forms without payload
	payload contents
	data    contents // E7
}

// contents is what a payload holds of match updates.
type contents struct {
	object   span // the payload; nil when there was none
	schema   span
	list     span   // "matches" as it stands
	matches  []span // its elements
	changes  span
	high     span
	metadata span
	event    bool // found in the data of an E7 event
}

// read checks the message and finds its parts, in one pass.
func (l *layout) read(s *scanner) error {
	if bytes.HasPrefix(s.data, byteOrderMark) {
		return refuse("", "begins with a byte order mark: send UTF-8 without one")
	}
	begin := s.space(0)
	if begin == len(s.data) {
		return refuse("", "is empty")
	}
	if s.data[begin] != '{' {
		// Worth a full check only to tell JSON from text.
		if end := s.value(begin, 0); end < 0 || s.trailing(end) < 0 {
			return s.err("")
		}
		return wantError("", "an object", s.data[begin:])
	}
	end := s.members(begin, 1, func(key []byte, at int) int {
		var part *span
		switch string(key) {
		case "payload":
			l.payload = contents{}
			return l.payload.read(s, at, 1)
		case "data":
			l.data = contents{}
			return l.data.read(s, at, 1)
		case "message_id":
			part = &l.id
		case "timestamp":
			part = &l.timestamp
		case "source":
			part = &l.source
		case "version":
			part = &l.version
		case "type":
			part = &l.typ
		case "event_type":
			part = &l.event
		case "schema_version":
			part = &l.schema
		case "seq":
			part = &l.seq
		case "part":
			part = &l.part
		case "test":
			l.test = at < len(s.data) && s.data[at] == 't'
			return s.value(at, 1)
		default:
			return l.whole.member(s, key, at, 1)
		}
		end := s.value(at, 1)
		if end > 0 {
			*part = present(s.data[at:end:end])
		}
		return end
	})
	if end < 0 || s.trailing(end) < 0 {
		return s.err("")
	}
	l.whole.object = s.data[begin:end:end]
	return nil
}

// read checks the value at i and, if it is an object, finds its parts. A bare
// list is taken as the list of matches.
func (c *contents) read(s *scanner, i, depth int) int {
	if i >= len(s.data) {
		return s.fail(i, whyTruncated)
	}
	begin, end := i, 0
	switch s.data[i] {
	case '{':
		end = s.members(i, depth+1, func(key []byte, at int) int {
			return c.member(s, key, at, depth+1)
		})
	case '[':
		c.matches, end = s.elements(nil, i, depth+1)
		if end > 0 {
			c.list = s.data[begin:end:end]
		}
	default:
		end = s.value(i, depth)
	}
	if end > 0 {
		c.object = present(s.data[begin:end:end])
	}
	return end
}

// member reads one member of a payload, or of a message without payload.
func (c *contents) member(s *scanner, key []byte, at, depth int) int {
	var part *span
	end := 0
	switch string(key) {
	case "matches":
		part, c.matches = &c.list, nil
		if at < len(s.data) && s.data[at] == '[' {
			c.matches, end = s.elements(nil, at, depth+1)
		} else {
			end = s.value(at, depth)
		}
	case "schema_version":
		part, end = &c.schema, s.value(at, depth)
	case "detailed_changes":
		part, end = &c.changes, s.value(at, depth)
	case "high_priority":
		part, end = &c.high, s.value(at, depth)
	case "metadata":
		part, end = &c.metadata, s.value(at, depth)
	default:
		return s.value(at, depth)
	}
	if end > 0 {
		*part = present(s.data[at:end:end])
	}
	return end
}

// present is raw, but nil for null: the services mean the same by both.
func present(raw span) span {
	if raw[0] == 'n' {
		return nil
	}
	return raw
}

// fill makes the envelope of what read found.
func (l *layout) fill(e *Envelope, zone *time.Location) error {
	if l.test && l.payload.object == nil && l.whole.list == nil && l.typ == nil && l.event == nil {
		return ErrProbe
	}
	for _, head := range []struct {
		key string
		raw span
	}{
		{"message_id", l.id}, {"timestamp", l.timestamp}, {"source", l.source}, {"version", l.version},
		{"type", l.typ}, {"event_type", l.event}, {"schema_version", l.schema},
	} {
		if head.raw != nil && textKind(head.raw) == 0 {
			return wantError(head.key, "a string", head.raw)
		}
	}
	h := &e.Header
	h.ID = textOf(l.id)
	if h.ID == "" {
		h.ID, h.IDGenerated = NewID(), true
	}
	h.Source = wellKnown(l.source)
	h.Version = wellKnown(l.version)
	h.Timestamp = parseTimestamp(textOf(l.timestamp), zone)
	h.Seq, h.Part = readSeq(l.seq), readPart(l.part)

	path, err := l.choose(e)
	if err != nil {
		return err
	}
	schema := l.schema
	if schema == nil && textKind(e.found.schema) != 0 {
		schema = e.found.schema
	}
	h.SchemaVersion = wellKnown(schema)
	if h.Type != TypeMatchUpdates {
		e.found = contents{object: e.found.object}
		return nil
	}
	return e.found.check(path)
}

// choose finds the type and the payload among the forms, and the payload's path.
func (l *layout) choose(e *Envelope) (path string, err error) {
	switch {
	case len(l.typ) > 2 || l.typ != nil && l.typ[0] != '"':
		e.Type = typeOf(l.typ)
	case len(l.event) > 2:
		e.Type = eventType(textOf(l.event))
	case l.payload.list != nil || l.whole.list != nil:
		e.Type = TypeMatchUpdates // fogis_matches, and older
	default:
		return "", refuse("type", "missing: a message needs a type, or matches")
	}
	switch {
	case l.payload.object != nil:
		if l.payload.object[0] != '{' {
			return "", wantError("payload", "an object", l.payload.object)
		}
		e.found, path = l.payload, "payload"
		e.Payload = l.payload.object
		return path, nil
	case l.whole.list != nil:
		e.found = l.whole
	case l.event != nil && e.Type == TypeMatchUpdates:
		e.found, path = l.eventContents()
	case e.Type == TypeMatchUpdates:
		return "", refuse("payload", "missing, and there are no matches beside it")
	default:
		e.found = l.whole
	}
	e.found.object = l.whole.object
	e.Payload = l.whole.object
	return path, nil
}

// eventContents are the matches of an E7 event: data is a list of them, holds
// one, or is a match itself.
func (l *layout) eventContents() (contents, string) {
	found := l.data
	found.event = true
	switch {
	case found.object == nil:
		return contents{event: true}, "data"
	case found.object[0] == '{' && found.list == nil:
		found.list = found.object
		found.matches = []span{found.object}
	case found.object[0] != '[' && found.object[0] != '{':
		found.list = found.object
	}
	if found.metadata == nil {
		found.metadata = l.whole.metadata
	}
	return found, "data"
}

// eventType is the type of an E7 event.
func eventType(event string) Type {
	switch {
	case strings.HasPrefix(event, "matches."):
		return TypeMatchUpdates
	case event == "system.error":
		return TypeSystemAlert
	case event == "system.health" || strings.HasPrefix(event, "service."):
		return TypeProcessingStatus
	}
	return Type(event)
}

// check refuses contents that match updates cannot have. path is the
// payload's.
func (c *contents) check(path string) error {
	list := under(path, "matches")
	if path == "data" && (len(c.object) > 0 && len(c.list) > 0 && c.object[0] != '{') {
		list = path
	}
	if c.list != nil && c.list[0] != '[' && (len(c.matches) == 0) {
		return wantError(list, "a list", c.list)
	}
	for n, match := range c.matches {
		if match[0] != '{' {
			return wantError(at(list, n), "an object", match)
		}
	}
	if c.changes != nil && c.changes[0] != '[' {
		return wantError(under(path, "detailed_changes"), "a list", c.changes)
	}
	if c.metadata != nil && c.metadata[0] != '{' {
		return wantError(under(path, "metadata"), "an object", c.metadata)
	}
	return nil
}

// textKind is the first byte of a string or number, else 0.
func textKind(raw span) byte {
	if len(raw) > 0 && (raw[0] == '"' || raw[0] == '-' || raw[0]-'0' <= 9) {
		return raw[0]
	}
	return 0
}

// typeOf is textOf without an allocation for the known types.
func typeOf(raw span) Type {
	switch string(raw) {
	case `"match_updates"`:
		return TypeMatchUpdates
	case `"processing_status"`:
		return TypeProcessingStatus
	case `"system_alert"`:
		return TypeSystemAlert
	}
	return Type(textOf(raw))
}

// wellKnown is textOf without an allocation for what nearly every message says.
func wellKnown(raw span) string {
	switch string(raw) {
	case `"match-list-processor"`:
		return "match-list-processor"
	case `"1.0"`:
		return "1.0"
	case `"2.0"`:
		return "2.0"
	}
	return textOf(raw)
}

// findContents finds the parts of a payload that no Decode has seen.
func findContents(payload []byte) (contents, error) {
	var l layout
	s := scanner{data: payload, max: maxNesting}
	if err := l.read(&s); err != nil {
		return contents{}, err
	}
	if len(s.bare) > 0 {
		s.at, s.why = s.bare[0], whyBare
		return contents{}, s.err("payload")
	}
	found, path := l.whole, "payload"
	if found.list == nil && l.event != nil {
		found, path = l.eventContents()
	}
	found.object = l.whole.object
	return found, found.check(path)
}

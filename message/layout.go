package message

import (
	"bytes"
	"strings"
)

// layout is where the parts of an envelope stand, in whichever form it is.
// A part that is missing or null is nil.
type layout struct {
	id, timestamp, source, version span
	typ, event                     span
	schema                         span
	seq, part, after               span
	test, stream, repeat           bool
	typed, twoTypes                bool

	whole   contents // the message itself, for the forms without payload
	payload contents
	data    contents // of an event
	found   contents // the one of them that counts
}

// contents is what a payload holds of match updates.
type contents struct {
	path     string // where the members stand: "payload", or "" for the message
	object   span   // the payload; nil when there was none
	schema   span
	listed   bool   // there is a key "matches"
	list     span   // its value
	matches  []span // the elements
	changes  span
	high     span
	metadata span
	event    bool // found in the data of an event
}

var byteOrderMark = []byte("\ufeff")

// read checks the message and finds its parts, in one pass.
func (l *layout) read(s *scanner) error {
	if bytes.HasPrefix(s.data, byteOrderMark) {
		return refuse("", "begins with a byte order mark: send UTF-8 without one")
	}
	begin := s.space(0)
	if begin == len(s.data) {
		return refuse("", "is empty")
	}
	if isUTF16(s.data) {
		return refuse("", whyUTF16)
	}
	end := 0
	if s.data[begin] == '{' {
		end = s.members(begin, 1, func(key []byte, at int) int { return l.member(s, key, at) })
	} else {
		end = s.value(begin, 0)
	}
	if end < 0 || s.trailing(end) < 0 {
		return s.err()
	}
	if s.data[begin] != '{' {
		return wantError("", "an object", s.data[begin:])
	}
	l.whole.object = s.data[begin:end:end]
	return nil
}

// member reads one member of the message. What comes twice replaces what was
// there.
func (l *layout) member(s *scanner, key []byte, at int) int {
	var part *span
	switch string(key) {
	case "payload":
		l.payload = contents{path: "payload"}
		return l.payload.read(s, at)
	case "data":
		l.data = contents{path: "data", event: true}
		return l.data.read(s, at)
	case "message_id":
		part = &l.id
	case "timestamp":
		part = &l.timestamp
	case "source":
		part = &l.source
	case "version":
		part = &l.version
	case "type":
		was := l.typ
		end := s.value(at, 1)
		if end > 0 {
			l.typ = present(s.data[at:end:end])
			l.twoTypes = l.twoTypes || l.typed && typeOf(was) != typeOf(l.typ)
			l.typed = true
		}
		return end
	case "event_type":
		part = &l.event
	case "schema_version":
		part = &l.schema
	case "seq":
		part = &l.seq
	case "part":
		part = &l.part
	case "after":
		part = &l.after
	case "stream":
		l.stream = at < len(s.data) && s.data[at] == 't'
		return s.value(at, 1)
	case "repeat":
		l.repeat = at < len(s.data) && s.data[at] == 't'
		return s.value(at, 1)
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
}

// read checks the value of payload or data and, if it is an object, finds its
// parts. A list is taken as the list of matches.
func (c *contents) read(s *scanner, at int) int {
	end := 0
	switch {
	case at < len(s.data) && s.data[at] == '{':
		end = s.members(at, 2, func(key []byte, at int) int { return c.member(s, key, at, 2) })
	case at < len(s.data) && s.data[at] == '[':
		c.matches, end = s.elements(at, 2)
	default:
		end = s.value(at, 1)
	}
	if end > 0 {
		c.object = present(s.data[at:end:end])
	}
	return end
}

// member reads one member of a payload, or of a message without payload.
func (c *contents) member(s *scanner, key []byte, at, depth int) int {
	var part *span
	switch string(key) {
	case "matches":
		c.listed, c.matches = true, nil
		part = &c.list
		if at < len(s.data) && s.data[at] == '[' {
			var end int
			if c.matches, end = s.elements(at, depth+1); end > 0 {
				c.list = s.data[at:end:end]
			}
			return end
		}
	case "schema_version":
		part = &c.schema
	case "detailed_changes":
		part = &c.changes
	case "high_priority":
		part = &c.high
	case "metadata":
		part = &c.metadata
	default:
		return s.value(at, depth)
	}
	end := s.value(at, depth)
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
func (l *layout) fill(e *Envelope) error {
	if l.test && l.payload.object == nil && !l.whole.listed && l.typ == nil && l.event == nil {
		return ErrProbe
	}
	for _, head := range [...]struct {
		key string
		raw span
	}{
		{"message_id", l.id}, {"timestamp", l.timestamp}, {"source", l.source},
		{"version", l.version}, {"schema_version", l.schema},
	} {
		if head.raw != nil && !isText(head.raw) {
			return wantError(head.key, "a string", head.raw)
		}
		if isLong(head.raw) {
			return refuse(head.key, whyLong)
		}
	}
	h := &e.Header
	var room [192]byte
	heads := append(append(room[:0], l.id...), l.timestamp...)
	if len(l.seq) <= maxName { // else it would be kept with the ID
		heads = append(heads, l.seq...)
	}
	text := string(heads) // at one allocation
	id, rest := text[:len(l.id)], text[len(l.id):]
	timestamp, seq := rest[:len(l.timestamp)], rest[len(l.timestamp):]
	if seq == "" {
		seq = string(l.seq)
	}
	h.ID = textOf(id)
	if h.ID == "" {
		h.ID, h.IDGenerated = NewID(), true
	}
	h.Source = wellKnown(l.source)
	h.Version = wellKnown(l.version)
	h.Timestamp = parseTimestamp(textOf(timestamp), e.zone)
	h.Seq, h.Part, h.Stream, h.Repeat = readSeq(l.seq, seq), readPart(l.part), l.stream, l.repeat
	if len(h.Seq.Epoch) > maxName {
		return refuse("seq.epoch", whyLong)
	}
	if isText(l.after) {
		h.After = textOf(l.after)
		if len(h.After) > maxName {
			return refuse("after", whyLong)
		}
	}
	if err := l.findType(e); err != nil {
		return err
	}
	if err := l.findPayload(e); err != nil {
		return err
	}
	schema := l.schema
	if schema == nil && isText(l.payload.schema) {
		schema = l.payload.schema
		if isLong(schema) {
			return refuse("payload.schema_version", whyLong)
		}
	}
	h.SchemaVersion = wellKnown(schema)
	if h.Type != TypeMatchUpdates {
		return nil
	}
	found := l.found
	e.found = &found
	return found.check()
}

// findType reads the type, or tells it from the form.
func (l *layout) findType(e *Envelope) error {
	switch {
	case l.twoTypes:
		return refuse("type", "stands twice, with different values")
	case isLong(l.typ):
		return refuse("type", whyLong)
	case isLong(l.event):
		return refuse("event_type", whyLong)
	case l.typ != nil && l.typ[0] != '"':
		return wantError("type", "a string", l.typ)
	case l.event != nil && l.event[0] != '"':
		return wantError("event_type", "a string", l.event)
	}
	e.Type = typeOf(l.typ)
	if e.Type == "" {
		e.Type = eventType(textOf(l.event))
	}
	if e.Type == "" && (l.payload.listed || l.whole.listed) {
		e.Type = TypeMatchUpdates // fogis_matches, and older
	}
	if e.Type == "" {
		return refuse("type", "missing: a message needs a type, or matches")
	}
	return nil
}

// findPayload finds the payload among the forms.
func (l *layout) findPayload(e *Envelope) error {
	updates := e.Type == TypeMatchUpdates
	switch {
	case l.payload.object != nil && l.payload.object[0] != '{':
		return wantError("payload", "an object", l.payload.object)
	case l.payload.object != nil:
		e.Payload, l.found = l.payload.object, l.payload
		if l.payload.list == nil && l.whole.list != nil {
			l.found.path, l.found.list, l.found.matches = "", l.whole.list, l.whole.matches
		}
		return nil
	case updates && !l.whole.listed && l.event != nil:
		if err := l.findData(); err != nil {
			return err
		}
		l.found = l.data
	case updates && !l.whole.listed:
		return refuse("payload", "missing, and there are no matches beside it")
	default:
		l.found = l.whole
	}
	e.Payload, l.found.object = l.whole.object, l.whole.object
	return nil
}

// findData finds the matches of an event: its data is a list of them, has a
// list, or is a match.
func (l *layout) findData() error {
	d := &l.data
	switch {
	case d.object == nil:
		return refuse("data", "missing")
	case d.object[0] == '{' && !d.listed:
		d.list, d.matches = d.object, []span{d.object}
	case d.object[0] != '{':
		d.list = d.object
	}
	if d.metadata == nil {
		d.metadata = l.whole.metadata
	}
	return nil
}

// eventType is the type of an event of the prototype.
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

// check refuses contents that match updates cannot have.
func (c *contents) check() error {
	path := under(c.path, "matches")
	if c.event && !c.listed {
		path = c.path
	}
	if c.list != nil && c.list[0] != '[' && c.matches == nil {
		return wantError(path, "a list", c.list)
	}
	for n, match := range c.matches {
		if match[0] != '{' {
			return wantError(at(path, n), "an object", match)
		}
	}
	if c.changes != nil && c.changes[0] != '[' {
		return wantError(under(c.path, "detailed_changes"), "a list", c.changes)
	}
	if c.metadata != nil && c.metadata[0] != '{' {
		return wantError(under(c.path, "metadata"), "an object", c.metadata)
	}
	return nil
}

// isUTF16 recognises the form in which some shells write files. No JSON begins
// like that.
func isUTF16(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	switch [2]byte(data) {
	case [2]byte{0xff, 0xfe}, [2]byte{0xfe, 0xff}, [2]byte{'{', 0}, [2]byte{0, '{'}, [2]byte{'[', 0}, [2]byte{0, '['}:
		return true
	}
	return false
}

// isText tells whether raw is a string or a number.
func isText(raw span) bool {
	return len(raw) > 0 && (raw[0] == '"' || raw[0] == '-' || raw[0]-'0' <= 9)
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
	s := scanner{data: payload, max: DefaultMaxDepth}
	if err := l.read(&s); err != nil {
		return contents{}, within("payload", err)
	}
	if len(s.bare) > 0 {
		return contents{}, within("payload", s.bareErr())
	}
	found := l.whole
	if !found.listed && l.event != nil && l.data.object != nil {
		if err := l.findData(); err != nil {
			return contents{}, err
		}
		found = l.data
	}
	found.object = l.whole.object
	if !found.event {
		found.path = "payload"
	}
	return found, nil
}

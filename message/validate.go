package message

import (
	"encoding/json"
	"math"
	"time"
	"unicode/utf8"
)

// How many containers stand around a part of a message. Validate counts them,
// so that what may be sent is never too deep for a zero [Decoder].
const (
	aroundMatch  = 3 // envelope, payload, matches
	aroundChange = 3
	aroundValue  = 3 // envelope, payload, details or metadata
)

// Validate refuses a match that is not a JSON object, has neither matchid nor
// match_id, or holds invalid UTF-8, NaN or Infinity. Unknown, null, missing
// and repeated values pass, and so does a match without a kick-off. Of changes
// and metadata it refuses what is no JSON. A time must lie in the years 1 to
// 9999. [ErrTooLarge] tells of more than 50 000 matches or changes, or of so
// many small elements that no reader takes them.
func (m MatchUpdates) Validate() error {
	if len(m.Matches) > maxElements {
		return &refusal{path: "payload.matches", why: whyMany, kind: ErrTooLarge}
	}
	if len(m.Changes) > maxElements {
		return &refusal{path: "payload.detailed_changes", why: whyMany, kind: ErrTooLarge}
	}
	var t tally
	for i := range m.Matches {
		if err := m.Matches[i].validate(&t); err != nil {
			return within(at("payload.matches", i), err)
		}
	}
	for i := range m.Changes {
		if err := m.Changes[i].validate(&t); err != nil {
			return within(at("payload.detailed_changes", i), err)
		}
	}
	if err := checkText("payload.metadata.change_summary", m.Summary.Text); err != nil {
		return err
	}
	if err := checkTime("payload.metadata.processing_timestamp", m.ProcessedAt.Time); err != nil {
		return err
	}
	if err := checkValues("payload.metadata", m.Metadata); err != nil {
		return err
	}
	t.values(m.Metadata)
	if t.fits() {
		return nil
	}
	// As a reader would see it.
	payload := m.appendPayload(nil, &Header{Timestamp: Timestamp{Time: time.Unix(0, 0)}})
	found, err := findContents(payload)
	if err != nil {
		return err
	}
	view := roomFor(len(payload))
	return new(MatchUpdates).read(&found, nil, &view)
}

func (m *Match) validate(t *tally) error {
	if m.Raw != nil {
		return checkMatch(m.Raw, t)
	}
	if m.ID.String() == "" {
		return refuse("matchid", "missing")
	}
	ok := validTexts(m.ID.Text, m.Number, m.Home.Name, m.Away.Name, m.Venue.Name,
		m.Competition.Number, m.Competition.Name, m.Competition.Category)
	for i := range m.Officials {
		o := &m.Officials[i]
		ok = ok && validTexts(o.ID, o.Number, o.Role, o.RoleShort, o.Name, o.Mobile, o.Phone,
			o.WorkPhone, o.Email, o.Address, o.CareOf, o.PostalCode, o.City, o.Country)
	}
	for i := range m.Contacts {
		c := &m.Contacts[i]
		ok = ok && validTexts(c.TeamName, c.Name, c.Mobile, c.Phone, c.WorkPhone, c.Email,
			c.Address, c.CareOf, c.PostalCode, c.City, c.Country)
	}
	if !ok {
		return refuse("", whyUTF8)
	}
	for _, f := range []float64{m.Venue.Latitude, m.Venue.Longitude} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return refuse("", whyBare)
		}
	}
	if k := m.Kickoff; !k.IsZero() && (swedish(k.UnixMilli()).IsZero() || swedish(k.UnixMilli()).Year() > 9999) {
		return refuse("tid", whyYear)
	}
	return nil
}

func (c *Change) validate(t *tally) error {
	if c.Raw != nil {
		return checkChange(c.Raw, t)
	}
	if !validTexts(c.MatchID.Text, c.MatchNumber, c.Category, c.Priority, c.Field, c.Description) || !validTexts(c.Affected...) {
		return refuse("", whyUTF8)
	}
	for _, raw := range []json.RawMessage{c.From, c.To} {
		if len(raw) > 0 {
			if err := checkRaw(raw, aroundChange+1); err != nil {
				return err
			}
		}
	}
	return checkTime("timestamp", c.Timestamp.Time)
}

// checkTime refuses a time that would be read as no time.
func checkTime(path string, t time.Time) error {
	if y := t.UTC().Year(); y < 1 || y > 9999 || !t.IsZero() && t.Truncate(time.Microsecond).IsZero() {
		return refuse(path, whyYear)
	}
	return nil
}

// checkMatch refuses JSON that is no match.
func checkMatch(raw []byte, t *tally) error {
	s := scanner{data: raw, max: DefaultMaxDepth}
	begin := s.space(0)
	if begin == len(raw) || raw[begin] != '{' {
		return checkObject(raw, aroundMatch)
	}
	hasID := false
	end := s.members(begin, aroundMatch+1, func(key []byte, at int) int {
		if string(key) == "matchid" || string(key) == "match_id" {
			hasID = true
		}
		return s.value(at, aroundMatch+1)
	})
	switch {
	case end < 0 || s.trailing(end) < 0:
		return s.err()
	case len(s.bare) > 0:
		return s.bareErr()
	case !hasID:
		return refuse("", "has neither matchid nor match_id")
	}
	t.raw(raw, mostOfMatch, s.seen)
	return nil
}

// checkChange refuses JSON that is no change.
func checkChange(raw []byte, t *tally) error {
	s, err := scan(raw, aroundChange)
	if err != nil {
		return err
	}
	if i := s.space(0); raw[i] != '{' {
		return wantError("", "an object", raw[i:])
	}
	t.raw(raw, mostOfChange, s.seen)
	return nil
}

// checkObject refuses JSON that may not be sent or is no object.
func checkObject(raw []byte, depth int) error {
	if err := checkRaw(raw, depth); err != nil {
		return err
	}
	s := scanner{data: raw}
	if i := s.space(0); raw[i] != '{' {
		return wantError("", "an object", raw[i:])
	}
	return nil
}

// checkRaw refuses JSON that may not be sent inside depth containers.
func checkRaw(raw []byte, depth int) error {
	_, err := scan(raw, depth)
	return err
}

// scan is checkRaw with what was seen on the way.
func scan(raw []byte, depth int) (scanner, error) {
	s := scanner{data: raw, max: DefaultMaxDepth}
	begin := s.space(0)
	if begin == len(raw) {
		return s, refuse("", "is empty")
	}
	end := s.value(begin, depth)
	if end < 0 || s.trailing(end) < 0 {
		return s, s.err()
	}
	if len(s.bare) > 0 {
		return s, s.bareErr()
	}
	return s, nil
}

// checkText refuses text that is no UTF-8: one such message stops the Python
// subscriber for good.
func checkText(path, text string) error {
	if !utf8.ValidString(text) {
		return refuse(path, whyUTF8)
	}
	return nil
}

func validTexts(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// checkValues refuses an object with a key or a value that may not be sent.
func checkValues(path string, values map[string]json.RawMessage) error {
	for key, raw := range values {
		if err := checkText(path, key); err != nil {
			return err
		}
		if len(raw) == 0 {
			continue
		}
		if err := checkRaw(raw, aroundValue); err != nil {
			return within(path, err)
		}
	}
	return nil
}

package message

import (
	"encoding/json"
	"math"
	"unicode/utf8"
)

// Validate refuses a match that is not a JSON object, has neither matchid nor
// match_id, or holds invalid UTF-8, NaN or Infinity. Unknown, null, missing
// and repeated values pass.
func (m MatchUpdates) Validate() error {
	for i := range m.Matches {
		if why := m.Matches[i].fault(); why != nil {
			return why(at("payload.matches", i))
		}
	}
	for i := range m.Changes {
		if why := m.Changes[i].fault(); why != nil {
			return why(at("payload.detailed_changes", i))
		}
	}
	return checkValues("payload.metadata", m.Metadata)
}

// fault tells what is wrong with a part of a message; it gets the part's
// path. It is nil when nothing is: paths are made for errors only.
type fault func(path string) error

func (m *Match) fault() fault {
	if m.Raw != nil {
		return rawFault(m.Raw, true)
	}
	if m.ID.String() == "" {
		return func(path string) error { return refuse(under(path, "matchid"), "missing") }
	}
	texts := []string{m.ID.Text, m.Number, m.Home.Name, m.Away.Name, m.Venue.Name,
		m.Competition.Number, m.Competition.Name, m.Competition.Category}
	for i := range m.Officials {
		o := &m.Officials[i]
		texts = append(texts, o.ID, o.Number, o.Role, o.RoleShort, o.Name, o.Mobile, o.Phone,
			o.WorkPhone, o.Email, o.Address, o.CareOf, o.PostalCode, o.City, o.Country)
	}
	for i := range m.Contacts {
		c := &m.Contacts[i]
		texts = append(texts, c.TeamName, c.Name, c.Mobile, c.Phone, c.WorkPhone, c.Email,
			c.Address, c.CareOf, c.PostalCode, c.City, c.Country)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return func(path string) error { return refuse(path, whyUTF8) }
		}
	}
	for _, f := range []float64{m.Venue.Latitude, m.Venue.Longitude} {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return func(path string) error { return refuse(path, whyBare) }
		}
	}
	return nil
}

func (c *Change) fault() fault {
	if c.Raw != nil {
		return rawFault(c.Raw, false)
	}
	for _, text := range append([]string{c.MatchID.Text, c.MatchNumber, c.Category, c.Priority, c.Field, c.Description}, c.Affected...) {
		if !utf8.ValidString(text) {
			return func(path string) error { return refuse(path, whyUTF8) }
		}
	}
	for _, raw := range []json.RawMessage{c.From, c.To} {
		if len(raw) == 0 {
			continue
		}
		if err := checkRaw("", raw); err != nil {
			return func(path string) error { return checkRaw(path, raw) }
		}
	}
	return nil
}

// rawFault checks JSON that is sent as it is: an object, for a match with an ID.
func rawFault(raw []byte, match bool) fault {
	s := scanner{data: raw, max: maxNesting}
	begin := s.space(0)
	if begin == len(raw) {
		return func(path string) error { return refuse(path, "is empty") }
	}
	hasID, end := false, 0
	if raw[begin] == '{' {
		end = s.members(begin, 1, func(key []byte, at int) int {
			if string(key) == "matchid" || string(key) == "match_id" {
				hasID = true
			}
			return s.value(at, 1)
		})
	} else {
		end = s.value(begin, 0)
	}
	switch {
	case end < 0 || s.trailing(end) < 0:
		return func(path string) error { return s.err(path) }
	case len(s.bare) > 0:
		return func(path string) error { return refuse(path, whyBare) }
	case raw[begin] != '{':
		return func(path string) error { return wantError(path, "an object", raw[begin:]) }
	case match && !hasID:
		return func(path string) error { return refuse(path, "has neither matchid nor match_id") }
	}
	return nil
}

// checkText refuses text that is no UTF-8: one such message stops the Python
// subscriber for good.
func checkText(path, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return refuse(path, whyUTF8)
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
		if err := checkRaw(path, raw); err != nil {
			return err
		}
	}
	return nil
}

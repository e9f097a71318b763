package message

import (
	"encoding/json"
	"time"
)

// Change is one entry of detailed_changes, in either form of the services
// (field_name/previous_value/… or field/from/to/…). As with [Match], Raw is
// what is sent when it is set.
//
// From, To and Description may hold names: printing or logging a Change shows
// the match, the category, the priority and the field only.
type Change struct {
	MatchID     MatchID
	MatchNumber string
	Category    string
	Priority    string
	Affected    []string // affected_stakeholders
	Field       string
	From, To    json.RawMessage // nil for null and missing
	Description string
	Timestamp   Timestamp

	Raw json.RawMessage
}

// The categories and priorities of the Python publisher. Both are open.
const (
	CategoryNewAssignment = "new_assignment"
	CategoryRefereeChange = "referee_change"
	CategoryTimeChange    = "time_change"
	CategoryDateChange    = "date_change"
	CategoryVenueChange   = "venue_change"
	CategoryTeamChange    = "team_change"
	CategoryStatusChange  = "status_change"
	CategoryCancellation  = "cancellation"
	CategoryPostponement  = "postponement"
	CategoryInterruption  = "interruption"

	PriorityCritical = "critical"
	PriorityHigh     = "high"
	PriorityMedium   = "medium"
	PriorityLow      = "low"
)

// unknownMatch is what the Python publisher writes for a missing match ID.
const unknownMatch = "unknown"

// viewed is c, with its view read if it was made from its JSON alone.
func (c *Change) viewed() *Change {
	if c.Raw == nil || c.Category != "" || c.Priority != "" || checkObject(c.Raw, aroundChange) != nil {
		return c
	}
	seen, view := new(Change), roomFor(len(c.Raw))
	seen.read(c.Raw, nil, &view)
	return seen
}

// urgent is the publisher's rule for its flag.
func (c *Change) urgent() bool { return c.Priority == PriorityCritical || c.Priority == PriorityHigh }

// highPriority is urgent, or the calendar's rule, which goes by the category.
func (c *Change) highPriority() bool {
	if c.urgent() {
		return true
	}
	switch c.Category {
	case CategoryTimeChange, CategoryDateChange, CategoryVenueChange, CategoryRefereeChange,
		CategoryCancellation, CategoryPostponement, CategoryInterruption:
		return true
	}
	return false
}

// read fills c from a valid object. Where both forms' keys are there, the
// production one counts.
func (c *Change) read(raw span, zone *time.Location, view *room) {
	*c = Change{Raw: raw}
	var other Change
	w := walk(raw)
	for w.next() {
		switch w.key {
		case "match_id":
			c.MatchID = readMatchID(&w)
		case "matchid":
			other.MatchID = readMatchID(&w)
		case "match_nr":
			c.MatchNumber = w.string()
		case "category":
			c.Category = w.string()
		case "priority":
			c.Priority = w.string()
		case "affected_stakeholders":
			c.Affected = readStrings(&w, view)
		case "field_name":
			c.Field = w.string()
		case "field":
			other.Field = w.string()
		case "previous_value":
			c.From = w.present()
		case "from":
			other.From = w.present()
		case "current_value":
			c.To = w.present()
		case "to":
			other.To = w.present()
		case "change_description":
			c.Description = w.string()
		case "description":
			other.Description = w.string()
		case "timestamp":
			c.Timestamp = parseTimestamp(w.string(), zone)
		}
	}
	if c.MatchID.Text == unknownMatch {
		c.MatchID = MatchID{}
	}
	fill(&c.MatchID, other.MatchID)
	fill(&c.Field, other.Field)
	if c.From == nil {
		c.From = other.From
	}
	if c.To == nil {
		c.To = other.To
	}
	fill(&c.Description, other.Description)
}

// readStrings reads a list's strings.
func readStrings(w *walker, view *room) []string {
	if w.first() != '[' {
		return nil
	}
	var list []string
	for outer := w.enter(); w.within(outer); {
		if w.first() != '"' {
			continue
		}
		var ok bool
		if list, ok = grow(list, 1, w, view); ok {
			list[len(list)-1] = w.string()
		}
	}
	return list
}

// append writes c in the form and key order of the Python publisher.
func (c *Change) append(dst []byte) []byte {
	if c.Raw != nil {
		return append(dst, c.Raw...)
	}
	dst = append(dst, `{"match_id":`...)
	if c.MatchID == (MatchID{}) {
		dst = append(dst, `"`+unknownMatch+`"`...)
	} else {
		dst = c.MatchID.append(dst)
	}
	dst = append(dst, `,"match_nr":`...)
	if c.MatchNumber == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, c.MatchNumber)
	}
	dst = append(dst, `,"category":`...)
	dst = appendString(dst, c.Category)
	dst = append(dst, `,"priority":`...)
	dst = appendString(dst, c.Priority)
	dst = append(dst, `,"affected_stakeholders":[`...)
	for i, name := range c.Affected {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
	}
	dst = append(dst, `],"field_name":`...)
	dst = appendString(dst, c.Field)
	dst = append(dst, `,"previous_value":`...)
	dst = appendRaw(dst, c.From)
	dst = append(dst, `,"current_value":`...)
	dst = appendRaw(dst, c.To)
	dst = append(dst, `,"change_description":`...)
	dst = appendString(dst, c.Description)
	if !c.Timestamp.IsZero() {
		dst = append(dst, `,"timestamp":`...)
		dst = appendTime(dst, c.Timestamp.Time)
	}
	return append(dst, '}')
}

// appendRaw writes a value; nil is null.
func appendRaw(dst []byte, raw span) []byte {
	if len(raw) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, raw...)
}

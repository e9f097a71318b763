package message

import (
	"encoding/json"
	"time"
)

// MatchUpdates is a snapshot: the publisher's whole current match list, with
// what changed since the last one.
//
// Printing or logging it shows counts only.
type MatchUpdates struct {
	Matches []Match
	Changes []Change
	// HasChanges is nil when the message does not say. Sent as true when nil.
	// It never filters: a message that says false reaches the handler.
	HasChanges *bool
	// HighPriorityFlag is the publisher's own flag. It is sent as true also when
	// a change has priority critical or high. [MatchUpdates.HighPriority] is the
	// rule to act on.
	HighPriorityFlag bool
	// Summary counts the changes, as [Summarize] does.
	Summary ChangeSummary
	// ProcessedAt is when the publisher made the snapshot. When zero, the
	// envelope's own time is sent.
	ProcessedAt Timestamp
	// Metadata holds the other keys of the payload's metadata as they came,
	// or to send; the contract's own keys win over it.
	Metadata map[string]json.RawMessage
}

// ChangeSummary counts changes. Text is set for producers that write one
// sentence instead; it is sent beside the counts.
type ChangeSummary struct {
	New, Updated, Cancelled, Removed, Total int
	Text                                    string
}

// MessageType implements [Payload].
func (MatchUpdates) MessageType() Type { return TypeMatchUpdates }

// HighPriority tells whether somebody should look now: the publisher's flag,
// a change of priority critical or high, one of the calendar's categories
// (time, date, venue, referee), or a cancellation, postponement, interruption.
func (m MatchUpdates) HighPriority() bool {
	if m.HighPriorityFlag {
		return true
	}
	for i := range m.Changes {
		if m.Changes[i].viewed().highPriority() {
			return true
		}
	}
	return false
}

// urgent tells what is sent as high_priority.
func (m *MatchUpdates) urgent() bool {
	if m.HighPriorityFlag {
		return true
	}
	for i := range m.Changes {
		if m.Changes[i].viewed().urgent() {
			return true
		}
	}
	return false
}

// read fills m from what was found in a payload.
func (m *MatchUpdates) read(found *contents, zone *time.Location, view *room) error {
	m.HighPriorityFlag = len(found.high) > 0 && found.high[0] == 't'
	var err error
	if m.Matches, err = readMatches(found.matches, view); err != nil {
		return within(under(found.path, "matches"), err)
	}
	if found.changes != nil {
		path, n := under(found.path, "detailed_changes"), 0
		for w := walkRaw(found.changes); w.step(); n++ {
			if n == fewElements && n+w.rest() > maxElements {
				return &refusal{path: path, why: whyMany, kind: ErrTooLarge}
			}
			switch w.first() {
			case '{':
				var ok bool
				if m.Changes, ok = grow(m.Changes, 1, &w, view); ok {
					m.Changes[len(m.Changes)-1].read(w.value(), zone, view)
				}
				if view.usedUp() {
					return view.err(path)
				}
			case 'n': // as good as missing
			default:
				return wantError(at(path, n), "an object", w.value())
			}
		}
	}
	if m.readMetadata(found.metadata, zone, view); view.usedUp() {
		return view.err(under(found.path, "metadata"))
	}
	return nil
}

func (m *MatchUpdates) readMetadata(raw span, zone *time.Location, view *room) {
	w := walk(raw)
	for w.next() {
		switch w.key {
		case "total_matches": // counted anew; some callers write anything here
		case "has_changes":
			m.HasChanges = truth(&w)
		case "change_summary":
			m.Summary = ChangeSummary{}
			m.Summary.read(&w)
		case "processing_timestamp":
			m.ProcessedAt = parseTimestamp(w.string(), zone)
		default:
			if m.Metadata == nil {
				m.Metadata = make(map[string]json.RawMessage)
			}
			if !view.take(1, entryBytes) {
				return
			}
			m.Metadata[w.key] = w.value()
		}
	}
}

// truth reads a flag as the Python services do, where a string that is not
// empty is true; nil for null.
func truth(w *walker) *bool {
	var yes bool
	switch w.first() {
	case 'n':
		return nil
	case 't':
		yes = true
	case '"':
		yes = w.end-w.start > 2
	case 'f':
	case '{', '[':
		for outer := w.enter(); w.within(outer); {
			yes = true
		}
	default:
		yes = w.float() != 0
	}
	return &yes
}

func (s *ChangeSummary) read(w *walker) {
	if w.first() == '"' {
		s.Text = w.string()
		return
	}
	if w.first() != '{' {
		return
	}
	for outer := w.enter(); w.within(outer); {
		switch w.key {
		case "new_matches":
			s.New = int(w.int())
		case "updated_matches":
			s.Updated = int(w.int())
		case "cancelled_matches":
			s.Cancelled = int(w.int())
		case "removed_matches":
			s.Removed = int(w.int())
		case "total_changes":
			s.Total = int(w.int())
		case "text":
			s.Text = w.string()
		}
	}
}

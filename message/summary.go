package message

// Summarize counts changes as the services do: each match once, as cancelled if
// one of its changes says so, as new if it was given officials and had no earlier
// value, else as updated. Total counts the changes themselves. No change says that
// a match was removed: set Removed yourself.
func Summarize(changes []Change) ChangeSummary {
	type match struct{ cancelled, assigned, known bool }
	matches := make(map[string]*match, len(changes))
	for i := range changes {
		c := changes[i].viewed()
		key := c.MatchID.String()
		if key == "" {
			key = c.MatchNumber
		}
		m := matches[key]
		if m == nil {
			m = &match{}
			matches[key] = m
		}
		m.cancelled = m.cancelled || c.Category == CategoryCancellation
		m.assigned = m.assigned || c.Category == CategoryNewAssignment
		m.known = m.known || len(c.From) > 0 && string(c.From) != "null"
	}
	s := ChangeSummary{Total: len(changes)}
	for _, m := range matches {
		switch {
		case m.cancelled:
			s.Cancelled++
		case m.assigned && !m.known:
			s.New++
		default:
			s.Updated++
		}
	}
	return s
}

package message

import (
	"fmt"
	"log/slog"
)

// Matches and messages hold personal data. Their String says what may be
// shown; Format gives package fmt the same for every verb, and LogValue gives
// it to log/slog.

// String shows the ID and the number.
func (m Match) String() string {
	return fmt.Sprintf("match %s (%s, officials: %d, contacts: %d)", clip(m.ID.String()), clip(m.Number), len(m.Officials), len(m.Contacts))
}

// Format implements [fmt.Formatter].
func (m Match) Format(f fmt.State, _ rune) { show(f, m) }

// LogValue implements [slog.LogValuer].
func (m Match) LogValue() slog.Value { return slog.StringValue(m.String()) }

// String shows the role.
func (o Official) String() string {
	role := o.RoleShort
	if role == "" {
		role = o.Role
	}
	return "official (" + clip(role) + ")"
}

// Format implements [fmt.Formatter].
func (o Official) Format(f fmt.State, _ rune) { show(f, o) }

// LogValue implements [slog.LogValuer].
func (o Official) LogValue() slog.Value { return slog.StringValue(o.String()) }

// String shows the team.
func (c Contact) String() string { return "contact (" + clip(c.TeamName) + ")" }

// Format implements [fmt.Formatter].
func (c Contact) Format(f fmt.State, _ rune) { show(f, c) }

// LogValue implements [slog.LogValuer].
func (c Contact) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String shows the match, the category, the priority and the field.
func (c Change) String() string {
	return fmt.Sprintf("change of match %s (%s, %s, %s)", clip(c.MatchID.String()), clip(c.Category), clip(c.Priority), clip(c.Field))
}

// Format implements [fmt.Formatter].
func (c Change) Format(f fmt.State, _ rune) { show(f, c) }

// LogValue implements [slog.LogValuer].
func (c Change) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String shows counts.
func (m MatchUpdates) String() string {
	return fmt.Sprintf("match updates (matches: %d, changes: %d, high priority: %t)", len(m.Matches), len(m.Changes), m.HighPriority())
}

// Format implements [fmt.Formatter].
func (m MatchUpdates) Format(f fmt.State, _ rune) { show(f, m) }

// LogValue implements [slog.LogValuer].
func (m MatchUpdates) LogValue() slog.Value { return slog.StringValue(m.String()) }

// String shows the status.
func (s ProcessingStatus) String() string { return "processing status (" + s.Status + ")" }

// Format implements [fmt.Formatter].
func (s ProcessingStatus) Format(f fmt.State, _ rune) { show(f, s) }

// LogValue implements [slog.LogValuer].
func (s ProcessingStatus) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String shows the type and the severity.
func (a SystemAlert) String() string {
	return "system alert (" + a.AlertType + ", " + a.Severity + ")"
}

// Format implements [fmt.Formatter].
func (a SystemAlert) Format(f fmt.State, _ rune) { show(f, a) }

// LogValue implements [slog.LogValuer].
func (a SystemAlert) LogValue() slog.Value { return slog.StringValue(a.String()) }

// String shows the head.
func (e Envelope) String() string { return e.Header.line() }

// Format implements [fmt.Formatter].
func (e Envelope) Format(f fmt.State, _ rune) { show(f, e) }

// LogValue implements [slog.LogValuer].
func (e Envelope) LogValue() slog.Value { return e.Header.logValue() }

// String shows the head.
func (m Message[P]) String() string { return m.Header.line() }

// Format implements [fmt.Formatter].
func (m Message[P]) Format(f fmt.State, _ rune) { show(f, m) }

// LogValue implements [slog.LogValuer].
func (m Message[P]) LogValue() slog.Value { return m.Header.logValue() }

// String shows the ID and the type.
func (o Outgoing) String() string { return fmt.Sprintf("%s %s", o.Type, o.ID) }

// Format implements [fmt.Formatter].
func (o Outgoing) Format(f fmt.State, _ rune) { show(f, o) }

// LogValue implements [slog.LogValuer].
func (o Outgoing) LogValue() slog.Value {
	return slog.GroupValue(slog.String("type", string(o.Type)), slog.String("message_id", o.ID))
}

func (h *Header) line() string { return fmt.Sprintf("%s %s from %s", h.Type, h.ID, h.Source) }

func (h *Header) logValue() slog.Value {
	return slog.GroupValue(slog.String("type", string(h.Type)), slog.String("message_id", h.ID),
		slog.String("source", h.Source), slog.String("channel", h.Channel))
}

// show writes what String says, whatever the verb.
func show(f fmt.State, v fmt.Stringer) { _, _ = f.Write([]byte(v.String())) }

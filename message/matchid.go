package message

import "strconv"

// MatchID is a match's ID as number and as text. FOGIS sends a number, other
// producers a numeric or any other string; it is written back as it came.
type MatchID struct {
	Int  int64  // zero when the text is no number
	Text string // "" when missing
	// Quoted tells that the ID is written as a JSON string.
	Quoted bool
}

// NewMatchID is the ID as FOGIS writes it, a number.
func NewMatchID(id int64) MatchID {
	return MatchID{Int: id, Text: strconv.FormatInt(id, 10)}
}

// String is the ID's text.
func (id MatchID) String() string {
	if id.Text == "" && id.Int != 0 {
		return strconv.FormatInt(id.Int, 10)
	}
	return id.Text
}

// readMatchID reads a number or a string; anything else is a missing ID.
func readMatchID(w *walker) MatchID {
	text := w.string()
	if text == "" {
		return MatchID{}
	}
	return MatchID{Int: parseInt(text), Text: text, Quoted: w.first() == '"'}
}

func (id MatchID) append(dst []byte) []byte {
	text := id.String()
	if id.Quoted || !isNumber(text) {
		return appendString(dst, text)
	}
	return append(dst, text...)
}

// MarshalJSON writes the ID as it came, null when it is missing.
func (id MatchID) MarshalJSON() ([]byte, error) {
	if id == (MatchID{}) {
		return []byte("null"), nil
	}
	return id.append(nil), nil
}

// UnmarshalJSON reads a number or a string; null is a missing ID.
func (id *MatchID) UnmarshalJSON(raw []byte) error {
	w := walker{raw: raw, text: string(raw), end: len(raw), escaped: true}
	*id = MatchID{}
	switch {
	case len(raw) > 0 && isText(raw):
		*id = readMatchID(&w)
	case string(raw) != "null":
		return wantError("matchid", "a number or a string", raw)
	}
	return nil
}

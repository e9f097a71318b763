package message

import "encoding/json"

// span is the JSON of one value inside a message.
type span = json.RawMessage

// walker steps through the members of an object or the elements of a list
// that was checked before, and checks nothing again. Strings that it gives
// are parts of text, one copy of the JSON.
type walker struct {
	raw  []byte
	text string
	i    int

	key        string // of the current member; "" in a list
	start, end int    // of the current value
	escaped    bool   // the current value is a string with escapes

	keyStart, keyEnd int
	keyEscaped       bool
}

// walk begins at a valid object or list. Of anything else next gives nothing.
func walk(raw []byte) walker {
	return walkText(raw, string(raw))
}

func walkText(raw []byte, text string) walker {
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return walker{}
	}
	return walker{raw: raw, text: text, i: 1}
}

// next goes to the next member or element.
func (w *walker) next() bool {
	if !w.step() {
		return false
	}
	if w.keyEscaped {
		w.key = unquoted(w.raw[w.keyStart:w.keyEnd])
	} else {
		w.key = w.text[w.keyStart:w.keyEnd]
	}
	return true
}

// step is next without setting key.
func (w *walker) step() bool {
	raw := w.raw
	i := w.i
	for i < len(raw) && (raw[i] <= ' ' || raw[i] == ',') {
		i++
	}
	if i >= len(raw) || raw[i] == '}' || raw[i] == ']' {
		return false
	}
	if raw[0] == '{' {
		end, escaped := endOfString(raw, i+1)
		if end > len(raw) {
			return false
		}
		w.keyStart, w.keyEnd, w.keyEscaped = i+1, end-1, escaped
		i = end
		for i < len(raw) && (raw[i] <= ' ' || raw[i] == ':') {
			i++
		}
		if i >= len(raw) {
			return false
		}
	}
	w.start = i
	w.end, w.escaped = endOfValue(raw, i)
	w.i = w.end
	return w.end <= len(raw)
}

// endOfValue returns the index after the valid value that begins at i, more
// than len(raw) if there is no end, and whether it is a string with escapes.
func endOfValue(raw []byte, i int) (int, bool) {
	switch raw[i] {
	case '"':
		return endOfString(raw, i+1)
	case '{', '[':
		depth := 0
		for i < len(raw) {
			switch raw[i] {
			case '"':
				i, _ = endOfString(raw, i+1)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1, false
				}
			}
			i++
		}
		return len(raw) + 1, false
	}
	for i < len(raw) {
		switch raw[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i, false
		}
		i++
	}
	return i, false
}

// first is the first byte of the current value, which tells its kind.
func (w *walker) first() byte { return w.raw[w.start] }

// value is the JSON of the current value.
func (w *walker) value() span { return w.raw[w.start:w.end:w.end] }

// present is value, but nil for null.
func (w *walker) present() span {
	if w.first() == 'n' {
		return nil
	}
	return w.value()
}

// inside steps through the current value.
func (w *walker) inside() walker {
	return walkText(w.raw[w.start:w.end], w.text[w.start:w.end])
}

// string is the text of a string or a number; of anything else "".
func (w *walker) string() string {
	switch c := w.first(); {
	case c == '"' && w.escaped:
		return unquoted(w.raw[w.start+1 : w.end-1])
	case c == '"':
		return w.text[w.start+1 : w.end-1]
	case c == '-' || c-'0' <= 9:
		return w.text[w.start:w.end]
	}
	return ""
}

// int is the integer that a number or a string holds, else 0.
func (w *walker) int() int64 { return parseInt(w.string()) }

// float is the number that a number or a string holds, else 0.
func (w *walker) float() float64 { return parseFloat(w.string()) }

// bool tells whether the value is true.
func (w *walker) bool() bool { return w.first() == 't' }

// textOf is the text of a valid string or number, else "".
func textOf(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		return unquoted(raw[1 : len(raw)-1])
	case c == '-' || c-'0' <= 9:
		return string(raw)
	}
	return ""
}

package message

import (
	"encoding/json"
	"strings"
)

// span is the JSON of one value inside a message.
type span = json.RawMessage

// walker steps through the members of an object or the elements of a list
// that was checked before, and checks nothing again (of other bytes step and
// value give nonsense, but they never panic). It looks at every byte once: a
// container is skipped only if nobody went inside it.
//
// Strings that it gives are parts of text, one copy of the JSON.
type walker struct {
	raw  []byte
	text string
	i    int // where to go on
	list bool

	key                string // of the current member; set by next
	keyStart, keyEnd   int
	start, end         int // of the current value; end is 0 while not known
	keyEscape, escaped bool
}

// walk begins at a valid object or list. Of anything else next gives nothing.
// The walker is declared before its loop: a loop variable whose address is
// taken is copied at every turn.
func walk(raw []byte) walker {
	return walkText(raw, string(raw))
}

// walkRaw is walk for the use of step: nothing is copied, and there is
// neither key nor string.
func walkRaw(raw []byte) walker { return walkText(raw, "") }

func walkText(raw []byte, text string) walker {
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return walker{}
	}
	return walker{raw: raw, text: text, i: 1, list: raw[0] == '['}
}

// rest counts the elements from the current one on, without moving.
func (w walker) rest() int {
	n := 1
	for w.step() {
		n++
	}
	return n
}

// next goes to the next member or element.
func (w *walker) next() bool {
	if !w.step() {
		return false
	}
	switch {
	case w.list:
	case w.keyEscape:
		w.key = unquoted(w.rawKey())
	default:
		w.key = w.text[w.keyStart:w.keyEnd]
	}
	return true
}

// step is next without setting key.
func (w *walker) step() bool {
	raw := w.raw
	i := w.i
	if w.end == 0 && w.start > 0 {
		i = endOfContainer(raw, w.start)
	}
	for i < len(raw) && (raw[i] <= ' ' || raw[i] == ',') {
		i++
	}
	if i >= len(raw) {
		return false
	}
	if raw[i] == '}' || raw[i] == ']' {
		w.i = i
		return false
	}
	if !w.list {
		end, escaped := endOfString(raw, i+1)
		w.keyStart, w.keyEnd, w.keyEscape = i+1, end-1, escaped
		i = end
		for i < len(raw) && (raw[i] <= ' ' || raw[i] == ':') {
			i++
		}
		if i >= len(raw) {
			return false
		}
	}
	w.start = i
	switch raw[i] {
	case '"':
		w.end, w.escaped = endOfString(raw, i+1)
	case '{', '[':
		w.end = 0
		return true
	default:
		w.end = endOfWord(raw, i)
	}
	w.i = w.end
	return w.end > i && w.end <= len(raw) // else it was never checked
}

// endOfContainer returns the index after the valid object or list at i, more
// than len(raw) if it has no end.
func endOfContainer(raw []byte, i int) int {
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
				return i + 1
			}
		}
		i++
	}
	return len(raw) + 1
}

// endOfWord returns the index after the number or literal at i.
func endOfWord(raw []byte, i int) int {
	for i < len(raw) {
		switch raw[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// rawKey is the key of the current member as it stands between its quotes.
func (w *walker) rawKey() []byte { return w.raw[w.keyStart:w.keyEnd] }

// rawName is key after step.
func (w *walker) rawName() string {
	if w.keyEscape {
		return unquoted(w.rawKey())
	}
	return string(w.rawKey())
}

// member is the current member, key and value, as it stands.
func (w *walker) member() []byte {
	w.value()
	return w.raw[w.keyStart-1 : w.end]
}

// first is the first byte of the current value, which tells its kind.
func (w *walker) first() byte { return w.raw[w.start] }

// value is the JSON of the current value.
func (w *walker) value() span {
	if w.end == 0 {
		w.end = endOfContainer(w.raw, w.start)
		w.i = w.end
	}
	if w.end > len(w.raw) {
		return w.raw[w.start:]
	}
	return w.raw[w.start:w.end:w.end]
}

// present is value, but nil for null.
func (w *walker) present() span {
	if w.first() == 'n' {
		return nil
	}
	return w.value()
}

// level is the container to which a walker returns.
type level struct{ list, entered bool }

// enter goes inside the current value, if it is an object or a list:
//
//	for outer := w.enter(); w.within(outer); {
//
// The loop must come to its end: only then w is back in the outer container.
func (w *walker) enter() level {
	switch w.first() {
	case '{', '[':
		outer := level{list: w.list, entered: true}
		w.list = w.first() == '['
		w.i = w.start + 1
		w.end = w.i
		return outer
	}
	return level{}
}

// within is next inside a container that was entered.
func (w *walker) within(outer level) bool {
	if !outer.entered {
		return false
	}
	if w.next() {
		return true
	}
	w.list = outer.list
	w.i++ // over the bracket
	w.end = w.i
	return false
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

// bool tells whether the value is true, as a word, a text or the number 1.
func (w *walker) bool() bool {
	switch w.first() {
	case 't':
		return true
	case '"', '1':
		text := w.string()
		return text == "1" || strings.EqualFold(text, "true")
	}
	return false
}

// textOf is the text of a valid string or number, else "". Of a string it is a
// part.
func textOf[T string | ~[]byte](raw T) string {
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

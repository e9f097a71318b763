package message

import (
	"bytes"
	"fmt"
)

// What can be wrong with the bytes themselves.
const (
	whyTruncated = "ends in the middle of a value: it was cut off on the way"
	whyTrailing  = "has more data after its end"
	whySyntax    = "is not JSON"
	whyControl   = "holds a control character inside a string: JSON wants it escaped"
	whyEscape    = "holds an unknown escape inside a string"
	whyNumber    = "holds a number that JSON does not allow"
	whyBare      = "holds NaN or Infinity, which is not JSON: write null"
	whyMany      = "has more than 50000 elements"
	whyDense     = "has too many elements for its size: send fewer in one message"
	whyLong      = "is longer than 256 bytes"
	whyUTF8      = "holds invalid UTF-8"
	whyYear      = "the year lies outside 1 to 9999"
	whyUTF16     = "is UTF-16: send UTF-8"
)

// scanner checks JSON in one pass. It is stricter than encoding/json on UTF-8
// and depth, and more lenient on NaN, Infinity and -Infinity, whose places it
// notes. A method that takes an index returns the index after what it read,
// or -1 after noting the fault.
type scanner struct {
	data []byte
	max  int   // deepest nesting
	bare []int // where NaN, Infinity and -Infinity stand
	seen int   // elements of lists that nobody keeps

	at  int // the fault: where
	why string
}

func (s *scanner) fail(at int, why string) int {
	s.at, s.why = at, why
	return -1
}

// err is the fault that a -1 stands for. Its path begins at the scanned value.
func (s *scanner) err() error {
	place := fmt.Sprintf(" (at byte %d)", s.at)
	if s.at >= len(s.data) {
		place = fmt.Sprintf(" (after byte %d)", len(s.data))
	}
	r := &refusal{path: pathAt(s.data, s.at), why: s.why + place}
	if s.why == whyMany {
		r.kind = ErrTooLarge
	}
	return r
}

// bareErr refuses the first NaN or Infinity.
func (s *scanner) bareErr() error {
	s.at, s.why = s.bare[0], whyBare
	return s.err()
}

// space returns the index of the first byte at or after i that is no white
// space; it may be len(data).
func (s *scanner) space(i int) int {
	for i < len(s.data) {
		switch s.data[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// value reads the value that begins at i. depth is the number of containers
// around it.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.data) {
		return s.fail(i, whyTruncated)
	}
	switch c := s.data[i]; c {
	case '"':
		return s.str(i + 1)
	case '{':
		return s.object(i, depth+1)
	case '[':
		return s.array(i, depth+1)
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	case 'N':
		return s.bareWord(i, "NaN")
	case 'I':
		return s.bareWord(i, "Infinity")
	case '-':
		if i+1 < len(s.data) && s.data[i+1] == 'I' {
			return s.bareWord(i, "-Infinity")
		}
		return s.number(i)
	default:
		if c-'0' <= 9 {
			return s.number(i)
		}
		return s.fail(i, whySyntax)
	}
}

func (s *scanner) word(i int, word string) int {
	if end := i + len(word); end <= len(s.data) && string(s.data[i:end]) == word {
		return end
	}
	if rest := s.data[i:]; len(rest) < len(word) && string(rest) == word[:len(rest)] {
		return s.fail(len(s.data), whyTruncated)
	}
	return s.fail(i, whySyntax)
}

func (s *scanner) bareWord(i int, word string) int {
	end := s.word(i, word)
	if end > 0 {
		s.bare = append(s.bare, i)
	}
	return end
}

// object reads the object whose brace is at i; depth counts it.
func (s *scanner) object(i, depth int) int {
	if depth > s.max {
		return s.fail(i, fmt.Sprintf("is nested deeper than %d levels", s.max))
	}
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == '}' {
		return i + 1
	}
	for {
		if _, i = s.colon(i); i < 0 {
			return -1
		}
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		i = s.space(i)
		if i >= len(s.data) {
			return s.fail(i, whyTruncated)
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case '}':
			return i + 1
		default:
			return s.fail(i, whySyntax)
		}
	}
}

// colon reads a key and the colon after it and returns the index after the key
// and where the value begins.
func (s *scanner) colon(i int) (end, at int) {
	if i >= len(s.data) {
		return -1, s.fail(i, whyTruncated)
	}
	if s.data[i] != '"' {
		return -1, s.fail(i, whySyntax)
	}
	if end = s.str(i + 1); end < 0 {
		return -1, -1
	}
	i = s.space(end)
	if i >= len(s.data) {
		return -1, s.fail(i, whyTruncated)
	}
	if s.data[i] != ':' {
		return -1, s.fail(i, whySyntax)
	}
	return end, s.space(i + 1)
}

// array reads the list whose bracket is at i; depth counts it.
func (s *scanner) array(i, depth int) int {
	if depth > s.max {
		return s.fail(i, fmt.Sprintf("is nested deeper than %d levels", s.max))
	}
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == ']' {
		return i + 1
	}
	for {
		s.seen++
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		i = s.space(i)
		if i >= len(s.data) {
			return s.fail(i, whyTruncated)
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case ']':
			return i + 1
		default:
			return s.fail(i, whySyntax)
		}
	}
}

// members reads the object at i as object does, and has visit read each
// value: it gets the key and where the value begins and returns its end.
func (s *scanner) members(i, depth int, visit func(key []byte, at int) int) int {
	if depth > s.max {
		return s.fail(i, fmt.Sprintf("is nested deeper than %d levels", s.max))
	}
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == '}' {
		return i + 1
	}
	for {
		begin := i
		end, at := s.colon(i)
		if at < 0 {
			return -1
		}
		if i = visit(unescaped(s.data[begin+1:end-1]), at); i < 0 {
			return -1
		}
		i = s.space(i)
		if i >= len(s.data) {
			return s.fail(i, whyTruncated)
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case '}':
			return i + 1
		default:
			return s.fail(i, whySyntax)
		}
	}
}

// unescaped is the text of a checked string without its quotes, a part of it
// where nothing is escaped.
func unescaped(inner []byte) []byte {
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return appendUnquoted(nil, inner)
}

// elements reads the list at i as array does and returns the span of each
// element.
func (s *scanner) elements(i, depth int) ([]span, int) {
	if depth > s.max {
		return nil, s.fail(i, fmt.Sprintf("is nested deeper than %d levels", s.max))
	}
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == ']' {
		return nil, i + 1
	}
	list := make([]span, 0, 16)
	for {
		begin := i
		if i = s.value(i, depth); i < 0 {
			return nil, -1
		}
		if len(list) == maxElements {
			return nil, s.fail(begin, whyMany)
		}
		list = append(list, s.data[begin:i:i])
		i = s.space(i)
		if i >= len(s.data) {
			return nil, s.fail(i, whyTruncated)
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case ']':
			return list, i + 1
		default:
			return nil, s.fail(i, whySyntax)
		}
	}
}

// trailing refuses anything but white space at and after i.
func (s *scanner) trailing(i int) int {
	if i = s.space(i); i < len(s.data) {
		return s.fail(i, whyTrailing)
	}
	return i
}

// mended returns a copy of the data with null for each bare word.
func (s *scanner) mended() []byte {
	out := make([]byte, 0, len(s.data)+len(s.bare))
	from := 0
	for _, at := range s.bare {
		out = append(out, s.data[from:at]...)
		out = append(out, "null"...)
		switch s.data[at] {
		case 'N':
			from = at + len("NaN")
		case 'I':
			from = at + len("Infinity")
		default:
			from = at + len("-Infinity")
		}
	}
	return append(out, s.data[from:]...)
}

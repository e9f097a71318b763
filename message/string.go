package message

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str checks the string whose first byte is at i, after the quote, and
// returns the index after the closing quote.
func (s *scanner) str(i int) int {
	data := s.data
	for {
		// Eight bytes at a time while none of them is a quote, a backslash, a
		// control character or part of a longer character. The lowest bit set
		// is exact; higher ones may come from its borrow.
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			m := (w | (w - ones*0x20) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(data) {
			return s.fail(i, whyTruncated)
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = s.escape(i); i < 0 {
				return -1
			}
		case c < 0x20:
			return s.fail(i, whyControl)
		case c < utf8.RuneSelf:
			i++
		case c >= 0xc2 && c <= 0xdf && i+1 < len(data) && data[i+1]&0xc0 == 0x80:
			i += 2 // å, ä, ö
		default:
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n <= 1 {
				return s.fail(i, whyUTF8)
			}
			i += n
		}
	}
}

// escape checks the escape whose backslash is at i.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.data) {
		return s.fail(i+1, whyTruncated)
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(s.data) {
				return s.fail(j, whyTruncated)
			}
			if hexDigit(s.data[j]) < 0 {
				return s.fail(i, whyEscape)
			}
		}
		return i + 6
	}
	return s.fail(i, whyEscape)
}

// endOfString returns the index after the closing quote of the string whose
// first byte is at i, and whether it holds an escape. The string must be
// valid; without a closing quote the result is len(data)+1.
func endOfString(data []byte, i int) (end int, escaped bool) {
	for {
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			q, b := w^ones*'"', w^ones*'\\'
			m := ((q-ones) & ^q | (b-ones) & ^b) & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(data) {
			return len(data) + 1, escaped
		}
		switch data[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i += 2
		default:
			i++
		}
	}
}

// unquoted returns the text of a valid JSON string without its quotes.
func unquoted[T string | ~[]byte](inner T) string {
	for i := range len(inner) {
		if inner[i] == '\\' {
			return string(appendUnquoted(nil, []byte(inner)))
		}
	}
	return string(inner)
}

// appendUnquoted resolves the escapes of a valid JSON string. Half of a
// surrogate pair becomes U+FFFD, as in encoding/json.
func appendUnquoted(dst, inner []byte) []byte {
	for i := 0; i < len(inner); {
		c := inner[i]
		if c != '\\' || i+1 >= len(inner) {
			dst = append(dst, c)
			i++
			continue
		}
		c = inner[i+1]
		i += 2
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hexRune(inner, i)
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+1 < len(inner) && inner[i] == '\\' && inner[i+1] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(inner, i+2))
				}
				if pair != utf8.RuneError {
					i += 6
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		default: // " \ /
			dst = append(dst, c)
		}
	}
	return dst
}

// hexRune reads four hexadecimal digits at i.
func hexRune(b []byte, i int) rune {
	var r rune
	for j := i; j < i+4; j++ {
		if j >= len(b) {
			return utf8.RuneError
		}
		r = r<<4 | rune(hexDigit(b[j]))
	}
	return r
}

func hexDigit(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// appendString writes text as JSON. Only what JSON demands is escaped: the
// Python services read å, & and < as they are. text must be valid UTF-8.
func appendString(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

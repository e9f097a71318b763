package message

import (
	"math"
	"strconv"
	"strings"
)

// number checks the number that begins at i.
func (s *scanner) number(i int) int {
	end, ok := endOfNumber(s.data, i)
	switch {
	case ok:
		return end
	case end >= len(s.data):
		return s.fail(end, whyTruncated)
	}
	return s.fail(i, whyNumber)
}

// endOfNumber returns the index after the JSON number at i, or where it fails
// to be one.
func endOfNumber[T string | []byte](data T, i int) (end int, ok bool) {
	if data[i] == '-' {
		i++
	}
	switch {
	case i >= len(data):
		return i, false
	case data[i] == '0':
		i++
	case data[i]-'1' <= 8:
		i = digits(data, i)
	default:
		return i, false
	}
	if i < len(data) && data[i] == '.' {
		from := i + 1
		if i = digits(data, from); i == from {
			return i, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		from := i
		if i = digits(data, from); i == from {
			return i, false
		}
	}
	return i, true
}

// digits returns the index of the first byte at or after i that is no digit.
func digits[T string | []byte](data T, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// isNumber tells whether text is a JSON number.
func isNumber(text string) bool {
	if text == "" || text[0] != '-' && text[0]-'0' > 9 {
		return false
	}
	end, ok := endOfNumber(text, 0)
	return ok && end == len(text)
}

// parseInt reads an integer as producers write it: 5, "5", 5.0. Anything
// else is 0.
func parseInt(text string) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if !isNumber(text) || !strings.ContainsAny(text, ".eE") {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0
	}
	return int64(f)
}

// parseFloat reads a number, quoted or not; anything else is 0.
func parseFloat(text string) float64 {
	if !isNumber(text) {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return f
}

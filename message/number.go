package message

import (
	"math"
	"strconv"
	"strings"
)

// number checks the number that begins at i.
func (s *scanner) number(i int) int {
	data, begin := s.data, i
	if data[i] == '-' {
		i++
	}
	switch {
	case i >= len(data):
		return s.fail(i, whyTruncated)
	case data[i] == '0':
		i++
	case data[i]-'1' <= 8:
		i = digits(data, i)
	default:
		return s.fail(begin, whyNumber)
	}
	if i < len(data) && data[i] == '.' {
		from := i + 1
		if i = digits(data, from); i == from {
			return s.failNumber(i, begin)
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		from := i
		if i = digits(data, from); i == from {
			return s.failNumber(i, begin)
		}
	}
	return i
}

func (s *scanner) failNumber(i, begin int) int {
	if i >= len(s.data) {
		return s.fail(i, whyTruncated)
	}
	return s.fail(begin, whyNumber)
}

// digits returns the index of the first byte at or after i that is no digit.
func digits(data []byte, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// isNumber tells whether text is a JSON number, of a length that anything could
// mean.
func isNumber(text string) bool {
	if text == "" || len(text) > 64 || text[0] != '-' && text[0]-'0' > 9 {
		return false
	}
	var room [64]byte
	s := scanner{data: append(room[:0], text...)}
	return s.number(0) == len(text)
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

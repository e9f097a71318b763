package faultnet

import (
	"bytes"
	"strconv"
)

// messageFilter takes the pub/sub messages out of a stream of RESP values. The
// zero value begins at the start of a value.
type messageFilter struct {
	rest []byte // a value that is not complete yet
}

// filter returns the complete values of what was held back and chunk, but for
// the messages; the rest waits for the next chunk.
func (m *messageFilter) filter(chunk []byte) []byte {
	in := append(m.rest, chunk...)
	var out []byte
	for {
		n := valueLen(in, 0)
		if n == 0 {
			break
		}
		if !isMessage(in[:n]) {
			out = append(out, in[:n]...)
		}
		in = in[n:]
	}
	m.rest = bytes.Clone(in)
	return out
}

func isMessage(value []byte) bool {
	if value[0] != '*' && value[0] != '>' {
		return false
	}
	_, kind, _ := bytes.Cut(value, []byte("\r\n"))
	for _, name := range []string{"$7\r\nmessage\r\n", "$8\r\npmessage\r\n", "$8\r\nsmessage\r\n"} {
		if bytes.HasPrefix(kind, []byte(name)) {
			return true
		}
	}
	return false
}

// valueLen is the length of the RESP value at the start of b, or zero if it is
// not complete. What is no RESP counts as one value to the end of its line.
func valueLen(b []byte, depth int) int {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0
	}
	pos := end + 2
	count, err := strconv.Atoi(string(b[min(1, end):end]))
	if err != nil || count < 0 || depth > 16 {
		return pos
	}
	switch b[0] {
	case '$', '=', '!':
		if len(b) < pos+count+2 {
			return 0
		}
		return pos + count + 2
	case '*', '>', '~', '%', '|':
		if b[0] == '%' || b[0] == '|' {
			count *= 2
		}
		if b[0] == '|' {
			count++ // attributes stand before the value they belong to
		}
		for range count {
			n := valueLen(b[pos:], depth+1)
			if n == 0 {
				return 0
			}
			pos += n
		}
	}
	return pos
}

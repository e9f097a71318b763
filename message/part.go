package message

import "encoding/json"

// AppendPart appends the envelope of one part of e to dst: "part" says which,
// the matches at the top and in the payload are the given ones, and all else
// stays byte for byte, but for the changes, which are in the first part alone:
// in each of many parts they would cost the square of the matches. p.N counts from 1 to p.Of. The matches must come from
// e.RawMatches, for they are not checked again; there may be none.
//
// The error wraps [ErrInvalid]: e was not made by Decode, carries no match
// updates, or p is no part.
func (e *Envelope) AppendPart(dst []byte, p Part, matches []json.RawMessage) ([]byte, error) {
	switch {
	case e.data == nil:
		return dst, refuse("", "was not decoded, so it cannot be split")
	case e.Type != TypeMatchUpdates:
		return dst, refuse("type", "only match_updates can be split")
	case p.N < 1 || p.Of < p.N:
		return dst, refusef("part", "want n from 1 to of, got %d of %d", p.N, p.Of)
	}
	out := append(dst, '{')
	var payload span
	w := walkRaw(e.data)
	for w.step() {
		switch w.rawName() {
		case "part", "matches":
			continue
		case "payload":
			payload = w.present()
			continue
		case "data":
			if e.found.event {
				continue // its matches
			}
		}
		out = append(append(out, w.member()...), ',')
	}
	out = appendPart(append(out, `"part":`...), p)
	out = appendList(append(out, `,"matches":`...), matches)
	if payload != nil {
		out = appendList(append(out, `,"payload":{"matches":`...), matches)
		w := walkRaw(payload)
		for w.step() {
			switch name := w.rawName(); {
			case name == "matches":
			case name == "detailed_changes" && p.N > 1:
				out = append(out, `,"detailed_changes":[]`...)
			default:
				out = append(append(out, ','), w.member()...)
			}
		}
		out = append(out, '}')
	}
	return append(out, '}'), nil
}

func appendList(dst []byte, list []json.RawMessage) []byte {
	dst = append(dst, '[')
	for i, raw := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, raw...)
	}
	return append(dst, ']')
}

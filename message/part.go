package message

import "encoding/json"

// AppendPart appends the envelope of one part of e to dst: "part" says which,
// the matches at the top and in the payload are the given ones, and all else
// stays byte for byte. p.N counts from 1 to p.Of. The matches must come from
// e.RawMatches, they are not checked again; a part may be empty.
//
// The error wraps [ErrInvalid]: e was not made by Decode, carries no match
// updates, or p is no part.
func (e *Envelope) AppendPart(dst []byte, p Part, matches []json.RawMessage) ([]byte, error) {
	if e.data == nil {
		return dst, refuse("", "the envelope was not decoded, so it cannot be split")
	}
	if e.Type != TypeMatchUpdates {
		return dst, refuse("type", "only match_updates can be split")
	}
	if p.N < 1 || p.Of < p.N {
		return dst, refusef("part", "want n from 1 to of, got %d of %d", p.N, p.Of)
	}
	out := append(dst, '{')
	payload := span(nil)
	for w := walk(e.whole()); w.next(); {
		switch w.key {
		case "part", "matches":
			continue
		case "payload":
			payload = w.present()
			continue
		case "data":
			if e.found.event {
				continue
			}
		}
		out = append(out, w.member()...)
		out = append(out, ',')
	}
	out = appendPart(append(out, `"part":`...), p)
	out = appendList(append(out, `,"matches":`...), matches)
	if payload != nil {
		out = append(out, `,"payload":{`...)
		out = appendList(append(out, `"matches":`...), matches)
		for w := walk(payload); w.next(); {
			if w.key != "matches" {
				out = append(append(out, ','), w.member()...)
			}
		}
		out = append(out, '}')
	}
	return append(out, '}'), nil
}

// member is the current member, key and value, as it stands.
func (w *walker) member() []byte { return w.raw[w.keyStart-1 : w.end] }

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

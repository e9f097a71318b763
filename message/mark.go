package message

import "bytes"

// The marks of an envelope stand in front of all else, so that one can be set
// and taken away without reading the rest. A message has one of them at most.
const (
	streamMark = `{"stream":true,`
	repeatMark = `{"repeat":true,`
	afterMark  = `{"after":"` // and what may stand in an ID of a stream, and `",`
)

// AfterUnknown in Header.After: the publisher began while the stream was out of
// reach, and does not know what an earlier process has put there.
const AfterUnknown = "unknown"

// AfterOwing ends Header.After when older messages of the publisher are still to
// come into the stream: a receiver that handles this one first handles it again
// behind them.
const AfterOwing = "+"

// WithStream returns the message as it is published when the channel's stream
// has it too: see Header.Stream. The body is a copy unless it was so already.
// Of a body that [AppendEncode] did not make nothing is promised, here and for
// the others.
func (m Outgoing) WithStream() Outgoing { return m.marked(streamMark) }

// WithoutStream returns the message without a mark: as a stranger to the
// stream.
func (m Outgoing) WithoutStream() Outgoing { return m.marked("{") }

// WithRepeat returns the message as a repeat: see Header.Repeat.
func (m Outgoing) WithRepeat() Outgoing { return m.marked(repeatMark) }

// WithAfter returns the message as it is sent another way, behind the entry of
// its channel's stream that has this ID: see Header.After.
func (m Outgoing) WithAfter(streamID string) Outgoing { return m.marked(afterMark + streamID + `",`) }

func (m Outgoing) marked(mark string) Outgoing {
	was := markOf(m.Body)
	if was == mark || len(m.Body) < len(was) {
		return m
	}
	rest := m.Body[len(was):]
	m.Body = append(append(make([]byte, 0, len(mark)+len(rest)), mark...), rest...)
	return m
}

// markOf is what stands in front of an envelope.
func markOf(body []byte) string {
	for _, known := range []string{streamMark, repeatMark} {
		if bytes.HasPrefix(body, []byte(known)) {
			return known
		}
	}
	if id, found := bytes.CutPrefix(body, []byte(afterMark)); found {
		if end := bytes.IndexByte(id, ','); end >= 0 {
			return string(body[:len(afterMark)+end+1])
		}
	}
	return "{"
}

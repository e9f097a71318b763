package message

import "bytes"

// The marks of an envelope stand in front of all else, so that one can be set
// and taken away without reading the rest. A message has one of them at most.
const (
	streamMark = `{"stream":true,`
	repeatMark = `{"repeat":true,`
)

// WithStream returns the message as it is published when the channel's stream
// has it too: see Header.Stream. The body is a copy unless it was so already.
// Of a body that [AppendEncode] did not make nothing is promised, here and for
// the other two.
func (m Outgoing) WithStream() Outgoing { return m.marked(streamMark) }

// WithoutStream returns the message without a mark: as a stranger to the
// stream.
func (m Outgoing) WithoutStream() Outgoing { return m.marked("{") }

// WithRepeat returns the message as a repeat: see Header.Repeat.
func (m Outgoing) WithRepeat() Outgoing { return m.marked(repeatMark) }

func (m Outgoing) marked(mark string) Outgoing {
	was := "{"
	for _, known := range []string{streamMark, repeatMark} {
		if bytes.HasPrefix(m.Body, []byte(known)) {
			was = known
		}
	}
	if was == mark || len(m.Body) < len(was) {
		return m
	}
	rest := m.Body[len(was):]
	m.Body = append(append(make([]byte, 0, len(mark)+len(rest)), mark...), rest...)
	return m
}

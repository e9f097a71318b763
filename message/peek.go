package message

import "bytes"

// PeekType finds the type of a message without checking the rest. It returns
// "" when it cannot tell cheaply; then decode.
func PeekType(data []byte) Type {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' {
		return ""
	}
	w := walkRaw(data)
	for w.step() {
		value := w.value()
		switch string(w.rawKey()) {
		case "payload", "matches", "data":
			return "" // large: the type would stand before it
		case "type":
			if value[0] == '"' && len(value) > 2 {
				return typeOf(value)
			}
			return ""
		case "event_type":
			if value[0] == '"' && len(value) > 2 {
				return eventType(textOf(value))
			}
			return ""
		}
	}
	return ""
}

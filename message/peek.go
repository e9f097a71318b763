package message

import "bytes"

// PeekType finds the type of a message without checking the rest. It returns
// "" when it cannot tell cheaply; then decode. Of a message that [Decode] takes
// it never gives another type than Decode does.
func PeekType(data []byte) Type {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' {
		return ""
	}
	var event span
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
			event = value // which counts only if no type follows
		}
	}
	return eventType(textOf(event))
}

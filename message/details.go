package message

import (
	"encoding/json"
	"slices"
	"strings"
)

// details is what a status or an alert says, in each of its forms: a payload
// with a details object, one with counters beside it, a flat message without
// payload, an E7 event.
type details struct {
	status, alertType, severity, message span
	event                                string // what follows the dot of event_type
	all                                  map[string]json.RawMessage
}

func findDetails(payload span) (details, error) {
	var f details
	view := roomFor(len(payload))
	var inner span
	var innerText string
	put := func(key string, value span) {
		if f.all == nil {
			f.all = make(map[string]json.RawMessage)
		}
		if view.take(1, entryBytes) {
			f.all[key] = value
		}
	}
	metadata := span(nil)
	w := walk(payload)
	for w.next() {
		switch w.key {
		case "status":
			f.status = w.present()
		case "alert_type":
			f.alertType = w.present()
		case "severity":
			f.severity = w.present()
		case "message":
			f.message = w.present()
		case "event_type":
			_, f.event, _ = strings.Cut(w.string(), ".")
		case "details", "data":
			inner = w.present()
			innerText = w.text[w.start : w.start+len(inner)]
		case "message_id", "type", "timestamp", "source", "version", "schema_version":
		case "metadata":
			metadata = w.value()
		default:
			put(w.key, w.value())
		}
	}
	if metadata != nil && f.event == "" { // an event's is about its delivery
		put("metadata", metadata)
	}
	switch {
	case inner == nil:
	case inner[0] == '{':
		w := walkText(inner, innerText)
		for w.next() {
			put(w.key, w.value())
		}
	default:
		put("details", inner)
	}
	return f, view.err("payload.details")
}

// appendValues writes an object with its keys in order.
func appendValues(dst []byte, values map[string]json.RawMessage) []byte {
	dst = append(dst, '{')
	var room [16]string
	first := true
	for _, key := range sortedKeys(room[:0], values) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendRaw(dst, values[key])
	}
	return append(dst, '}')
}

func sortedKeys(keys []string, values map[string]json.RawMessage) []string {
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

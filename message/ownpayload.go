package message

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// marshal encodes a service's own payload.
func marshal(p Payload) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		// The error of encoding/json may quote the value.
		return nil, refusef("payload", "encoding/json cannot encode %T", p)
	}
	payload := bytes.TrimSpace(b.Bytes())
	if err := checkObject(payload, 1); err != nil {
		return nil, within("payload", err)
	}
	// encoding/json writes this for bytes that are no UTF-8, but a JSON value in
	// the payload may hold it too.
	if bytes.Contains(payload, []byte(`\ufffd`)) && hasInvalidText(reflect.ValueOf(p), 0) {
		return nil, refuse("payload", whyUTF8)
	}
	return payload, nil
}

// hasInvalidText tells whether a text inside v is no UTF-8.
func hasInvalidText(v reflect.Value, depth int) bool {
	if depth > DefaultMaxDepth { // encoding/json has refused a circle
		return false
	}
	if v.IsValid() && v.CanInterface() {
		if m, ok := v.Interface().(encoding.TextMarshaler); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
			text, err := m.MarshalText()
			return err == nil && !utf8.Valid(text)
		}
	}
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && hasInvalidText(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if hasInvalidText(v.Field(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if hasInvalidText(entries.Key(), depth+1) || hasInvalidText(entries.Value(), depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false // JSON, which was checked, or written as base64
		}
		for i := range v.Len() {
			if hasInvalidText(v.Index(i), depth+1) {
				return true
			}
		}
	}
	return false
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/PitchConnect/fogispubsub/message"
)

// update is what a file of matches says. id and source are set for a whole
// envelope only: publishing it again is the same message.
type update struct {
	payload message.MatchUpdates
	id      string
	source  string
}

func readUpdate(data []byte) (*update, error) {
	data, err := matchList(data)
	if err != nil {
		return nil, err
	}
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	array := len(trimmed) > 0 && trimmed[0] == '['
	if array { // as the barest envelope
		data = slices.Concat([]byte(`{"matches":`), data, []byte(`}`))
	}
	envelope, err := message.Decoder{MaxBytes: -1}.Decode(data)
	if err != nil {
		return nil, err
	}
	if envelope.Sanitized {
		return nil, fmt.Errorf("%w: NaN or Infinity, which JSON does not have; write null", message.ErrInvalid)
	}
	if envelope.Type != message.TypeMatchUpdates {
		return nil, fmt.Errorf("%w: type: want match_updates or a JSON array of matches", message.ErrInvalid)
	}
	m, err := message.As[message.MatchUpdates](envelope)
	if err != nil {
		return nil, err
	}
	if array {
		return &update{payload: message.MatchUpdates{Matches: m.Payload.Matches}}, nil
	}
	u := &update{payload: m.Payload, source: m.Source}
	if !m.IDGenerated {
		u.id = m.ID
	}
	return u, nil
}

// matchList is the array of matches in an answer of FOGIS: {"matchlista":[…]}, or
// that as the value of d, an object or a text. Anything else stays as it is.
func matchList(data []byte) ([]byte, error) {
	var answer map[string]json.RawMessage
	if json.Unmarshal(data, &answer) != nil {
		return data, nil // which Decode names
	}
	for _, key := range []string{"type", "event_type", "payload", "matches"} {
		if answer[key] != nil {
			return data, nil
		}
	}
	if d := answer["d"]; d != nil {
		var text string
		if json.Unmarshal(d, &text) == nil {
			d = json.RawMessage(text)
		}
		answer = nil
		if json.Unmarshal(d, &answer) != nil || answer["matchlista"] == nil {
			return nil, fmt.Errorf("%w: d: want the answer of FOGIS, {\"matchlista\":[...]}", message.ErrInvalid)
		}
	}
	list := bytes.TrimSpace(answer["matchlista"])
	switch {
	case list == nil:
		return data, nil
	case list[0] != '[':
		return nil, fmt.Errorf("%w: matchlista: want a list", message.ErrInvalid)
	}
	return list, nil
}

// readChanges takes the changes of a file of their own, in any form that an
// envelope may have them. They replace those of an envelope.
func (u *update) readChanges(data []byte) error {
	var file struct {
		Summary json.RawMessage `json:"summary"`
		Changes json.RawMessage `json:"detailed_changes"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil || file.Summary == nil && file.Changes == nil {
		return fmt.Errorf("%w: want {\"summary\":{...},\"detailed_changes\":[...]} and nothing else", message.ErrInvalid)
	}
	type object map[string]any
	envelope, err := json.Marshal(object{
		"type": message.TypeMatchUpdates,
		"payload": object{
			"matches":          []any{},
			"detailed_changes": file.Changes,
			"metadata":         object{"change_summary": file.Summary},
		},
	})
	if err != nil {
		return err
	}
	read, err := readUpdate(envelope)
	if err != nil {
		return err
	}
	u.payload.Changes, u.payload.Summary = read.payload.Changes, read.payload.Summary
	return nil
}

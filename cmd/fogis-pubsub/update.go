package main

import (
	"bytes"
	"encoding/json"
	"fmt"

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
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		matches, err := message.ParseMatches(data)
		if err != nil {
			return nil, err
		}
		return &update{payload: message.MatchUpdates{Matches: matches}}, nil
	}
	envelope, err := message.Decode(data)
	if err != nil {
		return nil, err
	}
	if envelope.Type != message.TypeMatchUpdates {
		return nil, fmt.Errorf("%w: type: want match_updates or a JSON array of matches", message.ErrInvalid)
	}
	m, err := message.As[message.MatchUpdates](envelope)
	if err != nil {
		return nil, err
	}
	u := &update{payload: m.Payload, source: m.Source}
	if !m.IDGenerated {
		u.id = m.ID
	}
	return u, nil
}

// readChanges takes the changes of a file of their own, in any form that an
// envelope may have them. They replace those of an envelope.
func (u *update) readChanges(data []byte) error {
	var file struct {
		Summary json.RawMessage `json:"summary"`
		Changes json.RawMessage `json:"detailed_changes"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%w: want {\"summary\":{...},\"detailed_changes\":[...]}", message.ErrInvalid)
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

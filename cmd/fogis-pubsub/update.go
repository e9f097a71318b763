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

// readChanges takes the changes of a file of their own. They replace those of
// an envelope.
func (u *update) readChanges(data []byte) error {
	var file struct {
		Summary struct {
			New       int `json:"new_matches"`
			Updated   int `json:"updated_matches"`
			Cancelled int `json:"cancelled_matches"`
			Removed   int `json:"removed_matches"`
			Total     int `json:"total_changes"`
		} `json:"summary"`
		Changes json.RawMessage `json:"detailed_changes"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%w: want {\"summary\":{...},\"detailed_changes\":[...]}", message.ErrInvalid)
	}
	changes, err := message.ParseChanges(file.Changes)
	if err != nil {
		return fmt.Errorf("detailed_changes: %w", err)
	}
	u.payload.Changes = changes
	u.payload.Summary = message.ChangeSummary{
		New:       file.Summary.New,
		Updated:   file.Summary.Updated,
		Cancelled: file.Summary.Cancelled,
		Removed:   file.Summary.Removed,
		Total:     file.Summary.Total,
	}
	return nil
}

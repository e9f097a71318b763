package httpfallback

import (
	"bytes"
	"encoding/json"

	"github.com/PitchConnect/fogispubsub/message"
)

// read decodes a body, or tells what is wrong with it. Unlike on a channel,
// match updates without a list of matches are refused: who sends by HTTP can
// be told.
func (h *handler) read(data []byte) (*message.Envelope, string) {
	e, err := h.decoder.Decode(data)
	switch {
	case err != nil:
		if fault := missing(data); fault != "" {
			return nil, fault
		}
		return nil, err.Error()
	case e.Type == message.TypeMatchUpdates && e.MatchCount() == 0:
		if missing(e.Payload) != "" {
			return nil, missingMatches
		}
	}
	return e, ""
}

// missing tells what data lacks to be an object with a list of matches. It
// returns "" if it has one, and for an envelope, which has them elsewhere.
func missing(data []byte) string {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		if json.Valid(data) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("[{")) {
			return missingMatches
		}
		return missingJSON
	}
	if len(keys) == 0 {
		return missingJSON
	}
	_, payload := keys["payload"]
	if payload || bytes.HasPrefix(keys["matches"], []byte("[")) {
		return ""
	}
	return missingMatches
}

package httpfallback

import (
	"bytes"
	"encoding/json"
	"io"

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
// returns "" if it has one, and for an envelope, which has them elsewhere. What
// it keeps of data does not grow with the number of its keys.
func missing(data []byte) string {
	var keys struct {
		Payload json.RawMessage `json:"payload"`
		Matches json.RawMessage `json:"matches"`
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		if json.Valid(data) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("[{")) {
			return missingMatches
		}
		return missingJSON
	}
	inner, object := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	if !object || bytes.HasPrefix(bytes.TrimSpace(inner), []byte("}")) {
		return missingJSON
	}
	if keys.Payload != nil || bytes.HasPrefix(keys.Matches, []byte("[")) {
		return ""
	}
	return missingMatches
}

// readAll is io.ReadAll for a body whose length is known, -1 if it is not. One
// that is known costs its size, not twice as much while it grows.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(length) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

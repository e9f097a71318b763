package httpfallback

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// The texts of the Python calendar.
const (
	missingJSON    = "Missing JSON data in request"
	missingMatches = "Missing 'matches' in request data"
	syncFailed     = "Calendar synchronization failed"
	syncCompleted  = "Manual sync completed"
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

func succeed(w http.ResponseWriter, matches int) {
	write(w, http.StatusOK, reply{Success: true, Matches: &matches, Message: syncCompleted})
}

func fail(w http.ResponseWriter, matches int) {
	write(w, http.StatusInternalServerError, reply{Matches: &matches, Error: syncFailed})
}

func refuse(w http.ResponseWriter, status int, fault string) {
	write(w, status, reply{Error: fault})
}

// reply is the body of an answer.
type reply struct {
	Success   bool   `json:"success"`
	Matches   *int   `json:"matches_processed,omitempty"`
	Timestamp string `json:"timestamp"`
	Message   string `json:"message,omitempty"`
	Error     string `json:"error,omitempty"`
}

func write(w http.ResponseWriter, status int, r reply) {
	r.Timestamp = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(r) // fails only when the sender has gone
}

package httpfallback

import (
	"encoding/json"
	"net/http"
	"time"
)

// The texts of the Python calendar, which senders may look for.
const (
	missingJSON    = "Missing JSON data in request"
	missingMatches = "Missing 'matches' in request data"
	syncFailed     = "Calendar synchronization failed"
	syncCompleted  = "Manual sync completed"
)

// reply is the body of the handler's answers.
type reply struct {
	Success   bool   `json:"success"`
	Matches   *int   `json:"matches_processed,omitempty"`
	Timestamp string `json:"timestamp"`
	Message   string `json:"message,omitempty"`
	Error     string `json:"error,omitempty"`
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

func write(w http.ResponseWriter, status int, r reply) {
	r.Timestamp = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(r) // fails only when the sender has gone
}

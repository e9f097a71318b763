package peers

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// Reading is what the calendar did with one message.
type Reading struct {
	Channel string
	ID      string
	Keys    []string // at the top of the message, in order
	Route   string   // v2.0, v1.0, unknown, or none for what is no match update
	Calls   int      // of the application's callback
	// Result is the callback's; nil when it was not called.
	Result  *bool
	Counted string // processed or errors
	Why     string // what went wrong, as far as anything did

	// What the callback got.
	Changes      json.RawMessage
	HighPriority bool `json:"high_priority"`
	Matches      []MatchReading

	// Stopped names the exception that ended the subscription.
	Stopped string
}

// MatchReading is what the calendar made of one match.
type MatchReading struct {
	ID       string
	Accepted bool
	Why      string // the missing or wrong field, if it was not accepted
	Values   string // the match after a parse, with sorted keys

	// What is written when the match is accepted.
	Hash      string // of what decides whether an event is written again
	Event     string // inserted, updated or unchanged
	Title     string
	Place     string
	Begin     string
	Phonebook bool // every official has what the phone book needs
}

// Calendar is a program that subscribes as the Python calendar does.
type Calendar struct{ p *process }

// StartCalendar runs the program on the Redis at url and returns when Redis
// has confirmed all its channels. It skips or fails the test without Python
// and redis-py, as [realredis.Require] says.
func StartCalendar(tb testing.TB, url string) *Calendar {
	tb.Helper()
	p := start(tb, realredis.RequirePython(tb, "redis"), script(tb, "calendar.py"), url)
	var ready struct{ Ready []string }
	p.next(&ready)
	if len(ready.Ready) != 5 {
		tb.Fatalf("peers: the calendar subscribed to %q, want five channels", ready.Ready)
	}
	return &Calendar{p}
}

// Next waits for the calendar's next message and returns what it did with it.
func (c *Calendar) Next() Reading {
	c.p.tb.Helper()
	var r Reading
	c.p.next(&r)
	return r
}

// ReadMatches returns what a calendar that has no events yet makes of a JSON
// list of matches, without a message around it.
func ReadMatches(tb testing.TB, list []byte) []MatchReading {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), realredis.RequirePython(tb), "-B", script(tb, "calendar.py"), "--read")
	cmd.Stdin = bytes.NewReader(list)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("peers: %v\n%s", err, &stderr)
	}
	var readings []MatchReading
	for line := range bytes.Lines(out) {
		var r MatchReading
		if err := json.Unmarshal(line, &r); err != nil {
			tb.Fatalf("peers: %v", err)
		}
		readings = append(readings, r)
	}
	return readings
}

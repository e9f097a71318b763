package httpadmin

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// How much a [History] keeps of each kind.
const (
	historyEvents = 50
	minutes       = 60
)

// History is the last statuses, alerts and gaps, and the number of messages of
// each of the last sixty minutes. Its zero value is ready to use, by several
// goroutines.
type History struct {
	mu       sync.Mutex
	messages []Event
	gaps     []GapEvent
	perMin   []uint64 // the newest last
	received uint64   // at the newest one
}

// Event is a status or an alert, without its text, which may hold anything.
type Event struct {
	Time     time.Time `json:"timestamp"`
	Type     string    `json:"type"`
	Source   string    `json:"source"`
	Status   string    `json:"status,omitempty"`
	Cycle    int64     `json:"cycle_number,omitempty"`
	Matches  int64     `json:"matches_processed,omitempty"`
	Alert    string    `json:"alert_type,omitempty"`
	Severity string    `json:"severity,omitempty"`
}

// GapEvent is an interval in which messages may have been lost.
type GapEvent struct {
	Session string    `json:"session"`
	Cause   string    `json:"cause"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to"`
}

// The statuses and severities that services write.
var (
	statuses   = []string{"", "started", "running", "processing", "completed", "no_changes", "failed", "error", "stopped"}
	severities = []string{"", "debug", "info", "low", "medium", "warning", "high", "error", "critical"}
)

// Message adds a status or an alert. A status or severity is shown if it is one
// of those that services write, an alert's type and a source if they have the
// form of an identifier.
func (h *History) Message(e Event) {
	e.Source, e.Alert = plainName(e.Source), plainName(e.Alert)
	e.Status, e.Severity = oneOf(statuses, e.Status), oneOf(severities, e.Severity)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = keepLast(h.messages, e, historyEvents)
}

// Gap adds a gap.
func (h *History) Gap(g GapEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gaps = keepLast(h.gaps, g, historyEvents)
}

// Run counts once a minute how many messages came, until ctx ends.
func (h *History) Run(ctx context.Context, received func() uint64) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n := received()
			h.mu.Lock()
			h.perMin = keepLast(h.perMin, n-min(n, h.received), minutes)
			h.received = n
			h.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// historyView is what a History holds, newest first; minutes oldest first.
type historyView struct {
	Messages []Event    `json:"messages"`
	Gaps     []GapEvent `json:"gaps"`
	Minutes  []uint64   `json:"messages_per_minute"`
	last     uint64
}

func (h *History) view() historyView {
	h.mu.Lock()
	defer h.mu.Unlock()
	return historyView{reversed(h.messages), reversed(h.gaps), append([]uint64{}, h.perMin...), h.received}
}

func keepLast[E any](list []E, e E, n int) []E {
	if len(list) == n {
		copy(list, list[1:])
		list = list[:n-1]
	}
	return append(list, e)
}

func reversed[E any](list []E) []E {
	turned := make([]E, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		turned = append(turned, list[i])
	}
	return turned
}

func oneOf(known []string, s string) string {
	if slices.Contains(known, strings.ToLower(s)) {
		return strings.ToLower(s)
	}
	return "(other)"
}

// maxName is longer than any name of the services.
const maxName = 40

// plainName is s if it has the form of a name: letters, digits, - _ . and no
// number long enough to be a telephone's.
func plainName(s string) string {
	digits := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune("-_.", r):
		default:
			return "(not a name)"
		}
	}
	if len(s) > maxName || digits > 4 {
		return "(not a name)"
	}
	return s
}

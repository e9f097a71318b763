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
	messages recent[Event]
	gaps     recent[GapEvent]
	perMin   recent[uint64]
	received uint64 // at the newest one
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
	e.Source, e.Alert = plainName(e.Source), strings.Clone(plainName(e.Alert)) // it may share the memory of its message
	e.Status, e.Severity = oneOf(statuses, e.Status), oneOf(severities, e.Severity)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages.add(e, historyEvents)
}

// Gap adds a gap.
func (h *History) Gap(g GapEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gaps.add(g, historyEvents)
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
			h.perMin.add(n-min(n, h.received), minutes)
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
	v := historyView{h.messages.all(), h.gaps.all(), h.perMin.all(), h.received}
	slices.Reverse(v.Messages)
	slices.Reverse(v.Gaps)
	return v
}

// recent is the last of what was added.
type recent[E any] struct {
	list   []E
	oldest int
}

// add adds e, in place of the oldest if there are most already.
func (r *recent[E]) add(e E, most int) {
	if len(r.list) < most {
		r.list = append(r.list, e)
		return
	}
	r.list[r.oldest] = e
	r.oldest = (r.oldest + 1) % most
}

// all returns them in a list of its own, the oldest first; never nil.
func (r *recent[E]) all() []E {
	return append(append([]E{}, r.list[r.oldest:]...), r.list[:r.oldest]...)
}

func oneOf(known []string, s string) string {
	if at := slices.Index(known, strings.ToLower(s)); at >= 0 {
		return known[at]
	}
	return "(other)"
}

// maxName is longer than any name of the services.
const maxName = 40

// plainName is s if it has the form of a name: letters, digits, - _ . and no
// number long enough to be a telephone's.
func plainName(s string) string {
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c == '.':
		default:
			return "(not a name)"
		}
	}
	if len(s) > maxName || digits > 4 {
		return "(not a name)"
	}
	return s
}

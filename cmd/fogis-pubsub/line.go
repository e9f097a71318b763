package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// line is a message as subscribe and serve print it. Raw and Payload are the
// message's own bytes.
type line struct {
	MessageID     string            `json:"message_id"`
	Type          message.Type      `json:"type"`
	Source        string            `json:"source"`
	SchemaVersion string            `json:"schema_version"`
	Timestamp     string            `json:"timestamp"`
	Channel       string            `json:"channel"`
	Via           message.Via       `json:"via"`
	HasChanges    *bool             `json:"has_changes"`
	HighPriority  bool              `json:"high_priority"`
	Matches       []matchLine       `json:"matches"`
	Changes       []json.RawMessage `json:"changes"`
	Payload       json.RawMessage   `json:"payload"`
}

// matchLine is one match of a line.
type matchLine struct {
	ID        message.MatchID `json:"id"`
	Number    string          `json:"number"`
	Home      string          `json:"home"`
	Away      string          `json:"away"`
	Kickoff   *time.Time      `json:"kickoff"`
	Venue     string          `json:"venue"`
	Cancelled bool            `json:"cancelled"`
	Raw       json.RawMessage `json:"raw"`
}

// printer writes a line per message. A line is flushed before its message
// counts as handled; handlers of several types share it.
type printer struct {
	mu      sync.Mutex
	out     *bufio.Writer
	limit   int // messages after which done is closed; zero: none
	printed int
	done    chan struct{}
}

func newPrinter(w io.Writer, limit int) *printer {
	return &printer{out: bufio.NewWriter(w), limit: limit, done: make(chan struct{})}
}

// register makes p the handler of all three types.
func (p *printer) register(client *fogispubsub.Client) {
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		l := newLine(m.Header)
		l.HasChanges = m.Payload.HasChanges
		l.HighPriority = m.Payload.HighPriority()
		for _, match := range m.Payload.Matches {
			l.Matches = append(l.Matches, newMatchLine(match))
		}
		for _, change := range m.Payload.Changes {
			l.Changes = append(l.Changes, change.Raw)
		}
		return p.print(l, m.Raw)
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.ProcessingStatus]) error {
		return p.print(newLine(m.Header), m.Raw)
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.SystemAlert]) error {
		return p.print(newLine(m.Header), m.Raw)
	})
}

func newLine(h message.Header) *line {
	return &line{
		MessageID:     h.ID,
		Type:          h.Type,
		Source:        h.Source,
		SchemaVersion: h.SchemaVersion,
		Timestamp:     h.Timestamp.Text,
		Channel:       h.Channel,
		Via:           h.Via,
		Matches:       []matchLine{},
		Changes:       []json.RawMessage{},
	}
}

func newMatchLine(m message.Match) matchLine {
	l := matchLine{
		ID:        m.ID,
		Number:    m.Number,
		Home:      m.Home.Name,
		Away:      m.Away.Name,
		Venue:     m.Venue.Name,
		Cancelled: m.Cancelled,
		Raw:       m.Raw,
	}
	if !m.Kickoff.IsZero() {
		l.Kickoff = &m.Kickoff
	}
	return l
}

// print writes one line. Messages beyond the limit are not printed and stay
// unhandled: the program is ending.
func (p *printer) print(l *line, payload json.RawMessage) error {
	l.Payload = payload
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && p.printed == p.limit {
		return subscriber.Permanent(errEnough)
	}
	if err := printLine(p.out, l); err != nil {
		return subscriber.Permanent(err)
	}
	if err := p.out.Flush(); err != nil {
		return subscriber.Permanent(err)
	}
	if p.printed++; p.printed == p.limit {
		close(p.done)
	}
	return nil
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
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
	StreamID      string            `json:"stream_id,omitempty"`
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
	mu    sync.Mutex
	out   *bufio.Writer
	limit int // messages after which done is closed; zero: none
	// durable has messages that are not printed go back to their group; one
	// that is given up for good would be a dead letter.
	durable bool
	printed int
	done    chan struct{}
	failure error         // of the first line that could not be written
	failed  chan struct{} // closed then
}

func newPrinter(w io.Writer, limit int) *printer {
	return &printer{out: bufio.NewWriter(w), limit: limit, done: make(chan struct{}), failed: make(chan struct{})}
}

// register makes p the handler of all types.
func (p *printer) register(client *fogispubsub.Client) {
	for _, t := range message.Types() {
		client.Handle(t, p.handle)
	}
}

func (p *printer) handle(_ context.Context, e *message.Envelope) error {
	l, err := decodedLine(e)
	if err != nil {
		return subscriber.Permanent(err)
	}
	return p.print(l)
}

// decodedLine is the line of a message of any type.
// storedLine is the line of a message that lies in the stream of a channel, or
// lay there before it became a dead letter.
func storedLine(channel string, stored durable.Entry) (*line, error) {
	e, err := message.Decode(stored.Body)
	if err != nil {
		return nil, err
	}
	e.Channel, e.Via, e.StreamID = channel, message.ViaStream, stored.StreamID
	return decodedLine(e)
}

func decodedLine(e *message.Envelope) (*line, error) {
	l := newLine(e)
	if e.Type == message.TypeMatchUpdates {
		m, err := message.As[message.MatchUpdates](e)
		if err != nil {
			return nil, err
		}
		l.addUpdates(m.Payload)
	}
	return l, nil
}

func newLine(e *message.Envelope) *line {
	return &line{
		MessageID:     e.ID,
		Type:          e.Type,
		Source:        e.Source,
		SchemaVersion: e.SchemaVersion,
		Timestamp:     e.Timestamp.Text,
		Channel:       e.Channel,
		Via:           e.Via,
		StreamID:      e.StreamID,
		Matches:       []matchLine{},
		Changes:       []json.RawMessage{},
		Payload:       e.Payload,
	}
}

func (l *line) addUpdates(u message.MatchUpdates) {
	l.HasChanges = u.HasChanges
	l.HighPriority = u.HighPriority()
	for _, match := range u.Matches {
		l.Matches = append(l.Matches, newMatchLine(match))
	}
	for _, change := range u.Changes {
		l.Changes = append(l.Changes, change.Raw)
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

// print writes one line. Messages beyond the limit, and after a line that could
// not be written, are not handled: the program is ending.
func (p *printer) print(l *line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil && (p.limit == 0 || p.printed < p.limit) {
		if err := p.write(l); err != nil {
			p.failure = fmt.Errorf("standard output: %w", err)
			close(p.failed)
		} else if p.printed++; p.printed == p.limit {
			close(p.done)
		}
		return p.refuse(p.failure)
	}
	return p.refuse(errEnough)
}

func (p *printer) refuse(err error) error {
	if p.durable {
		return err
	}
	return subscriber.Permanent(err)
}

func (p *printer) write(l *line) error {
	if err := printLine(p.out, l); err != nil {
		return err
	}
	return p.out.Flush()
}

// err is why a line could not be written, or nil.
func (p *printer) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

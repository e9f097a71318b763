package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// What a record tells.
const (
	// Of a publisher: before Publish, after it returned nil or an error.
	Publishing = "publishing"
	Published  = "published"
	Refused    = "refused" // the error is in Detail if the outbox had one

	// Of a publisher in a sending seed: its mode, in Detail; that a message goes
	// to the fallback or has left the outbox, by the way in Via; that it told of
	// something about its outbox.
	Runs = "runs"
	Left = "left"
	Told = "told"

	// Of the run, in a sending seed: a message was in the outbox when its file was
	// hurt, with what became of it in Detail; at the end it lies there.
	AtRisk = "at risk"
	Kept   = "kept"

	// Of a handler: it was entered, and is about to return.
	Began = "began"
	Ended = "ended"

	// Of a subscriber: it has lost the lease of a type, reports a gap.
	Lost = "lost"
	Gap  = "gap"

	// Of a receiver: it refused a message for good.
	ReceiverRefused = "receiver refused"

	// Of any process: it runs; it was or will at once be killed; it was asked
	// to end and is about to.
	Up      = "up"
	Killed  = "killed"
	Stopped = "stopped"

	// Of the run: a fault has begun or is over. N numbers it.
	FaultOn  = "fault on"
	FaultOff = "fault off"
)

// What became of a message at risk, in Record.Detail.
const (
	RiskWhole  = "whole"
	RiskGone   = "gone"
	RiskUnseen = "gone while no publisher ran"
)

// How a handler ended, in Record.Detail.
const (
	EndedWell    = "ok"
	EndedFailed  = "failed"
	EndedContext = "context ended"
)

// Record is one line of a journal.
type Record struct {
	At   time.Time    `json:"at"`
	Who  string       `json:"who"` // a process, or "run"
	What string       `json:"what"`
	Type message.Type `json:"type,omitempty"`
	// N is the message's number within its type, from 1, in the order of
	// publishing.
	N  int    `json:"n,omitempty"`
	ID string `json:"id,omitempty"`
	// Via is the route: of a receipt, or by which a handler got a message.
	Via string `json:"via,omitempty"`
	// Stubborn tells of a handler that it ignores its context.
	Stubborn bool   `json:"stubborn,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// Journal is what the processes of a seed append to. It may be used by several
// goroutines and processes.
type Journal struct {
	file *os.File
	who  string
}

// OpenJournal opens the file at path, or makes it, for the records of who.
func OpenJournal(path, who string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Journal{file: f, who: who}, nil
}

// Write appends a record, of the journal's owner unless it names another, and
// returns when it is on disk. A process that cannot write must end: what it did
// from then on would not count.
func (j *Journal) Write(r Record) error {
	r.At = time.Now()
	if r.Who == "" {
		r.Who = j.who
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A write may have been cut short by the death of its process: the line
	// break before this one keeps it apart.
	line = append(append([]byte{'\n'}, line...), '\n')
	if _, err = j.file.Write(line); err != nil {
		return err
	}
	return j.file.Sync()
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

// ReadJournal reads the records of a journal in their order, and tells how many
// bytes of it they take. What is behind the last line break is left out.
func ReadJournal(r io.Reader) (records []Record, size int64, err error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return records, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		size += int64(len(line))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var record Record
		switch err := json.Unmarshal(line, &record); {
		case err == nil && record.What != "":
			records = append(records, record)
		case !bytes.HasSuffix(line, []byte("}")): // cut short
		default:
			return nil, 0, fmt.Errorf("faults: a line of the journal is no record: %q", line)
		}
	}
}

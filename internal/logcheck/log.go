package logcheck

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
)

// LogFileVariable names a file to which every logger of the package appends
// what it gets, so that all the tests of a run can be searched afterwards.
const LogFileVariable = "FOGIS_TEST_LOG"

// New returns a logger for a test, from debug level on. When the test ends,
// its records are searched for forbidden values, and shown if the test has
// failed. It may be used from any goroutine, also after the test: such late
// records reach the file of [LogFileVariable] only.
func New(tb testing.TB) *slog.Logger {
	tb.Helper()
	logger, _ := NewLog(tb)
	return logger
}

// NewLog is [New] with access to the records.
func NewLog(tb testing.TB) (*slog.Logger, *Log) {
	tb.Helper()
	l := &Log{file: os.Getenv(LogFileVariable)}
	tb.Cleanup(func() { l.check(tb) })
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	// The text form shows bytes as they are where JSON shows base64.
	return slog.New(slog.NewMultiHandler(
		slog.NewJSONHandler(writer(l.addJSON), level),
		slog.NewTextHandler(writer(l.addText), level),
	)), l
}

// Log is what a logger has got so far. Its methods may be called while the
// logger is in use.
type Log struct {
	file string

	mu    sync.Mutex
	lines []string // JSON, a record each
	texts []string // the same for the search
	ended bool
}

// Record is one log record, read back from its JSON form.
type Record struct {
	Level   slog.Level
	Message string
	// Attrs holds the attributes, groups as nested maps and numbers as
	// [json.Number], without time, level and message.
	Attrs map[string]any
}

// Count tells how many records have the message msg.
func (l *Log) Count(msg string) int {
	n := 0
	for _, r := range l.Records() {
		if r.Message == msg {
			n++
		}
	}
	return n
}

// Records returns all records in the order in which they were written.
func (l *Log) Records() []Record {
	l.mu.Lock()
	lines := l.lines[:len(l.lines):len(l.lines)]
	l.mu.Unlock()
	records := make([]Record, 0, len(lines))
	for _, line := range lines {
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		var r Record
		if err := d.Decode(&r.Attrs); err != nil {
			continue // slog writes one object a record
		}
		if level, ok := r.Attrs[slog.LevelKey].(string); ok {
			_ = r.Level.UnmarshalText([]byte(level))
		}
		r.Message, _ = r.Attrs[slog.MessageKey].(string)
		delete(r.Attrs, slog.TimeKey)
		delete(r.Attrs, slog.LevelKey)
		delete(r.Attrs, slog.MessageKey)
		records = append(records, r)
	}
	return records
}

// Text returns all records as lines of JSON.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func (l *Log) check(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	l.ended = true
	texts := l.texts
	l.mu.Unlock()
	log := l.Text()
	Clean(tb, "the log", log)
	Clean(tb, "the log", strings.Join(texts, ""))
	if tb.Failed() && log != "" {
		tb.Logf("logcheck: all that was logged:\n%s", log)
	}
}

func (l *Log) addJSON(line []byte) {
	l.add(&l.lines, line)
	l.append(line)
}

func (l *Log) addText(line []byte) { l.add(&l.texts, line) }

func (l *Log) add(to *[]string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		*to = append(*to, string(line))
	}
}

// append writes to the common file. One write in append mode stays whole
// beside those of other tests and other processes.
func (l *Log) append(line []byte) {
	if l.file == "" {
		return
	}
	f, err := os.OpenFile(l.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the step that reads the file sees that it is missing
	}
	_, _ = f.Write(line)
	_ = f.Close()
}

// writer is a function as io.Writer. slog makes one call for each record.
type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

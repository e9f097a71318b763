package durable

import (
	"fmt"
	"io"
	"log/slog"
	"time"
	"unsafe"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// Entry is a message in a stream. Printing or logging it shows its IDs and
// type only.
type Entry struct {
	// StreamID is the entry's place in its stream: "<milliseconds>-<number>"
	// by the server's clock, rising.
	StreamID string
	// ID is the message's ID and Type its type, as the writer named them; "" in
	// an entry that no [Writer] made.
	ID   string
	Type message.Type
	// Body is the envelope's JSON, not to be changed; nil in an entry that no
	// [Writer] made.
	Body []byte
	// Redelivered tells that an earlier holder of the lease got the entry and
	// did not settle it. Call [Lease.Try] before it is handled again.
	Redelivered bool
	// Origin is the stream ID that the message had before it became a dead
	// letter and was requeued, else "".
	Origin string

	group string // the only group that is to handle a requeued entry
}

// Time is when the server took the entry, by its clock.
func (e Entry) Time() time.Time { return timeOf(e.StreamID) }

// place is where the message belongs in the order of publishing.
func (e Entry) place() string {
	if e.Origin != "" {
		return e.Origin
	}
	return e.StreamID
}

// String shows the IDs, the type and the size.
func (e Entry) String() string {
	return fmt.Sprintf("entry %s (%s, message %s, %d bytes)", e.StreamID, clip(string(e.Type)), clip(e.ID), len(e.Body))
}

// Format implements [fmt.Formatter]: every verb shows the same.
func (e Entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// LogValue implements [slog.LogValuer].
func (e Entry) LogValue() slog.Value { return slog.StringValue(e.String()) }

func newEntry(m redis.XMessage) Entry {
	id, _ := m.Values["id"].(string)
	typ, _ := m.Values["type"].(string)
	e := Entry{StreamID: m.ID, ID: id, Type: message.Type(typ)}
	if len(m.Values) > 3 { // requeued
		e.Origin, _ = m.Values["origin"].(string)
		e.group, _ = m.Values["group"].(string)
	}
	if data, ok := m.Values["data"].(string); ok {
		e.Body = viewBytes(data)
	}
	return e
}

// viewBytes gives a string's bytes without a copy, to be read only. go-redis
// has made the string for this entry alone.
func viewBytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// Entries of a batch: what fits in a bound by the mean size of the batch
// before, so that neither small nor large messages need a setting.
const (
	maxBatch   = 100
	firstBatch = 2 // nothing is known of their size

	// After a batch of other types than match_updates, whose entries had no more
	// bytes than that, the next one may be larger: these stay small, and a good
	// part of what reading costs is by batch.
	smallBatch = 500
	smallEntry = 1 << 10
)

// nextBatch is how many entries to ask for after a batch of n with so many
// bytes; before is what was asked for.
func nextBatch(bound, most, n, bytes, before int) int {
	if n == 0 {
		return before
	}
	return min(max(bound/max(bytes/n, 1), 1), most)
}

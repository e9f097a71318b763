package outbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/PitchConnect/fogispubsub/message"
)

// State says where a record is.
type State string

const (
	// Waiting is a record in its queue.
	Waiting State = "waiting"
	// SetAside is a record that [File.SetAside] took out of its queue, with the
	// reason in Refused.
	SetAside State = "set_aside"
	// Damaged is a record whose bytes changed since they were written, with what
	// is wrong in Refused. Its bytes are kept, as they are now. Its ID is
	// "damaged-" and a number if it cannot be read.
	Damaged State = "damaged"
)

// Record is a message of the outbox, as [File.All] and [Read] list it. Printing
// or logging one shows its type and ID only.
type Record struct {
	message.Queued
	State State
}

// A record is two entries of its queue's bucket, which follow each other: its
// head, and a bucket that holds its body alone. The key of both is the record's
// number, big-endian, and the entry's part. bbolt writes all values of a page
// together: a body in the page of another would be written with it each time,
// and taking the other away from a full disk would need room for it.
//
// A head is
//
//	0   CRC-32C of key, type, the rest of the head and the body
//	4   flags
//	5   time of putting, nanoseconds since 1970
//	13  length of the ID
//	15  length of after
//	17  ID, after, reason of the refusal
//
// bbolt has checksums for its two headers only; this one tells when a disk
// changed a record. The body's bucket of a damaged record also has the head
// that was found.
const (
	headSize = 17
	keySize  = 9

	flagPosted  = 1
	flagHeard   = 2
	flagDamaged = 4

	headPart = 0
	bodyPart = 1
)

// Keys in the bucket of a body.
const (
	bodyKey = "body"
	headKey = "head" // of a damaged record, as it was found
)

func newKey(n uint64, part byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, keySize), n), part)
}

// number returns the number of the record with that key.
func number(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

// encode returns the head of r.
func (r *Record) encode(n uint64) []byte {
	head := make([]byte, headSize, headSize+len(r.ID)+len(r.After)+len(r.Refused))
	if r.Posted {
		head[4] |= flagPosted
	}
	if r.Heard {
		head[4] |= flagHeard
	}
	if r.State == Damaged {
		head[4] |= flagDamaged
	}
	if !r.PutAt.IsZero() {
		binary.BigEndian.PutUint64(head[5:], uint64(r.PutAt.UnixNano()))
	}
	binary.BigEndian.PutUint16(head[13:], uint16(len(r.ID)))
	binary.BigEndian.PutUint16(head[15:], uint16(len(r.After)))
	head = append(append(append(head, r.ID...), r.After...), r.Refused...)
	binary.BigEndian.PutUint32(head, checksum(r.Type, n, head, r.Body))
	return head
}

// newEntry returns the entry of r, with its body, and its head.
func newEntry(r Record, n uint64) (*entry, []byte) {
	head := r.encode(n)
	return &entry{Record: r, n: n, size: len(head) + len(r.Body), sum: binary.BigEndian.Uint32(head)}, head
}

// parseHead reads a head without judging its checksum.
func parseHead(t message.Type, head []byte) (*entry, bool) {
	if len(head) < headSize {
		return nil, false
	}
	idEnd := headSize + int(binary.BigEndian.Uint16(head[13:]))
	afterEnd := idEnd + int(binary.BigEndian.Uint16(head[15:]))
	if afterEnd > len(head) || idEnd == headSize {
		return nil, false
	}
	e := &entry{}
	e.Outgoing = message.Outgoing{ID: string(head[headSize:idEnd]), Type: t}
	e.After, e.Refused = string(head[idEnd:afterEnd]), string(head[afterEnd:])
	e.Posted, e.Heard = head[4]&flagPosted != 0, head[4]&flagHeard != 0
	e.PutAt = putAt(head)
	e.State = Waiting
	if head[4]&flagDamaged != 0 {
		e.State = Damaged
	}
	return e, true
}

func checksum(t message.Type, n uint64, head, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.BigEndian.AppendUint64(nil, n))
	sum = crc32.Update(sum, table, []byte(t))
	sum = crc32.Update(sum, table, head[4:])
	return crc32.Update(sum, table, body)
}

const (
	// maxText bounds an ID, an after and a type; bbolt takes keys of up to 32 KiB.
	maxText = 16 << 10
	// maxReason is where the reason of a refusal is cut.
	maxReason = 1000
)

// check refuses what could not be found again.
func (r *Record) check() error {
	for _, field := range []struct {
		name, text string
		empty      bool
	}{{"Type", string(r.Type), false}, {"ID", r.ID, false}, {"after", r.After, true}} {
		if field.text == "" && !field.empty {
			return fmt.Errorf("%w: %s is empty", message.ErrInvalid, field.name)
		}
		if len(field.text) > maxText {
			return fmt.Errorf("%w: %s has more than %d bytes", message.ErrInvalid, field.name, maxText)
		}
	}
	if int64(len(r.Body)) > math.MaxInt32-4*maxText {
		return fmt.Errorf("%w: the body has more than 2 GB", message.ErrInvalid)
	}
	return nil
}

// reason is a text as a head keeps it.
func reason(text string) string {
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return strings.ToValidUTF8(text, "")
}

// readable tells whether an ID that may be damaged can be shown and typed.
func readable(id string) bool {
	return len(id) <= 200 && utf8.ValidString(id) && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

package outbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
)

// Record is a message that waits, as [File.All] lists it. Printing or logging
// one shows its type and ID only.
type Record struct {
	message.Outgoing
	// HTTP tells that the fallback took the message already.
	HTTP bool
	// After is the last stream ID that was seen before the message was first
	// sent, "" for none.
	After string
	// PutAt is when the message was recorded, by this computer's clock.
	PutAt time.Time
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
//	17  ID, after
//
// bbolt has checksums for its two headers only; this one tells when a disk
// changed a record.
const (
	headSize = 17
	keySize  = 9
	flagHTTP = 1

	headPart = 0
	bodyPart = 1
	endPart  = 2 // behind both
)

// bodyKey is the key of the body in its bucket.
const bodyKey = "body"

func newKey(n uint64, part byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, keySize), n), part)
}

// number returns the number of the record with that key.
func number(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

// encode returns the head of r.
func (r *Record) encode(n uint64) []byte {
	head := make([]byte, headSize, headSize+len(r.ID)+len(r.After))
	if r.HTTP {
		head[4] = flagHTTP
	}
	binary.BigEndian.PutUint64(head[5:], uint64(r.PutAt.UnixNano()))
	binary.BigEndian.PutUint16(head[13:], uint16(len(r.ID)))
	binary.BigEndian.PutUint16(head[15:], uint16(len(r.After)))
	head = append(append(head, r.ID...), r.After...)
	binary.BigEndian.PutUint32(head, checksum(r.Type, n, head, r.Body))
	return head
}

// readRecord returns the record with that head. Its body is a part of the
// transaction's memory.
func readRecord(t message.Type, bucket *bbolt.Bucket, key, head []byte) (Record, error) {
	if len(key) != keySize || key[keySize-1] != headPart || len(head) < headSize {
		return Record{}, damagef("a record has no head")
	}
	n := number(key)
	idEnd := headSize + int(binary.BigEndian.Uint16(head[13:]))
	afterEnd := idEnd + int(binary.BigEndian.Uint16(head[15:]))
	inner := bucket.Bucket(newKey(n, bodyPart))
	if inner == nil || afterEnd != len(head) || idEnd == headSize {
		return Record{}, damagef("record %d is damaged", n)
	}
	body := inner.Get([]byte(bodyKey))
	if binary.BigEndian.Uint32(head) != checksum(t, n, head, body) {
		return Record{}, damagef("the checksum of record %d is wrong", n)
	}
	return Record{
		Outgoing: message.Outgoing{ID: string(head[headSize:idEnd]), Type: t, Body: body},
		HTTP:     head[4]&flagHTTP != 0,
		After:    string(head[idEnd:]),
		PutAt:    putAt(head),
	}, nil
}

func putAt(head []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(head[5:]))).UTC()
}

func checksum(t message.Type, n uint64, head, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.BigEndian.AppendUint64(nil, n))
	sum = crc32.Update(sum, table, []byte(t))
	sum = crc32.Update(sum, table, head[4:])
	return crc32.Update(sum, table, body)
}

// maxText bounds an ID, an after and a type; bbolt takes keys of up to 32 KiB.
const maxText = 16 << 10

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

package outbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
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

// A record's value in its bucket. Its key is its number, big-endian.
//
//	0   CRC-32C of key, type and all that follows
//	4   flags
//	5   time of putting, nanoseconds since 1970
//	13  length of the ID
//	15  length of after
//	17  ID, after, body
//
// bbolt has checksums for its two headers only; this one tells when a disk
// changed a record.
const (
	recordHead = 17
	keySize    = 8
	flagHTTP   = 1
)

// maxText bounds an ID, an after and a type; bbolt takes keys of up to 32 KiB.
const maxText = 16 << 10

func appendKey(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }

// encode returns the value of r under the key, in the room of buf.
func (r *Record) encode(buf, key []byte) []byte {
	v := slices.Grow(buf[:0], recordHead+len(r.ID)+len(r.After)+len(r.Body))[:recordHead]
	v[4] = 0
	if r.HTTP {
		v[4] = flagHTTP
	}
	binary.BigEndian.PutUint64(v[5:], uint64(r.PutAt.UnixNano()))
	binary.BigEndian.PutUint16(v[13:], uint16(len(r.ID)))
	binary.BigEndian.PutUint16(v[15:], uint16(len(r.After)))
	v = append(v, r.ID...)
	v = append(v, r.After...)
	v = append(v, r.Body...)
	binary.BigEndian.PutUint32(v, checksum(r.Type, key, v))
	return v
}

// decode reads a value; Body stays a part of it.
func decode(t message.Type, key, v []byte) (Record, error) {
	if len(key) != keySize || len(v) < recordHead {
		return Record{}, damagef("a record has no head")
	}
	idEnd := recordHead + int(binary.BigEndian.Uint16(v[13:]))
	afterEnd := idEnd + int(binary.BigEndian.Uint16(v[15:]))
	if binary.BigEndian.Uint32(v) != checksum(t, key, v) || afterEnd > len(v) || idEnd == recordHead {
		return Record{}, damagef("the checksum of record %d is wrong", binary.BigEndian.Uint64(key))
	}
	return Record{
		Outgoing: message.Outgoing{ID: string(v[recordHead:idEnd]), Type: t, Body: v[afterEnd:len(v):len(v)]},
		HTTP:     v[4]&flagHTTP != 0,
		After:    string(v[idEnd:afterEnd]),
		PutAt:    time.Unix(0, int64(binary.BigEndian.Uint64(v[5:]))).UTC(),
	}, nil
}

func checksum(t message.Type, key, v []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, key)
	sum = crc32.Update(sum, table, []byte(t))
	return crc32.Update(sum, table, v[4:])
}

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

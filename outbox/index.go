package outbox

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
)

// The top level of the file has one bucket for each queue, named for its type,
// and one that tells whose file it is. The sequence number of that one is the
// seal of the records.
const (
	formatBucket = "format"
	formatKey    = "fogispubsub outbox"
	formatValue  = "1"
	queuePrefix  = "queue:"
)

func queueBucket(t message.Type) []byte { return []byte(queuePrefix + string(t)) }

// index is what is known of the records without reading the file.
type index struct {
	queues map[message.Type]*queue // none is empty
	bytes  int64
	last   uint64 // the highest number of a record
	seal   seal
}

// seal stands for all records together, by their number and their checksums:
// a damaged page can hide records that are whole.
type seal uint64

// turn adds a record, for count 1, or takes it away, for -1.
func (s seal) turn(head []byte, count int) seal {
	return seal((uint64(s)>>32+uint64(count))<<32 | uint64(uint32(s)^binary.BigEndian.Uint32(head)))
}

// write puts the seal into the file. It writes no page that a change of a
// queue does not write as well.
func (s seal) write(tx *bbolt.Tx) error {
	return tx.Bucket([]byte(formatBucket)).SetSequence(uint64(s))
}

type queue struct {
	places map[string]uint64 // number of the record by message ID
	bytes  int64
	oldest time.Time // of the head
}

func (ix *index) add(r *Record, n uint64, size int) {
	q := ix.queues[r.Type]
	if q == nil {
		q = &queue{places: map[string]uint64{}, oldest: r.PutAt}
		ix.queues[r.Type] = q
	}
	q.places[r.ID] = n
	q.bytes += int64(size)
	ix.bytes += int64(size)
	ix.last = max(ix.last, n)
}

// remove takes away a head; next is when the one behind it was put.
func (ix *index) remove(t message.Type, id string, size int, next time.Time) {
	q := ix.queues[t]
	delete(q.places, id)
	q.bytes -= int64(size)
	q.oldest = next
	ix.bytes -= int64(size)
	if len(q.places) == 0 {
		delete(ix.queues, t)
	}
}

func (ix *index) resize(t message.Type, by int) {
	ix.queues[t].bytes += int64(by)
	ix.bytes += int64(by)
}

func (ix *index) place(t message.Type, id string) (n uint64, found bool) {
	if q := ix.queues[t]; q != nil {
		n, found = q.places[id]
	}
	return n, found
}

func (ix *index) types() []message.Type { return slices.Sorted(maps.Keys(ix.queues)) }

// stats sums up the queues of these types, of all when none is given.
func (ix *index) stats(types []message.Type) (s Stats) {
	add := func(q *queue) {
		s.Len += len(q.places)
		s.Bytes += q.bytes
		if s.Oldest.IsZero() || q.oldest.Before(s.Oldest) {
			s.Oldest = q.oldest
		}
	}
	if len(types) == 0 {
		for _, q := range ix.queues {
			add(q)
		}
	}
	for _, t := range types {
		if q := ix.queues[t]; q != nil {
			add(q)
		}
	}
	return s
}

// readIndex reads every record. The error is a [*damage] if the file is not
// one of ours or a record is not as it was written. empty tells that the file
// was never used.
func readIndex(tx *bbolt.Tx) (ix index, empty bool, err error) {
	ix.queues = map[message.Type]*queue{}
	if key, _ := tx.Cursor().First(); key == nil {
		return ix, true, nil
	}
	format := tx.Bucket([]byte(formatBucket))
	if format == nil {
		return ix, false, damagef("a database of another program")
	}
	switch version := format.Get([]byte(formatKey)); {
	case version == nil:
		return ix, false, damagef("a database of another program")
	case string(version) != formatValue:
		return ix, false, damagef("of another version than %s", formatValue)
	}
	err = tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		t, isQueue := strings.CutPrefix(string(name), queuePrefix)
		switch {
		case bucket == nil || !isQueue && string(name) != formatBucket:
			return damagef("a database of another program")
		case !isQueue:
			return nil
		}
		var body []byte // the key of the body that was read with the last head
		return bucket.ForEach(func(key, head []byte) error {
			if head == nil && bytes.Equal(key, body) {
				return nil
			}
			r, err := readRecord(message.Type(t), bucket, key, head)
			if err != nil {
				return err
			}
			ix.add(&r, number(key), len(head)+len(r.Body))
			ix.seal = ix.seal.turn(head, 1)
			body = newKey(number(key), bodyPart)
			return nil
		})
	})
	if err == nil && uint64(ix.seal) != format.Sequence() {
		err = damagef("records are missing")
	}
	return ix, false, err
}

package outbox

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
)

// The top level of the file has one bucket for each queue and one for the
// records of that queue that were set aside, both named for its type, and one
// that says whose file it is. The sequence number of that one is the seal of
// the records.
//
// Version 1 had no records set aside, and heads without a reason. Its records
// are valid here; Open writes the new version into the file.
const (
	formatBucket = "format"
	formatKey    = "fogispubsub outbox"
	formatValue  = "2"
	formatBefore = "1"
	queuePrefix  = "queue:"
	asidePrefix  = "aside:"
)

// bucketName names the bucket of an entry.
func bucketName(t message.Type, s State) []byte {
	if s == Waiting {
		return []byte(queuePrefix + string(t))
	}
	return []byte(asidePrefix + string(t))
}

// entry is what is known of a record without reading it: all but its body.
type entry struct {
	Record
	n    uint64
	size int    // of head and body
	sum  uint32 // its checksum
}

// name is what tells one message from another.
type name struct {
	t  message.Type
	id string
}

func (e *entry) name() name { return name{e.Type, e.ID} }

// index is what is known of the records without reading the file.
type index struct {
	waiting shelf
	aside   shelf
	last    uint64 // the highest number of a record
	seal    seal
}

// shelf holds the queues of one state, and none that is empty.
type shelf struct {
	queues map[message.Type]*queue
	bytes  int64
}

// queue is in the order of the numbers.
type queue struct {
	entries []*entry
	byID    map[string]*entry
	bytes   int64
}

// seal stands for all records together, by their number and their checksums:
// a damaged page can hide records that are whole.
type seal uint64

// turn adds a record, for count 1, or takes it away, for -1.
func (s seal) turn(sum uint32, count int) seal {
	return seal((uint64(s)>>32+uint64(count))<<32 | uint64(uint32(s)^sum))
}

func (s seal) count() int { return int(uint64(s) >> 32) }

// write puts the seal into the file. It writes no page that a change of a
// queue does not write as well.
func (s seal) write(tx *bbolt.Tx) error {
	return tx.Bucket([]byte(formatBucket)).SetSequence(uint64(s))
}

func newIndex() index {
	return index{
		waiting: shelf{queues: map[message.Type]*queue{}},
		aside:   shelf{queues: map[message.Type]*queue{}},
	}
}

func (ix *index) shelf(s State) *shelf {
	if s == Waiting {
		return &ix.waiting
	}
	return &ix.aside
}

// add puts an entry into its place and takes a body away.
func (ix *index) add(e *entry) {
	e.Body = nil
	ix.shelf(e.State).add(e)
	ix.last = max(ix.last, e.n)
	ix.seal = ix.seal.turn(e.sum, 1)
}

func (ix *index) remove(e *entry) {
	ix.shelf(e.State).remove(e)
	ix.seal = ix.seal.turn(e.sum, -1)
}

func (ix *index) find(s State, t message.Type, id string) *entry {
	if q := ix.shelf(s).queues[t]; q != nil {
		return q.byID[id]
	}
	return nil
}

func (s *shelf) add(e *entry) {
	q := s.queues[e.Type]
	if q == nil {
		q = &queue{byID: map[string]*entry{}}
		s.queues[e.Type] = q
	}
	at := len(q.entries)
	if at > 0 && q.entries[at-1].n > e.n {
		at, _ = q.place(e.n)
	}
	q.entries = slices.Insert(q.entries, at, e)
	q.byID[e.ID] = e
	q.bytes += int64(e.size)
	s.bytes += int64(e.size)
}

func (s *shelf) remove(e *entry) {
	q := s.queues[e.Type]
	at, _ := q.place(e.n)
	if at == 0 {
		q.entries[0] = nil
		q.entries = q.entries[1:]
	} else {
		q.entries = slices.Delete(q.entries, at, at+1)
	}
	delete(q.byID, e.ID)
	q.bytes -= int64(e.size)
	s.bytes -= int64(e.size)
	if len(q.entries) == 0 {
		delete(s.queues, e.Type)
	}
}

func (q *queue) place(n uint64) (int, bool) {
	return slices.BinarySearchFunc(q.entries, n, func(e *entry, n uint64) int { return cmp.Compare(e.n, n) })
}

func (s *shelf) types() []message.Type { return slices.Sorted(maps.Keys(s.queues)) }

// len counts the records of all types.
func (s *shelf) len() (n int) {
	for _, q := range s.queues {
		n += len(q.entries)
	}
	return n
}

// each calls do for the entries of the types' queues in the order of their
// numbers, until do returns true.
func (s *shelf) each(types []message.Type, do func(*entry) (end bool)) {
	left := make([][]*entry, 0, len(types))
	for i, t := range types {
		if q := s.queues[t]; q != nil && !slices.Contains(types[:i], t) {
			left = append(left, q.entries)
		}
	}
	for {
		first := -1
		for i, entries := range left {
			if len(entries) > 0 && (first < 0 || entries[0].n < left[first][0].n) {
				first = i
			}
		}
		if first < 0 || do(left[first][0]) {
			return
		}
		left[first] = left[first][1:]
	}
}

// stats sums up the queues of these types, of all when none is given.
func (ix *index) stats(types []message.Type) (s Stats) {
	if len(types) == 0 {
		types = slices.AppendSeq(slices.Collect(maps.Keys(ix.waiting.queues)), maps.Keys(ix.aside.queues))
	}
	for i, t := range types {
		if slices.Contains(types[:i], t) {
			continue
		}
		if q := ix.waiting.queues[t]; q != nil {
			s.Len += len(q.entries)
			s.Bytes += q.bytes
			if oldest := q.entries[0].PutAt; s.Oldest.IsZero() || oldest.Before(s.Oldest) {
				s.Oldest = oldest
			}
		}
		if q := ix.aside.queues[t]; q != nil {
			s.Aside += len(q.entries)
			s.AsideBytes += q.bytes
		}
	}
	return s
}

// broken is a record that is not as it was written.
type broken struct {
	t     message.Type
	state State // where it lies
	n     uint64
	why   string
}

// readIndex reads every record of a file that is ours. Records that are not as
// they were written come back as broken; the seal then has to be written again.
// The error is a [*damage] if records are missing.
func readIndex(tx *bbolt.Tx) (ix index, found []broken, err error) {
	ix = newIndex()
	format := tx.Bucket([]byte(formatBucket))
	if format == nil {
		return ix, nil, damagef("its format is not written in it any more")
	}
	err = tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		t, state, isQueue := parseBucketName(name)
		if !isQueue || bucket == nil {
			return nil
		}
		var before uint64 // number of the last record
		return bucket.ForEach(func(key, head []byte) error {
			if len(key) != keySize || key[keySize-1] > bodyPart {
				return damagef("a record has an impossible key")
			}
			n := number(key)
			if n == before { // the body of the last head
				return nil
			}
			before = n
			e, err := readEntry(t, state, bucket, n)
			if err == nil && ix.find(state, t, e.ID) != nil {
				err = damagef("record %d has the ID of another", n)
			}
			if err != nil {
				found = append(found, broken{t, state, n, err.Error()})
				return nil
			}
			ix.add(e)
			return nil
		})
	})
	switch sealed := seal(format.Sequence()); {
	case err != nil:
	case ix.seal.count()+len(found) != sealed.count(), len(found) == 0 && ix.seal != sealed:
		err = damagef("records are missing")
	}
	return ix, found, err
}

func parseBucketName(name []byte) (t message.Type, s State, ok bool) {
	if t, ok := strings.CutPrefix(string(name), queuePrefix); ok {
		return message.Type(t), Waiting, true
	}
	t2, ok := strings.CutPrefix(string(name), asidePrefix)
	return message.Type(t2), SetAside, ok
}

// readEntry reads a record. Its body is a part of the transaction's memory.
func readEntry(t message.Type, s State, bucket *bbolt.Bucket, n uint64) (*entry, error) {
	head := bucket.Get(newKey(n, headPart))
	var body []byte
	inner := bucket.Bucket(newKey(n, bodyPart))
	if inner != nil {
		body = inner.Get([]byte(bodyKey))
	}
	if inner == nil {
		return nil, damagef("record %d has no body", n)
	}
	return parseRecord(t, s, n, head, body)
}

// parseRecord checks a record.
func parseRecord(t message.Type, s State, n uint64, head, body []byte) (*entry, error) {
	e, ok := parseHead(t, head)
	if !ok {
		return nil, damagef("record %d has no head", n)
	}
	if s != Waiting && e.State == Waiting {
		e.State = SetAside
	}
	e.n, e.Body = n, body
	e.size, e.sum = len(head)+len(body), binary.BigEndian.Uint32(head)
	if e.sum != checksum(t, n, head, body) {
		return nil, damagef("the checksum of record %d is wrong", n)
	}
	if e.State != Waiting && s == Waiting {
		return nil, damagef("record %d lies in the wrong place", n)
	}
	return e, nil
}

func putAt(head []byte) time.Time {
	since := int64(binary.BigEndian.Uint64(head[5:]))
	if since == 0 { // not known
		return time.Time{}
	}
	return time.Unix(0, since).UTC()
}

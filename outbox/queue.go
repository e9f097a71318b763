package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
)

// Put appends a message to the queue of its type. When it returns nil the
// record is on disk. after is a place in the stream that lies before the first
// attempt to send the message, "" for none. m.Body is not kept.
//
// A message whose ID the queue holds already is not put again, whatever its
// body: so Put may be repeated after an error. [ErrFull] refuses the message;
// one without ID or type is [message.ErrInvalid]. After another error, as of a
// full disk, the record is not there unless the disk failed in its last step;
// [File.Len] tells.
func (f *File) Put(m message.Outgoing, after string) error {
	r := Record{Queued: message.Queued{Outgoing: m, After: after, PutAt: time.Now().UTC().Round(0)}, State: Waiting}
	r.StreamID = ""
	if err := r.check(); err != nil {
		return f.fail("put", err)
	}
	return f.use("put", func() error {
		if f.index.find(Waiting, m.Type, m.ID) != nil {
			return nil
		}
		return f.append(r, nil, f.index.last+1)
	})
}

// append puts a record into its queue, as number n, and takes another away.
func (f *File) append(r Record, old []*entry, n uint64) error {
	e, head := newEntry(r, n)
	if err := f.room(int64(e.size), len(old) > 0); err != nil {
		return err
	}
	body := r.Body
	return f.write(old, []*entry{e}, func(tx *bbolt.Tx) error {
		for _, e := range old {
			if err := erase(tx, e); err != nil {
				return err
			}
		}
		return store(tx, e, head, body)
	})
}

// room refuses a record of that size when there is none for it. requeued tells
// that it was set aside until now.
func (f *File) room(size int64, requeued bool) error {
	all := f.index.stats(nil)
	switch {
	case f.maxBytes < 0:
	case all.AsideBytes > f.maxBytes && !requeued: // which makes it less
		return fmt.Errorf("%w: %d records that were set aside take %d bytes of %d", errAsideFull, all.Aside, all.AsideBytes, f.maxBytes)
	case size > f.maxBytes-all.Bytes:
		return fmt.Errorf("%w: %d messages take %d bytes of %d, this one takes %d", ErrFull, all.Len, all.Bytes, f.maxBytes, size)
	}
	return nil
}

// store writes a record into the bucket of its state.
func store(tx *bbolt.Tx, e *entry, head, body []byte) error {
	bucket, err := tx.CreateBucketIfNotExists(bucketName(e.Type, e.State))
	if err != nil {
		return err
	}
	bucket.FillPercent = 1 // records are appended only, mostly
	inner, err := bucket.CreateBucket(newKey(e.n, bodyPart))
	if err != nil {
		return err
	}
	return errors.Join(bucket.Put(newKey(e.n, headPart), head), inner.Put([]byte(bodyKey), body))
}

// erase takes a record out of its bucket.
func erase(tx *bbolt.Tx, e *entry) error {
	bucket := tx.Bucket(bucketName(e.Type, e.State))
	if bucket == nil {
		return damagef("the queue of record %d is missing", e.n)
	}
	return errors.Join(bucket.Delete(newKey(e.n, headPart)), bucket.DeleteBucket(newKey(e.n, bodyPart)))
}

// First returns the record that was put first among those of the types' queues
// that match accepts; its ID is "" if there is none. match sees records without
// Body, the oldest first, and may not call the File. The record's Body is the
// caller's.
//
// A record whose bytes changed since they were written is set aside on the way
// as [Damaged], and logged.
func (f *File) First(match func(message.Queued) bool, types ...message.Type) (first message.Queued, err error) {
	err = f.use("first", func() error {
		for {
			var e *entry
			f.index.waiting.each(types, func(next *entry) bool {
				if match(next.Queued) {
					e = next
				}
				return e != nil
			})
			if e == nil {
				return nil
			}
			body, err := f.body(e)
			if err == nil {
				first = e.Queued
				first.Body = body
				return nil
			}
			if err := f.quarantineIf(e, err); err != nil {
				return err
			}
		}
	})
	return first, err
}

// body reads the body of a record and checks it.
func (f *File) body(e *entry) ([]byte, error) {
	body, _, err := f.bytes(e)
	return body, err
}

// bytes reads the body of a record, and the head that a damaged one had.
func (f *File) bytes(e *entry) (body, before []byte, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketName(e.Type, e.State))
		if bucket == nil {
			return damagef("the queue of record %d is missing", e.n)
		}
		found, err := readEntry(e.Type, e.State, bucket, e.n)
		if err == nil && found.sum != e.sum {
			err = damagef("record %d is another", e.n)
		}
		if err == nil {
			body = append([]byte{}, found.Body...)
			if inner := bucket.Bucket(newKey(e.n, bodyPart)); e.State == Damaged {
				before = append([]byte{}, inner.Get([]byte(headKey))...)
			}
		}
		return err
	})
	return body, before, err
}

// Mark writes what m says of After, Posted, Refused and Heard. A message that
// is not in the queue is [fs.ErrNotExist].
func (f *File) Mark(m message.Queued) error {
	m.Refused = reason(m.Refused)
	if err := (&Record{Queued: m}).check(); err != nil {
		return f.fail("mark", err)
	}
	return f.use("mark", func() error {
		e := f.index.find(Waiting, m.Type, m.ID)
		if e == nil {
			return fmt.Errorf("message %s: %w", m.ID, fs.ErrNotExist)
		}
		r := e.Record
		r.After, r.Posted, r.Refused, r.Heard = m.After, m.Posted, m.Refused, m.Heard
		if r.After == e.After && r.Posted == e.Posted && r.Refused == e.Refused && r.Heard == e.Heard {
			return nil
		}
		body, err := f.body(e) // the checksum is over both
		if err != nil {
			if err := f.quarantineIf(e, err); err != nil {
				return err
			}
			return fmt.Errorf("message %s is damaged and was set aside: %w", m.ID, fs.ErrNotExist)
		}
		r.Body = body
		changed, head := newEntry(r, e.n)
		return f.write([]*entry{e}, []*entry{changed}, func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketName(e.Type, Waiting)).Put(newKey(e.n, headPart), head)
		})
	})
}

// Remove takes a record off its queue, wherever it lies. One that is not there
// was removed before, and is no error.
func (f *File) Remove(t message.Type, id string) error {
	return f.use("remove", func() error {
		e := f.index.find(Waiting, t, id)
		if e == nil {
			return nil
		}
		return f.drop(e)
	})
}

// drop takes a record away for good.
func (f *File) drop(e *entry) error {
	if done, err := f.dropByRewriting(e); done {
		return err
	}
	f.removed += int64(e.size)
	return f.write([]*entry{e}, nil, func(tx *bbolt.Tx) error { return erase(tx, e) })
}

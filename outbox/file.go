package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// File is an open outbox. Its methods may be called by several goroutines;
// those that change it run one at a time and block for a disk's sync or two.
// All errors are an [*Error].
type File struct {
	path     string
	maxBytes int64
	lock     *os.File
	db       *bbolt.DB
	aside    string
	notice   string

	// token is held by the one that changes the file: a channel and not a
	// mutex, because it is held over disk I/O.
	token  chan struct{}
	closed bool // token's

	mu    sync.Mutex // guards index; never held over I/O
	index index
}

// Stats says how much waits.
type Stats struct {
	Len   int   // records
	Bytes int64 // what they take, as Options.MaxBytes counts
	// Oldest is when the first of them was put; zero if there is none.
	Oldest time.Time
}

// SetAside returns the name that Open gave to a file which it could not use,
// "" if there was none. Somebody must look at it: messages in it were not sent.
func (f *File) SetAside() string { return f.aside }

// Notice returns what an operator should know about how Open found the file:
// that it was set aside, and why, or that its last change may be undone. It is
// "" when all was in order, which a kill -9 does not change.
func (f *File) Notice() string { return f.notice }

// Path returns the file's path without symbolic links.
func (f *File) Path() string { return f.path }

// Put appends a message to the queue of its type. When it returns nil the
// record is on disk. after is the last stream ID that was seen before the
// message was first sent, "" for none. m.Body is not kept.
//
// A message whose ID the queue holds already is not put again, whatever its
// body: so Put may be repeated after an error. [ErrFull] refuses the message;
// one without ID or type is [message.ErrInvalid]. After another error, as of a
// full disk, the record is not there unless the disk failed in its last step;
// [File.Head] tells.
func (f *File) Put(m message.Outgoing, after string) error {
	r := Record{Outgoing: m, After: after, PutAt: time.Now().UTC().Round(0)}
	if err := r.check(); err != nil {
		return f.fail("put", err)
	}
	return f.change("put", func() error {
		if _, found := f.index.place(m.Type, m.ID); found {
			return nil
		}
		n := f.index.last + 1
		head := r.encode(n)
		size := len(head) + len(r.Body)
		if f.maxBytes >= 0 && int64(size) > f.maxBytes-f.index.bytes {
			all := f.index.stats(nil)
			return refusal{fmt.Errorf("%w: %d messages take %d bytes of %d, this one takes %d",
				ErrFull, all.Len, all.Bytes, f.maxBytes, size)}
		}
		sealed := f.index.seal.turn(head, 1)
		err := f.db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists(queueBucket(m.Type))
			if err != nil {
				return err
			}
			bucket.FillPercent = 1 // records are appended only
			inner, err := bucket.CreateBucket(newKey(n, bodyPart))
			if err != nil {
				return err
			}
			return errors.Join(
				bucket.Put(newKey(n, headPart), head),
				inner.Put([]byte(bodyKey), r.Body),
				sealed.write(tx),
			)
		})
		if err == nil {
			f.know(func() {
				f.index.add(&r, n, size)
				f.index.seal = sealed
			})
		}
		return err
	})
}

// Head returns the record that was put first among those of the given types,
// of one queue or of several whose messages share a channel. http tells that
// the fallback took it already, after is what Put or SetAfter said. m is the
// caller's; its ID is "" when the queues are empty.
func (f *File) Head(types ...message.Type) (m message.Outgoing, after string, http bool, err error) {
	r, err := f.first("head", types, func(queue *bbolt.Bucket) (key, head []byte) { return queue.Cursor().First() })
	return r.Outgoing, r.After, r.HTTP, err
}

// Unposted returns the record that was put first among those of the given types
// which the fallback did not take. m is the caller's; its ID is "" when there is
// none.
func (f *File) Unposted(types ...message.Type) (m message.Outgoing, err error) {
	r, err := f.first("unposted", types, firstUnposted)
	return r.Outgoing, err
}

// firstUnposted looks through the heads of a queue. Those in front are posted
// already, mostly.
func firstUnposted(queue *bbolt.Bucket) (key, head []byte) {
	cursor := queue.Cursor()
	for key, head = cursor.First(); key != nil; key, head = cursor.Next() {
		if key[len(key)-1] == headPart && (len(head) < headSize || head[4]&flagHTTP == 0) {
			break
		}
	}
	return key, head
}

// first returns the record that was put first among those that find gives for
// the queues of the types; a zero one if it gives none.
func (f *File) first(op string, types []message.Type, find func(*bbolt.Bucket) (key, head []byte)) (r Record, err error) {
	err = f.view(op, func(tx *bbolt.Tx) error {
		var queue *bbolt.Bucket
		var key, head []byte
		var typ message.Type
		for _, t := range types {
			bucket := tx.Bucket(queueBucket(t))
			if bucket == nil {
				continue
			}
			if k, v := find(bucket); k != nil && (key == nil || bytes.Compare(k, key) < 0) {
				queue, key, head, typ = bucket, k, v, t
			}
		}
		if key == nil {
			return nil
		}
		found, err := readRecord(typ, queue, key, head)
		if err != nil {
			return err
		}
		found.Body = append([]byte{}, found.Body...)
		r = found
		return nil
	})
	return r, err
}

// MarkHTTP records that the fallback took a message. A message that is not in
// the queue is [fs.ErrNotExist].
func (f *File) MarkHTTP(t message.Type, id string) error {
	return f.edit("markhttp", t, id, func(r *Record) bool {
		changed := !r.HTTP
		r.HTTP = true
		return changed
	})
}

// SetAfter records the last stream ID that was seen before a message was first
// sent. A message that is not in the queue is [fs.ErrNotExist].
func (f *File) SetAfter(t message.Type, id, after string) error {
	if err := (&Record{Outgoing: message.Outgoing{ID: id, Type: t}, After: after}).check(); err != nil {
		return f.fail("setafter", err)
	}
	return f.edit("setafter", t, id, func(r *Record) bool {
		changed := r.After != after
		r.After = after
		return changed
	})
}

// Remove takes the head off a queue, named by its ID. One that is not in the
// queue was removed before, and is no error; one that is not the head is
// [ErrNotHead].
func (f *File) Remove(t message.Type, id string) error {
	return f.change("remove", func() error {
		n, found := f.index.place(t, id)
		if !found {
			return nil
		}
		var size int
		var next time.Time
		var sealed seal
		err := f.db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(queueBucket(t))
			cursor := bucket.Cursor()
			key, head := cursor.First()
			if number(key) != n {
				return refusal{ErrNotHead}
			}
			r, err := readRecord(t, bucket, key, head)
			if err != nil {
				return err
			}
			size, sealed = len(head)+len(r.Body), f.index.seal.turn(head, -1)
			cursor.Next() // the body
			if _, second := cursor.Next(); second != nil {
				next = putAt(second)
			}
			return errors.Join(
				bucket.Delete(newKey(n, headPart)),
				bucket.DeleteBucket(newKey(n, bodyPart)),
				sealed.write(tx),
			)
		})
		if err == nil {
			f.know(func() {
				f.index.remove(t, id, size, next)
				f.index.seal = sealed
			})
		}
		return err
	})
}

// Stats tells how much waits in the queues of the given types, or in all when
// none is given. It reads no file and does not fail.
func (f *File) Stats(types ...message.Type) Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index.stats(types)
}

// Len tells how many records wait in the queues of the given types, or in all
// when none is given. It reads no file and does not fail.
func (f *File) Len(types ...message.Type) int { return f.Stats(types...).Len }

// Types returns the types that have a record, sorted.
func (f *File) Types() []message.Type {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index.types()
}

// All lists the records, type by type and in order within each. Their bodies
// are the caller's. It is no snapshot: the file may be used and changed while
// it is listed, also from within the loop, and a record that is put or removed
// meanwhile may be listed or not. After an error the listing ends. Ranging
// again reads again.
func (f *File) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, t := range f.Types() {
			// A transaction of its own for each record: one that was open while
			// the loop's body puts a record could wait for itself.
			for from := newKey(0, headPart); ; {
				var r Record
				var n uint64
				err := f.view("all", func(tx *bbolt.Tx) error {
					bucket := tx.Bucket(queueBucket(t))
					if bucket == nil {
						return nil
					}
					key, head := bucket.Cursor().Seek(from)
					if key == nil {
						return nil
					}
					var err error
					r, err = readRecord(t, bucket, key, head)
					r.Body = append([]byte{}, r.Body...)
					n = number(key)
					return err
				})
				if err != nil {
					yield(Record{}, err)
					return
				}
				if n == 0 {
					break
				}
				if !yield(r, nil) {
					return
				}
				from = newKey(n, endPart)
			}
		}
	}
}

// Close ends the use of the file and lets others have it. It waits for the
// methods that run; those that come later fail with [fs.ErrClosed], but for
// Stats and Types, which say what was last known. Closing again does nothing.
func (f *File) Close() error {
	f.token <- struct{}{}
	defer func() { <-f.token }()
	if f.closed {
		return nil
	}
	f.closed = true
	if err := errors.Join(f.db.Close(), unlock(f.lock)); err != nil {
		return f.fail("close", err)
	}
	return nil
}

// refusal is an error that came before anything was written.
type refusal struct{ error }

// change runs do as the only one that changes the file. do reads the index
// without the mutex, as nobody else writes it.
func (f *File) change(op string, do func() error) error {
	f.token <- struct{}{}
	defer func() { <-f.token }()
	if f.closed {
		return f.fail(op, fs.ErrClosed)
	}
	err := do()
	if err == nil {
		return nil
	}
	if r, ok := err.(refusal); ok {
		return f.fail(op, r.error)
	}
	// bbolt's last step can fail after it has shown the change.
	var now index
	if f.db.View(func(tx *bbolt.Tx) (err error) { now, _, err = readIndex(tx); return err }) == nil {
		f.know(func() { f.index = now })
	}
	return f.fail(op, err)
}

// know changes the index; the token is held.
func (f *File) know(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// edit writes a record's head anew if do changed it.
func (f *File) edit(op string, t message.Type, id string, do func(*Record) bool) error {
	return f.change(op, func() error {
		n, found := f.index.place(t, id)
		if !found {
			return refusal{fmt.Errorf("message %s: %w", id, fs.ErrNotExist)}
		}
		var by int
		var sealed seal
		err := f.db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(queueBucket(t))
			key := newKey(n, headPart)
			head := bucket.Get(key)
			r, err := readRecord(t, bucket, key, head)
			if err != nil {
				return err
			}
			if !do(&r) {
				return errUnchanged
			}
			changed := r.encode(n)
			by, sealed = len(changed)-len(head), f.index.seal.turn(head, -1).turn(changed, 1)
			return errors.Join(bucket.Put(key, changed), sealed.write(tx))
		})
		switch {
		case errors.Is(err, errUnchanged):
			return nil
		case err == nil:
			f.know(func() {
				f.index.resize(t, by)
				f.index.seal = sealed
			})
		}
		return err
	})
}

// errUnchanged ends a transaction that has nothing to write.
var errUnchanged = errors.New("unchanged")

func (f *File) view(op string, do func(*bbolt.Tx) error) error {
	if err := f.db.View(do); err != nil {
		return f.fail(op, err)
	}
	return nil
}

func (f *File) fail(op string, err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = fs.ErrClosed
	}
	if d, ok := errors.AsType[*damage](err); ok {
		err = fmt.Errorf("damaged since it was opened: %w; restart to set it aside", d)
	}
	return &Error{Op: op, Path: f.path, Err: err}
}

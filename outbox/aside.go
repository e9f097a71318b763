package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
)

// SetAside takes a record out of its queue and keeps it for an operator, with
// the reason: what is behind it follows. It needs no room. A record that is not
// in the queue is no error.
func (f *File) SetAside(t message.Type, id, why string) error {
	return f.use("setaside", func() error {
		e := f.index.find(Waiting, t, id)
		if e == nil {
			return nil
		}
		body, err := f.body(e)
		if err != nil {
			return f.quarantineIf(e, err)
		}
		r := e.Record
		r.Body, r.State, r.Refused = body, SetAside, reason(why)
		old := []*entry{e}
		if before := f.index.find(SetAside, t, id); before != nil {
			old = append(old, before)
		}
		return f.replace(old, r, e.n, nil)
	})
}

// Requeue puts a record that was set aside at the end of its queue, without its
// marks. If the queue has its ID, only the one set aside goes. A record that is
// not there is [fs.ErrNotExist]; a damaged one is [ErrDamaged]; [ErrFull] leaves
// it where it is.
func (f *File) Requeue(t message.Type, id string) error {
	return f.use("requeue", func() error {
		e := f.index.find(SetAside, t, id)
		switch {
		case e == nil:
			return fmt.Errorf("message %s: %w", id, fs.ErrNotExist)
		case e.State == Damaged:
			return fmt.Errorf("message %s: %w", id, ErrDamaged)
		case f.index.find(Waiting, t, id) != nil:
			return f.drop(e)
		}
		body, err := f.body(e)
		if err != nil {
			if err := f.quarantineIf(e, err); err != nil {
				return err
			}
			return fmt.Errorf("message %s: %w", id, ErrDamaged)
		}
		r := Record{Queued: message.Queued{Outgoing: e.Outgoing, PutAt: e.PutAt}, State: Waiting}
		r.Body = body
		return f.append(r, []*entry{e}, f.index.last+1)
	})
}

// Discard takes a record away that was set aside. One that is not there is
// [fs.ErrNotExist].
func (f *File) Discard(t message.Type, id string) error {
	return f.use("discard", func() error {
		e := f.index.find(SetAside, t, id)
		if e == nil {
			return fmt.Errorf("message %s: %w", id, fs.ErrNotExist)
		}
		return f.drop(e)
	})
}

// replace takes records away and stores r as number n. found is the head of a
// damaged one.
func (f *File) replace(old []*entry, r Record, n uint64, found []byte) error {
	e, head := newEntry(r, n)
	body := r.Body
	return f.write(old, []*entry{e}, func(tx *bbolt.Tx) error {
		for _, e := range old {
			if err := erase(tx, e); err != nil {
				return err
			}
		}
		if err := store(tx, e, head, body); err != nil || found == nil {
			return err
		}
		inner := tx.Bucket(bucketName(e.Type, e.State)).Bucket(newKey(n, bodyPart))
		return inner.Put([]byte(headKey), found)
	})
}

// quarantineIf sets a record aside if err says that it is damaged. The error is
// err if it says anything else.
func (f *File) quarantineIf(e *entry, err error) error {
	found, isDamage := errors.AsType[*damage](err)
	if !isDamage || f.lost != nil {
		return err
	}
	b := broken{t: e.Type, state: e.State, n: e.n, why: found.why}
	return f.quarantine([]broken{b}, []*entry{e})
}

// quarantine keeps damaged records apart, with the bytes that were found. known
// are those of them that the index has.
func (f *File) quarantine(found []broken, known []*entry) error {
	ix := f.index
	sealed := ix.seal
	for _, e := range known {
		sealed = sealed.turn(e.sum, -1)
	}
	var fresh []*entry
	err := f.guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			for _, b := range found {
				e, err := b.move(tx, func(id string) bool { return ix.find(SetAside, b.t, id) != nil || has(fresh, b.t, id) })
				if err != nil {
					return err
				}
				sealed = sealed.turn(e.sum, 1)
				fresh = append(fresh, e)
			}
			return sealed.write(tx)
		})
	})
	if err != nil {
		f.reread()
		return err
	}
	f.know(func() {
		for _, e := range known {
			f.index.remove(e)
		}
		for _, e := range fresh {
			f.index.add(e)
		}
	})
	for _, e := range fresh {
		f.logger.Error("a damaged record of the outbox was set aside", slog.String("path", f.path),
			slog.String("type", string(e.Type)), slog.String("message_id", e.ID), slog.String("err", e.Refused))
	}
	return nil
}

func has(entries []*entry, t message.Type, id string) bool {
	for _, e := range entries {
		if e.Type == t && e.ID == id {
			return true
		}
	}
	return false
}

// move takes a damaged record to those set aside, as it is. taken tells whether
// an ID is.
func (b *broken) move(tx *bbolt.Tx, taken func(id string) bool) (*entry, error) {
	bucket := tx.Bucket(bucketName(b.t, b.state))
	if bucket == nil {
		return nil, damagef("the queue of record %d is missing", b.n)
	}
	head := append([]byte{}, bucket.Get(newKey(b.n, headPart))...)
	var body []byte
	inner := bucket.Bucket(newKey(b.n, bodyPart))
	if inner != nil {
		body = append([]byte{}, inner.Get([]byte(bodyKey))...)
		if err := bucket.DeleteBucket(newKey(b.n, bodyPart)); err != nil {
			return nil, err
		}
	}
	if err := bucket.Delete(newKey(b.n, headPart)); err != nil {
		return nil, err
	}
	r := Record{Queued: message.Queued{Outgoing: message.Outgoing{Type: b.t, Body: body}, Refused: b.why}, State: Damaged}
	if e, ok := parseHead(b.t, head); ok && readable(e.ID) && !taken(e.ID) {
		r.ID, r.PutAt = e.ID, e.PutAt
	}
	if r.ID == "" {
		r.ID = fmt.Sprintf("damaged-%d", b.n)
	}
	e, fresh := newEntry(r, b.n)
	if err := store(tx, e, fresh, body); err != nil {
		return nil, err
	}
	inner = tx.Bucket(bucketName(b.t, Damaged)).Bucket(newKey(b.n, bodyPart))
	return e, inner.Put([]byte(headKey), head)
}

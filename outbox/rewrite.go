package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

// The space of removed records stays in bbolt's file, and so do their bytes until
// it is used again; and every change writes the list of it. So the file is
// rewritten, under another name and then in place of the old one, when as much was
// removed as is left and its queues are empty or it is large. Removing the last
// record is one rewrite and nothing else, so it costs no more.

const (
	freshSuffix = ".new"
	largeFile   = 1 << 20
	batchBytes  = 8 << 20
)

// item is a record that goes into a new file.
type item struct {
	Record        // Body is nil if e has it
	found  []byte // the head of a damaged record
	e      *entry // where it is; nil: Body has it
}

// Compact rewrites the file with what it holds and nothing else: the bytes of
// records that were taken away are gone then. The file does so by itself when
// its queues become empty, or when much was taken away.
func (f *File) Compact() error {
	return f.use("compact", func() error { return f.rewriteWith(nil) })
}

// rewriteWith rewrites the file with further items before its own. A record that
// has become damaged is kept apart; the others do not wait for it.
func (f *File) rewriteWith(first []item) error {
	for {
		err := f.rewrite(slices.Concat(first, f.items(nil)))
		bad, ok := errors.AsType[*unreadable](err)
		if !ok {
			return err
		}
		if err := f.quarantineIf(bad.e, bad.err); err != nil {
			return err
		}
	}
}

// unreadable is a record that could not be read for a new file.
type unreadable struct {
	e   *entry
	err error
}

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// items are all records but one, in their order.
func (f *File) items(but *entry) (all []item) {
	for _, s := range []*shelf{&f.index.waiting, &f.index.aside} {
		s.each(s.types(), func(e *entry) bool {
			if e != but {
				all = append(all, item{Record: e.Record, e: e})
			}
			return false
		})
	}
	return all
}

// dropByRewriting removes a record by rewriting the file, if that is worth it and
// works.
func (f *File) dropByRewriting(e *entry) (done bool, err error) {
	left := f.index.waiting.bytes + f.index.aside.bytes - int64(e.size)
	waiting := f.index.waiting.len()
	if e.State == Waiting {
		waiting--
	}
	if f.removed+int64(e.size) < left || waiting > 0 && f.size < largeFile {
		return false, nil
	}
	before := f.file
	err = f.rewrite(f.items(e))
	if err != nil && f.file == before {
		f.removed = 0 // not before as much is taken away again
		return false, nil
	}
	return true, err
}

// tidy rewrites a large file that holds little.
func (f *File) tidy() {
	left := f.index.waiting.bytes + f.index.aside.bytes
	if f.size >= largeFile && left < f.size/8 || left == 0 && f.size > 1<<16 {
		_ = f.rewrite(f.items(nil)) // it stays as it is, else
	}
}

// rewrite makes a new file of the items, numbered anew, and puts it in the
// place of this one. Before that an error changes nothing.
func (f *File) rewrite(items []item) error {
	name := f.path + freshSuffix
	_ = os.Remove(name)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, fileMode)
	if err != nil {
		return err
	}
	next := &File{path: f.path, file: file, index: newIndex()}
	err = tryLock(file)
	if err == nil {
		// A fault of its pages says nothing of those of f.
		err = next.survive(func() error { return f.fill(next, items) })
	}
	if err == nil {
		err = os.Rename(name, f.path)
	}
	if err != nil {
		return errors.Join(err, next.release(), os.Remove(name))
	}
	old := &File{file: f.file, db: f.db, stuck: f.stuck}
	f.db, f.file, f.size, f.removed = next.db, next.file, 0, 0
	f.know(func() { f.index = next.index })
	_ = old.release()
	return errors.Join(syncDir(filepath.Dir(f.path)), f.check())
}

// fill writes the items into a new file.
func (f *File) fill(next *File, items []item) (err error) {
	if next.db, err = openDatabase(next.file, true); err != nil {
		return err
	}
	err = next.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte(formatBucket))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(formatKey), []byte(formatValue))
	})
	for err == nil && len(items) > 0 {
		err = next.db.Update(func(tx *bbolt.Tx) error {
			for size := 0; len(items) > 0 && size < batchBytes; items = items[1:] {
				it := items[0]
				if it.e != nil {
					var err error
					if it.Body, it.found, err = f.bytes(it.e); err != nil {
						return &unreadable{it.e, err}
					}
				}
				e, head := newEntry(it.Record, next.index.last+1)
				if err := store(tx, e, head, it.Body); err != nil {
					return err
				}
				if it.found != nil {
					inner := tx.Bucket(bucketName(e.Type, e.State)).Bucket(newKey(e.n, bodyPart))
					if err := inner.Put([]byte(headKey), it.found); err != nil {
						return err
					}
				}
				size += e.size
				next.index.add(e)
			}
			return next.index.seal.write(tx)
		})
	}
	if err != nil {
		return err
	}
	next.db.NoSync, next.db.NoGrowSync = false, false
	return next.file.Sync()
}

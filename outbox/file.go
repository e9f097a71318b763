package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// File is an open outbox. Its methods may be called by several goroutines; they
// run one at a time, and those that change the file block for a disk's sync or
// two. All errors are an [*Error].
//
// Every method that uses the file compares it with its path first, and fails
// when the file was removed, replaced or made shorter. A file that cannot be
// trusted any more takes no message until it is opened again.
type File struct {
	path     string
	maxBytes int64
	logger   *slog.Logger
	notice   string // what was odd when it was opened

	// token is held by the one that uses the file: a channel and not a mutex,
	// because it is held over disk I/O. The fields below are its holder's, who
	// alone writes the index and may read it without the mutex.
	token   chan struct{}
	closed  bool
	claimed bool
	db      *bbolt.DB
	file    *os.File // db's, and its lock
	size    int64    // it was never shorter
	removed int64    // bytes of records that were taken away since it was made
	lost    error    // why the file cannot be trusted any more
	stuck   bool     // db panicked and may hold its own locks: leave it alone

	mu    sync.Mutex // guards index against its readers; never held over I/O
	index index
}

// Stats says how much the file holds.
type Stats struct {
	Len   int   // records that wait
	Bytes int64 // what they take, as Options.MaxBytes counts
	// Oldest is when the first of them was put; zero if there is none.
	Oldest time.Time
	// Aside and AsideBytes count the records set aside, damaged ones included.
	Aside      int
	AsideBytes int64
}

// Path returns the file's path without symbolic links.
func (f *File) Path() string { return f.path }

// Claim makes its caller the only one that may send what the file holds. A
// second Claim is [ErrInUse], until the file is closed and opened again: two
// publishers would each send every record.
func (f *File) Claim() error {
	return f.use("claim", func() error {
		if f.claimed {
			return ErrInUse
		}
		f.claimed = true
		return nil
	})
}

// Stats says how much the queues of the given types hold, or all when none is
// given. It reads no file and does not fail.
func (f *File) Stats(types ...message.Type) Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index.stats(types)
}

// Len counts the records that wait in the queues of the given types, or in all
// when none is given. It reads no file and does not fail.
func (f *File) Len(types ...message.Type) int { return f.Stats(types...).Len }

// Oldest returns when the record was put that waits longest in the queues of the
// given types, or in all when none is given; zero if none waits.
func (f *File) Oldest(types ...message.Type) time.Time { return f.Stats(types...).Oldest }

// Types returns the types that have a record waiting, sorted.
func (f *File) Types() []message.Type {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.index.waiting.types()
}

// Close ends the use of the file and lets others have it. It waits for the
// methods that run; those that come later fail with [fs.ErrClosed], but for
// Stats, Len and Types, which say what was last known. Closing again does
// nothing.
func (f *File) Close() error {
	f.token <- struct{}{}
	defer func() { <-f.token }()
	if f.closed {
		return nil
	}
	f.closed = true
	if named, _ := isAt(f.file, f.path); named {
		_ = os.Remove(f.path + holderSuffix)
	}
	if err := f.release(); err != nil {
		return f.fail("close", err)
	}
	return nil
}

// use runs do as the only one that uses the file.
func (f *File) use(op string, do func() error) error {
	f.token <- struct{}{}
	defer func() { <-f.token }()
	if f.closed {
		return f.fail(op, fs.ErrClosed)
	}
	if f.lost != nil {
		return f.fail(op, f.lost)
	}
	if err := f.check(); err != nil {
		return f.fail(op, err)
	}
	if err := do(); err != nil {
		return f.fail(op, err)
	}
	return nil
}

// check compares the open file with its path. The token is held.
func (f *File) check() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.size {
		f.distrust(damagef("it was cut to %d bytes by another program and had %d", info.Size(), f.size))
		return f.lost
	}
	f.size = info.Size()
	named, err := isAt(f.file, f.path)
	if err == nil && !named {
		err = errGone
	}
	return err
}

var errGone = errors.New("the file was removed or replaced while it was in use; put it back under its name, or restart to begin a new one: what this one holds is lost then")

// view reads the file. The token is held.
func (f *File) view(do func(*bbolt.Tx) error) error {
	return f.guard(func() error { return f.db.View(do) })
}

// write changes the file and then, by know, the index. It takes the entries of
// old away and puts those of fresh in. The token is held.
func (f *File) write(old, fresh []*entry, do func(*bbolt.Tx) error) error {
	sealed := f.index.seal
	for _, e := range old {
		sealed = sealed.turn(e.sum, -1)
	}
	for _, e := range fresh {
		sealed = sealed.turn(e.sum, 1)
	}
	err := f.guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error { return errors.Join(do(tx), sealed.write(tx)) })
	})
	if err != nil {
		f.reread()
		return err
	}
	f.know(func() {
		for _, e := range old {
			f.index.remove(e)
		}
		for _, e := range fresh {
			f.index.add(e)
		}
	})
	return f.check() // what was written to a file without a name is lost
}

// reread learns what became of a change that failed: bbolt's last step can fail
// after it has shown the change.
func (f *File) reread() {
	if f.lost != nil {
		return
	}
	var now index
	err := f.view(func(tx *bbolt.Tx) (err error) { now, _, err = readIndex(tx); return err })
	switch {
	case err == nil:
		f.know(func() { f.index = now })
	case f.lost == nil:
		f.distrust(err)
	}
}

// know changes the index; the token is held.
func (f *File) know(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// guard runs a transaction. bbolt panics on pages that contradict each other,
// and reading a memory map behind the end of its file is a fault of memory:
// both become an error here, and the end of the trust in the file.
func (f *File) guard(do func() error) error {
	stuck := f.stuck
	err := f.survive(do)
	if f.stuck && !stuck {
		f.distrust(err)
		return f.lost
	}
	return err
}

// survive makes a panic of bbolt, or a fault of the memory that shows its pages,
// an error.
func (f *File) survive(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil { // what it says may quote the file
			f.stuck = true
			err = damagef("its pages contradict each other or cannot be read")
		}
	}()
	return do()
}

// distrust ends the use of a file that a restart would set aside: what it took
// from now on would be lost with it.
func (f *File) distrust(err error) {
	f.lost = fmt.Errorf("%w; restart: the file is set aside then, and fogis-pubsub outbox salvage reads it", err)
	f.logger.Error("the outbox file cannot be trusted any more", slog.String("path", f.path), slog.Any("err", err))
}

func (f *File) fail(op string, err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = fs.ErrClosed
	}
	return &Error{Op: op, Path: f.path, Err: err}
}

package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// fileMode is for the owner only: the file holds personal data.
const fileMode = 0o600

// DefaultMaxBytes is what a file may hold: some 250 snapshots of 40 matches.
const DefaultMaxBytes = 64 << 20

// Options holds the settings of a [File]. The zero value is ready to use.
type Options struct {
	// MaxBytes bounds what the records take together: their bodies and some 60
	// bytes more for each. Zero is [DefaultMaxBytes], negative is no bound. A
	// file that holds more already, from a time with a higher bound, takes
	// nothing new until it holds less. The file on the disk becomes larger than
	// that: by a quarter for snapshots, up to four times for messages of some
	// 1 KB, because a body begins a page of 4 KB unless it is very small. It
	// shrinks when its queues are empty, and its room is used again before.
	MaxBytes int64
	// Logger gets an error for each record that is found damaged; nil:
	// [slog.Default].
	Logger *slog.Logger
}

// Open opens the file at path, or makes it, with mode 0600. Its directory must
// exist. A symbolic link is followed first.
//
// A damaged outbox is renamed to path + ".set-aside-" + the time in UTC, and a
// new one begun in its place; [File.Problems] tells. All of it is read to know
// that. Single damaged records are set aside within the file. What is no outbox,
// or one of a newer version, is an error, and stays untouched; so does a file
// of another user.
//
// The error is an [*Error]. It wraps [ErrInUse] if another process has the
// file; Open does not wait for that one to end, but up to 100 ms for it to give
// its process ID.
func Open(path string, opts Options) (*File, error) {
	f, err := open(path, opts)
	if err == nil {
		return f, nil
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		err = &Error{Op: "open", Path: path, Err: err}
	}
	return nil, err
}

func open(path string, opts Options) (*File, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, maxBytes: opts.MaxBytes, token: make(chan struct{}, 1), logger: opts.Logger}
	if f.logger == nil {
		f.logger = slog.Default()
	}
	if f.maxBytes == 0 {
		f.maxBytes = DefaultMaxBytes
	}
	if err := f.take(); err != nil {
		return nil, err
	}
	_ = os.Remove(path + freshSuffix) // of a process that was killed
	nameHolder(path)
	f.tidy()
	return f, nil
}

// take holds and loads the file, or sets it aside and begins a new one.
func (f *File) take() (err error) {
	if f.file, err = hold(f.path); err != nil {
		return err
	}
	err = f.load()
	if err == nil {
		return nil
	}
	// The old one is held until the new one is, so that nobody comes between.
	old := &File{file: f.file, db: f.db, stuck: f.stuck}
	defer func() { _ = old.release() }()
	found, isDamage := errors.AsType[*damage](err)
	if !isDamage {
		return err
	}
	name, err := setAside(f.path, time.Now())
	if err != nil {
		return fmt.Errorf("cannot set the file aside, %s: %w", found.why, err)
	}
	f.logger.Error("the damaged outbox file was set aside", slog.String("path", name), slog.String("err", found.why))
	f.db, f.lost, f.stuck, f.size, f.index = nil, nil, false, 0, newIndex()
	if f.file, err = hold(f.path); err != nil {
		return err
	}
	if err := f.load(); err != nil {
		return errors.Join(err, f.release())
	}
	return nil
}

// release closes the file and gives its lock back.
func (f *File) release() error {
	if f.db != nil && !f.stuck {
		return f.db.Close()
	}
	err := errors.Join(release(f.file), f.file.Close())
	if errors.Is(err, fs.ErrClosed) { // by bbolt, which could not open it
		err = nil
	}
	return err
}

// load judges a file that is held and reads its index. If the error is a
// [*damage], the file is to be set aside.
func (f *File) load() error {
	lame, err := judge(f.file)
	if err != nil && !isDamage(err) {
		return err
	}
	info, statErr := f.file.Stat()
	if statErr != nil {
		return statErr
	}
	// Before a byte is written, or it is renamed; but not if it is foreign.
	if err != nil || info.Size() == 0 {
		if err := own(f.file); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		// Half a file, as a full disk or a crash leaves, would be nobody's: it
		// gets its name when it is whole.
		if err := f.rewrite(nil); err == nil || f.db != nil || isDiskFull(err) {
			return err
		}
		// In a directory that may not be written, it is made in its place.
	}
	if lame {
		f.notice = "one of the outbox file's two headers was damaged: its last change may be undone"
	}
	return f.guard(func() (err error) {
		if f.db, err = openDatabase(f.file, false); err != nil {
			return err
		}
		return f.begin()
	})
}

// openDatabase lets bbolt use an open file, which it closes with the database.
func openDatabase(file *os.File, fresh bool) (*bbolt.DB, error) {
	db, err := bbolt.Open(file.Name(), fileMode, &bbolt.Options{
		// The lock is ours: only a program that does not know it can have bbolt's.
		Timeout:      time.Millisecond,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages is written: without it bbolt looks through the
		// whole file after a write that failed, and ends the process, by a panic
		// of a goroutine of its own, if a page is damaged.
		NoFreelistSync: false,
		NoSync:         fresh,
		NoGrowSync:     fresh,
		NoStatistics:   true,
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return file, nil },
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	return db, err
}

// begin reads the index, or marks a new file as ours.
func (f *File) begin() error {
	var version string
	var empty bool
	err := f.db.View(func(tx *bbolt.Tx) (err error) {
		version, empty, err = readFormat(tx)
		return err
	})
	if err != nil {
		return err
	}
	if err := own(f.file); err != nil {
		return err
	}
	if version != formatValue {
		err := f.db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte(formatBucket))
			if err != nil {
				return err
			}
			return bucket.Put([]byte(formatKey), []byte(formatValue))
		})
		if err != nil {
			return err
		}
	}
	var found []broken
	err = f.db.View(func(tx *bbolt.Tx) (err error) {
		f.index, found, err = readIndex(tx)
		return err
	})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		if err := f.quarantine(found, nil); err != nil {
			return err
		}
	}
	if empty {
		if err := syncDir(filepath.Dir(f.path)); err != nil {
			return err
		}
	}
	return f.check()
}

// resolve returns the path without symbolic links, so that the
// renamed file lie beside the file itself and two names of it are one.
func resolve(path string) (string, error) {
	if path == "" {
		return "", errors.New("no path given; name a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w; make the directory, for the user of this process only", err)
	}
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, filepath.Base(path))
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			info, err = os.Lstat(path)
		} else if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the symbolic link leads nowhere: %w", err)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("not a regular file; name a file")
	}
	return path, nil
}

// setAside renames a file to a name that is free and returns that.
func setAside(path string, now time.Time) (string, error) {
	base := path + asideSuffix + now.UTC().Format("20060102T150405.000Z")
	name := base
	for n := 2; ; n++ {
		// Who has the lock is alone here.
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
	if err := os.Rename(path, name); err != nil {
		return "", err
	}
	return name, syncDir(filepath.Dir(path))
}

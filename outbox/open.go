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
	// does not shrink, but its room is used again.
	MaxBytes int64
	// Logger gets an error for each record that is found damaged; nil:
	// [slog.Default].
	Logger *slog.Logger
}

// Open opens the file at path, or makes it, with mode 0600. Its directory must
// exist. A symbolic link is followed first.
//
// A file that is damaged, of another program or of another version is renamed
// to path + ".set-aside-" + the time in UTC, and a new one begun in its place:
// [File.SetAsideFile]. All of it is read to know that.
//
// The error is an [*Error]. It wraps [ErrInUse] if another process has the
// file; Open does not wait for that one to end, but up to 100 ms for it to give
// its process ID. A file that cannot be read or written is an error and stays
// where it is.
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

func open(path string, opts Options) (_ *File, err error) {
	path, err = resolve(path)
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
	f.lock, err = lock(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = unlock(f.lock)
		}
	}()

	err = f.load()
	if found, isDamage := errors.AsType[*damage](err); isDamage {
		f.aside, err = setAside(path, time.Now())
		if err != nil {
			return nil, fmt.Errorf("cannot set the file aside, %s: %w", found.why, err)
		}
		f.notice = fmt.Sprintf("the outbox file was set aside as %s and a new one begun: %s", f.aside, found.why)
		err = f.load()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// load opens the database and reads its index. The error is a [*damage] if the
// file is to be set aside; it is closed then.
func (f *File) load() error {
	lame, err := inspect(f.path)
	if err != nil {
		return err
	}
	db, err := bbolt.Open(f.path, fileMode, &bbolt.Options{
		// The lock is ours: only a program that does not know it can have bbolt's.
		Timeout:      time.Millisecond,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	if err := f.begin(db); err != nil {
		return errors.Join(err, db.Close())
	}
	if lame {
		f.notice = "one of the outbox file's two headers was damaged: its last change may be undone"
	}
	f.db = db
	return nil
}

// begin reads the index, or marks a new file as ours.
func (f *File) begin(db *bbolt.DB) error {
	var version string
	var empty bool
	err := db.View(func(tx *bbolt.Tx) (err error) {
		version, empty, err = readFormat(tx)
		return err
	})
	if err != nil {
		return err
	}
	if version != formatValue {
		err := db.Update(func(tx *bbolt.Tx) error {
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
	err = db.View(func(tx *bbolt.Tx) (err error) {
		f.index, found, err = readIndex(tx)
		return err
	})
	if err != nil {
		return err
	}
	f.db = db
	if len(found) > 0 {
		if err := f.quarantine(found, nil); err != nil {
			return err
		}
		f.notice = fmt.Sprintf("%d damaged records of the outbox were set aside", len(found))
	}
	if !empty {
		return nil
	}
	return syncDir(filepath.Dir(f.path))
}

// readFormat tells whose file it is. empty tells that it was never used.
func readFormat(tx *bbolt.Tx) (version string, empty bool, err error) {
	if key, _ := tx.Cursor().First(); key == nil {
		return "", true, nil
	}
	format := tx.Bucket([]byte(formatBucket))
	if format == nil {
		return "", false, damagef("a database of another program")
	}
	switch value := format.Get([]byte(formatKey)); {
	case value == nil:
		return "", false, damagef("a database of another program")
	case string(value) != formatValue && string(value) != formatBefore:
		return "", false, damagef("of another version than %s", formatValue)
	default:
		version = string(value)
	}
	return version, false, tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if _, _, ok := parseBucketName(name); !ok && string(name) != formatBucket || bucket == nil {
			return damagef("a database of another program")
		}
		return nil
	})
}

// inspect looks at the file before bbolt does, and closes it to others. No
// file and an empty one are in order: they are new.
func inspect(path string) (lame bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	lame, err = checkPages(file, info.Size())
	if err == nil && info.Mode().Perm()&^fileMode != 0 {
		// Who may use the file without owning it, or on a file system without
		// modes, cannot change this.
		_ = file.Chmod(fileMode)
	}
	return lame, err
}

// resolve returns the path without symbolic links, so that the lock and the
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
	base := path + ".set-aside-" + now.UTC().Format("20060102T150405.000Z")
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

package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// The lock is the operating system's, on a file of its own, so that it ends
// with the process whatever ends that, and holds while the outbox's file is
// looked at, renamed and made anew. It could not be bbolt's lock on that file:
// who waited for the lock of a file that was renamed meanwhile would have the
// wrong one.
//
// The process ID in the file is for people. It is written by the holder alone
// and is believed only while somebody holds the lock and, where that can be
// asked, the process lives: what a killed process left there names nobody.

const (
	lockSuffix = ".lock"
	// While a new holder has not written its ID yet, it is asked again.
	lockTries = 10
	lockPause = 10 * time.Millisecond
)

// lock takes the lock for the file of that path. The error is an [*Error] that
// wraps ErrInUse if somebody else has it.
func lock(path string) (*os.File, error) {
	f, err := openLock(path + lockSuffix)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		err := tryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrInUse) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		pid, host := readHolder(f)
		if pid != 0 || try == lockTries {
			_ = f.Close()
			return nil, &Error{Op: "open", Path: path, Err: ErrInUse, PID: pid, Host: host}
		}
		time.Sleep(lockPause)
	}
	// Only who cannot open the file needs the ID: without it, as on a full
	// disk, the lock holds all the same.
	host, _ := os.Hostname()
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+" "+host+"\n"), 0)
	}
	return f, nil
}

// unlock gives the lock back. Closing the file does that too, but not while a
// process that was just forked from this one still has it open.
func unlock(f *os.File) error {
	_ = f.Truncate(0)
	return errors.Join(release(f), f.Close())
}

// readHolder returns who says to have the lock; zero if nobody does, or one
// that no longer lives.
func readHolder(f *os.File) (pid int, host string) {
	var b [1024]byte
	n, _ := f.ReadAt(b[:], 0)
	text, whole := strings.CutSuffix(string(b[:n]), "\n")
	number, host, _ := strings.Cut(text, " ")
	pid, err := strconv.Atoi(number)
	if !whole || err != nil || pid <= 0 {
		return 0, ""
	}
	if here, err := os.Hostname(); err != nil || here != host {
		return pid, host
	}
	if !lives(pid) {
		return 0, ""
	}
	return pid, ""
}

// openLock opens the lock's file, which it makes if need be.
func openLock(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: errors.New("not a regular file; move it away")}
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
}

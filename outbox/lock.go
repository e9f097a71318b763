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

// The lock is the operating system's and lies on the file itself, so that it
// ends with the process whatever ends that, and nobody looks at a file that
// somebody else uses. Who has it has the file only while the path still leads
// to it: see hold.
//
// A file beside it, of the same name with ".lock" added, tells people who has
// the file: a process ID and a host. It locks nothing and may be missing. It is
// written by the holder alone, under another name first, so that a link that
// lies there is replaced and not followed. It is believed only while somebody
// has the lock and, where that can be asked, the process lives.

const (
	holderSuffix = ".lock"
	// While a new holder has not written its ID yet, it is asked again.
	lockTries = 10
	lockPause = 10 * time.Millisecond
	// How often the path may lead to another file just after it was locked.
	holdTries = 100
)

// hold opens the file at path, or makes it, and locks it. The error is an
// [*Error] that wraps ErrInUse if somebody else has it.
func hold(path string) (*os.File, error) {
	for range holdTries {
		file, err := openOrMake(path)
		if err != nil {
			return nil, err
		}
		if err := lockFile(file, path); err != nil {
			_ = file.Close()
			return nil, err
		}
		named, err := isAt(file, path)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if named {
			return file, nil
		}
		_ = file.Close() // it was renamed before it was locked
	}
	return nil, errors.New("the file is replaced again and again; see which program does that")
}

// openOrMake opens the file at path and does not follow a link.
func openOrMake(path string) (*os.File, error) {
	for range holdTries {
		file, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, fileMode)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
	}
	return nil, errors.New("the file is made and removed again and again; see which program does that")
}

// isAt tells whether the path leads to an open file.
func isAt(file *os.File, path string) (bool, error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, now), err
}

// lockFile takes the lock of a file, without waiting for the one that has it.
func lockFile(file *os.File, path string) error {
	for try := 1; ; try++ {
		err := tryLock(file)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrInUse) {
			return fmt.Errorf("lock: %w", err)
		}
		pid, host := readHolder(path)
		if pid != 0 || try == lockTries {
			return &Error{Op: "open", Path: path, Err: ErrInUse, PID: pid, Host: host}
		}
		time.Sleep(lockPause)
	}
}

// nameHolder tells who has the file. That fails on a full disk, for one, and
// the lock holds all the same.
func nameHolder(path string) {
	host, _ := os.Hostname()
	fresh := path + holderSuffix + ".new"
	_ = os.Remove(fresh) // of a process that was killed
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, fileMode)
	if err != nil {
		return
	}
	_, err = file.WriteString(strconv.Itoa(os.Getpid()) + " " + host + "\n")
	if errors.Join(err, file.Close()) != nil || os.Rename(fresh, path+holderSuffix) != nil {
		_ = os.Remove(fresh)
	}
}

// readHolder returns who says to have the file; zero if nobody does, or one
// that no longer lives.
func readHolder(path string) (pid int, host string) {
	info, err := os.Lstat(path + holderSuffix)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 1024 {
		return 0, ""
	}
	b, _ := os.ReadFile(path + holderSuffix)
	text, whole := strings.CutSuffix(string(b), "\n")
	number, host, _ := strings.Cut(text, " ")
	pid, err = strconv.Atoi(number)
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

package outbox

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

const noFollow = 0

const (
	lockFailImmediately = 1
	lockExclusive       = 2

	errLockViolation syscall.Errno = 33
)

// tryLock locks f without waiting. What is locked is a byte far behind the end,
// and not the one that bbolt locks.
func tryLock(f *os.File) error {
	where := syscall.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<31 - 1}
	proc := syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")
	done, _, err := proc.Call(f.Fd(), lockExclusive|lockFailImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&where)))
	switch {
	case done != 0:
		return nil
	case errors.Is(err, errLockViolation):
		return ErrInUse
	}
	return err
}

// release has nothing to do: a handle is not inherited here, and closing it ends
// the lock.
func release(*os.File) error { return nil }

// lives tells whether there is such a process.
func lives(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}

// own has nothing to do: a file has the rights of its directory here.
func own(*os.File) error { return nil }

// syncDir has nothing to do: Windows writes names with the files.
func syncDir(string) error { return nil }

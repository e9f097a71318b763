//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package outbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW

// tryLock locks f without waiting. The lock belongs to the open file, not to
// the process, so that a process is held off by itself too.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrInUse
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}

func release(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// lives tells whether there is such a process.
func lives(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// own makes a file its owner's alone, or refuses it: who else may write it could
// have put messages into it.
func own(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the file belongs to user %d and this process runs as %d; run it as that user, or change the file's owner", stat.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&^fileMode == 0 {
		return nil
	}
	if err := file.Chmod(fileMode); err != nil {
		return err
	}
	if info, err = file.Stat(); err == nil && info.Mode().Perm()&^fileMode != 0 {
		err = errors.New("others may read the file and its file system knows no permissions; name a file on another one")
	}
	return err
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems know no such thing.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

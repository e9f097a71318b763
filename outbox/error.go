package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
)

var (
	// ErrFull is wrapped when a message was refused because the file holds
	// Options.MaxBytes already. What it holds stays.
	ErrFull = errors.New("outbox is full")

	// ErrInUse is wrapped when another process, or another [File] of this one,
	// has the file. [Error] names it.
	ErrInUse = errors.New("outbox file is in use")

	// ErrDamaged is wrapped when a record cannot be put back into its queue,
	// because its bytes are not those that were recorded.
	ErrDamaged = errors.New("message is damaged")

	// errAsideFull is an ErrFull whose cure is another.
	errAsideFull = fmt.Errorf("%w", ErrFull)
)

// Error tells what could not be done with which file, and what may cure it. It
// unwraps to the cause: to a sentinel of this package, to [fs.ErrClosed] after
// Close, to [fs.ErrNotExist] for a record that is not there, to the error of
// the system, which names the file as well. It holds nothing of a message's
// content.
type Error struct {
	Op   string // the method's name in lower case
	Path string
	Err  error

	// PID is the process that has the file, zero if that is not known; only
	// with ErrInUse. Host is where it runs, as it calls itself; "" for here.
	// Containers that share a volume have different hosts.
	PID  int
	Host string
}

// Error names the file, the cause and the cure.
func (e *Error) Error() string {
	cause := e.Err.Error()
	if e.PID != 0 {
		cause += " by process " + strconv.Itoa(e.PID)
		if e.Host != "" {
			cause += " on " + e.Host
		}
	}
	s := "outbox: " + e.Op + " " + e.Path + ": " + cause
	if cure := cure(e.Err); cure != "" {
		s += " (" + cure + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func cure(err error) string {
	switch {
	case errors.Is(err, ErrInUse):
		return "stop the process that has it, or give this one a file of its own"
	case errors.Is(err, errAsideFull):
		return "requeue or discard them with fogis-pubsub outbox, or raise MaxBytes; this message was not recorded"
	case errors.Is(err, ErrDamaged):
		return "look at it with fogis-pubsub outbox show, then discard it"
	case errors.Is(err, ErrFull):
		return "see why nothing leaves it, or raise MaxBytes; this message was not recorded, what the file holds stays"
	case errors.Is(err, fs.ErrClosed):
		return "it was closed before its last user"
	case isDiskFull(err):
		return "free space on its disk or raise the limit of this user; what the file holds stays"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "the user of this process must be able to read and write the file and its directory"
	}
	return ""
}

// isDiskFull tells whether the disk, the user's quota or the process's limit
// for a file is used up.
func isDiskFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt does not wrap the errors of growing its file.
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}

// damage is why a file is set aside: in words that hold nothing of it.
type damage struct{ why string }

func (d *damage) Error() string { return d.why }

func damagef(format string, args ...any) error {
	return &damage{why: fmt.Sprintf(format, args...)}
}

package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

func init() {
	if os.Getenv(childVariable) == "change" {
		runtime.LockOSThread() // only the first thread is traced
	}
	children["change"] = func(args []string) error {
		return change(args[0], args[1], func() { fmt.Println("now") })
	}
}

// changes are what a process is killed in.
var changes = map[string]func(f *outbox.File) error{
	opening:    func(*outbox.File) error { return nil },
	"put":      func(f *outbox.File) error { return f.Put(outgoing(updates, 9), "9-9") },
	"remove":   func(f *outbox.File) error { return f.Remove(updates, id(1)) },
	"mark":     func(f *outbox.File) error { return f.Mark(marks(updates, 1, "1-1", true)) },
	"setaside": func(f *outbox.File) error { return f.SetAside(updates, id(1), "refused") },
	"requeue":  func(f *outbox.File) error { return f.Requeue(updates, id(3)) },
	"discard":  func(f *outbox.File) error { return f.Discard(updates, id(3)) },
	"compact":  (*outbox.File).Compact,
	"salvage": func(f *outbox.File) error {
		_, err := f.Salvage(f.Path() + asideName)
		return err
	},
}

const (
	opening   = "open"
	asideName = ".set-aside-20310506T170000.000Z"
)

// change opens a file, makes a change and closes it. It calls now before the
// change.
func change(name, path string, now func()) error {
	if name == opening {
		now()
	}
	f, err := outbox.Open(path, outbox.Options{Logger: silent})
	if err != nil {
		return err
	}
	if name != opening {
		now()
	}
	return errors.Join(changes[name](f), f.Close())
}

// imageOf is an outbox with these match updates waiting, from 100 on statuses,
// and with others set aside.
func imageOf(t *testing.T, waiting, aside []int) []byte {
	t.Helper()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{})
	for _, n := range waiting {
		put(t, f, []message.Type{updates, status}[n/100], n)
	}
	for _, n := range aside {
		put(t, f, updates, n)
		require.NoError(t, f.SetAside(updates, id(n), "no"))
	}
	require.NoError(t, f.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	return image
}

// A process is killed in each of its changes of the file system in turn. Each
// record is there once afterwards, as it was before the method or as it is after
// it, and the method can be called again.
func TestFile_killedAtEachStep(t *testing.T) {
	t.Parallel()
	image := imageOf(t, []int{1, 2, 100, 19, 101}, []int{3, 4})
	damaged := bytes.ReplaceAll(image, body(2), bytes.ToUpper(body(2)))
	require.NotEqual(t, image, damaged)
	for name, c := range map[string]struct {
		change string
		image  []byte
		aside  []byte
	}{
		"put":                   {"put", image, nil},
		"remove":                {"remove", image, nil},
		"remove the last":       {"remove", imageOf(t, []int{1}, nil), nil},
		"mark":                  {"mark", image, nil},
		"set aside":             {"setaside", image, nil},
		"requeue":               {"requeue", image, nil},
		"discard":               {"discard", image, nil},
		"discard the last":      {"discard", imageOf(t, nil, []int{3}), nil},
		"compact":               {"compact", image, nil},
		"salvage":               {"salvage", image, imageOf(t, []int{51, 102, 1, 101}, []int{4, 53})},
		"salvage into an empty": {"salvage", nil, image},
		"new file":              {opening, nil, nil},
		"damaged record":        {opening, damaged, nil},
		"damaged file":          {opening, lame(t), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := func() string {
				path := newPath(t)
				if c.image != nil {
					require.NoError(t, os.WriteFile(path, c.image, 0o600))
				}
				if c.aside != nil {
					require.NoError(t, os.WriteFile(path+asideName, c.aside, 0o600))
				}
				return path
			}
			before := reopened(t, fresh())
			path := fresh()
			require.NoError(t, change(c.change, path, func() {}))
			after := reopened(t, path)
			var kills int
			for ended := false; !ended; kills++ {
				path := fresh()
				ended = killIn(t, kills+1, c.change, path)
				records := reopened(t, path)
				if ended || !reflect.DeepEqual(before, records) {
					require.Equal(t, after, records, "killed in step %d", kills+1)
				} else if c.aside != nil {
					require.FileExists(t, path+asideName)
				}
				if err := change(c.change, path, func() {}); err != nil {
					require.ErrorIs(t, err, fs.ErrNotExist)
				}
				require.Equal(t, after, reopened(t, path), "again, after it was killed in step %d", kills+1)
				entries, err := filepath.Glob(path + "*")
				require.NoError(t, err)
				want := 1
				if c.aside != nil || name == "damaged file" {
					want = 2
				}
				require.Len(t, entries, want, "%v", entries)
			}
			require.Greater(t, kills, 4)
		})
	}
}

// reopened are the records of a file, without the time, which differs.
func reopened(t *testing.T, path string) (records []outbox.Record) {
	t.Helper()
	f := openAny(t, path, outbox.Options{})
	for _, r := range list(t, f) {
		r.PutAt = time.Time{}
		records = append(records, r)
	}
	require.NoError(t, f.Close())
	return records
}

// killIn runs a change in a process of its own and kills it, as kill -9 does, at
// its n-th change of the file system. Of a write the first half is done by then,
// anything else not. ended tells that there were fewer changes.
func killIn(t *testing.T, n int, args ...string) (ended bool) {
	t.Helper()
	runtime.LockOSThread() // the thread that starts a process traces it
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), childVariable+"=change")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no process may be traced here")
	}
	require.NoError(t, err)
	defer func() { _ = cmd.Process.Release() }()
	pid := cmd.Process.Pid
	wait := func() (now syscall.WaitStatus) {
		for {
			_, err := syscall.Wait4(pid, &now, syscall.WALL, nil)
			if err == nil {
				return now
			}
			require.ErrorIs(t, err, syscall.EINTR)
		}
	}
	require.True(t, wait().Stopped())
	const systemCall, killWithTracer = 1, 1 << 20
	require.NoError(t, syscall.PtraceSetOptions(pid, systemCall|killWithTracer))
	begun := false
	for signal := 0; ; {
		require.NoError(t, syscall.PtraceSyscall(pid, signal))
		now := wait()
		if now.Exited() {
			require.Zero(t, now.ExitStatus())
			return true
		}
		require.True(t, now.Stopped())
		if signal = int(now.StopSignal()); signal != int(syscall.SIGTRAP)|0x80 {
			continue
		}
		signal = 0
		switch stepBegins(t, pid, begun && n == 1) {
		case none:
			continue
		case word:
			begun = true
			continue
		}
		if !begun {
			continue
		}
		if n--; n == 0 {
			require.NoError(t, cmd.Process.Kill())
			for !now.Signaled() {
				now = wait()
			}
			return false
		}
	}
}

// What a process is about to do.
const (
	none = iota
	word // to say something
	step // to change files
)

// stepBegins tells what a process that is stopped is about to do. With half it
// does the first half of a write for it.
func stepBegins(t *testing.T, pid int, half bool) int {
	t.Helper()
	var call struct { // of linux/ptrace.h
		op   uint64 // its first byte; others are those of the architecture
		_    [2]uint64
		nr   uint64
		args [6]uint64
		_    [8]uint64
	}
	const getSyscallInfo, entry = 0x420e, 1
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, getSyscallInfo, uintptr(pid), unsafe.Sizeof(call), uintptr(unsafe.Pointer(&call)), 0, 0)
	require.Zero(t, errno)
	if *(*byte)(unsafe.Pointer(&call)) != entry {
		return none
	}
	switch call.nr {
	case syscall.SYS_OPENAT:
		if call.args[2]&syscall.O_CREAT != 0 {
			return step
		}
	case syscall.SYS_WRITE:
		if call.args[0] == 1 {
			return word
		}
		return step
	case syscall.SYS_FTRUNCATE, syscall.SYS_RENAMEAT, syscall.SYS_UNLINKAT, syscall.SYS_FCHMOD,
		syscall.SYS_FSYNC, syscall.SYS_FDATASYNC:
		return step
	case syscall.SYS_PWRITE64:
		if half {
			mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
			require.NoError(t, err)
			defer mem.Close()
			b := make([]byte, call.args[2]/2)
			_, err = mem.ReadAt(b, int64(call.args[1]))
			require.NoError(t, err)
			file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", pid, call.args[0]), os.O_WRONLY, 0)
			require.NoError(t, err)
			defer file.Close()
			_, err = file.WriteAt(b, int64(call.args[3]))
			require.NoError(t, err)
		}
		return step
	}
	return none
}

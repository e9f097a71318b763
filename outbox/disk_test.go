//go:build unix

package outbox_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

func init() {
	children["fill"] = fill
	children["open without room"] = func(args []string) error {
		limit := syscall.Rlimit{Cur: 10_000, Max: 10_000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		_, err := outbox.Open(args[0], outbox.Options{})
		return err
	}
	children["open"] = func(args []string) error {
		_, err := outbox.Open(args[0], outbox.Options{})
		return err
	}
}

// fill puts records until the process may write no more, as on a full disk,
// and then sees that the file still does what needs no room.
func fill(args []string) error {
	const room = 3 << 20
	limit := syscall.Rlimit{Cur: room, Max: room}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	f, err := outbox.Open(args[0], outbox.Options{})
	if err != nil {
		return err
	}
	var n int
	for ; err == nil; n++ {
		err = f.Put(outgoing(updates, n), "")
	}
	n-- // was not put
	e, ok := errors.AsType[*outbox.Error](err)
	if !ok || e.Op != "put" {
		return fmt.Errorf("another error: %w", err)
	}
	fmt.Println(n)
	fmt.Println(err)
	again := f.Put(outgoing(updates, n), "")
	if again == nil {
		return errors.New("the disk is full and yet is not")
	}
	for range 5 {
		m, err := f.First(all, updates)
		if err != nil {
			return err
		}
		m.Posted = true
		if err := f.Mark(m); err != nil {
			return fmt.Errorf("no room needed: %w", err)
		}
		if err := f.Remove(updates, m.ID); err != nil {
			return fmt.Errorf("no room needed: %w", err)
		}
	}
	if got := f.Stats().Len; got != n-5 {
		return fmt.Errorf("%d records, want %d", got, n-5)
	}
	// What was taken away makes room.
	for m := range 2 {
		if err := f.Put(outgoing(updates, 1000+m), ""); err != nil {
			return err
		}
	}
	return f.Close()
}

func TestFile_Put_fullDisk(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	out, err := child(t, "fill", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "outbox: put "+path)
	require.Contains(t, string(out), "(free space on its disk")
	var n int
	_, err = fmt.Sscan(string(out), &n)
	require.NoError(t, err)
	require.Greater(t, n, 10)

	f := open(t, path)
	records := list(t, f)
	require.Len(t, records, n-5+2)
	for i, r := range records[:n-5] {
		require.Equal(t, outgoing(updates, i+5), r.Outgoing)
	}
	put(t, f, updates, n)
}

// A file is made whole or not at all: half of one would be refused as foreign when
// there is room again.
func TestOpen_newFileOnAFullDisk(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for range 2 {
		out, err := child(t, "open without room", path).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "outbox: open "+path)
		require.Contains(t, string(out), "(free space on its disk")
	}
	put(t, open(t, path), updates, 1)
}

// Where only the file itself may be written, it is made in its place.
func TestOpen_newFileInADirectoryThatMayNotBeWritten(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Mkdir(path+".new", 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(path+".new", "x"), nil, 0o600))
	f := open(t, path)
	put(t, f, updates, 1)
	require.NoError(t, f.Close())
	require.Len(t, list(t, open(t, path)), 1)
}

// Nothing is renamed that the process is only not allowed to use.
func TestOpen_notAllowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(d) && os.Getuid() == 0; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		require.NoError(t, err)
		if info.Mode()&0o005 != 0o005 {
			require.NoError(t, os.Chmod(d, info.Mode()|0o005), "for the other user")
		}
		if d == os.TempDir() {
			break
		}
	}
	path := filepath.Join(dir, "outbox.db")
	f := open(t, path)
	put(t, f, updates, 1)
	require.NoError(t, f.Close())
	for name, forbid := range map[string]string{"file": path} {
		info, err := os.Stat(forbid)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(forbid, 0))
		out, err := openAsNobody(t, path)
		require.Error(t, err, name)
		require.Contains(t, string(out), "outbox: open "+path)
		require.Contains(t, string(out), forbid+": permission denied (the user of this process must", name)
		require.NoError(t, os.Chmod(forbid, info.Mode()))
	}
	require.NoError(t, os.Chmod(dir, 0o555))
	out, err := openAsNobody(t, filepath.Join(dir, "new.db"))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.Error(t, err)
	require.Contains(t, string(out), "new.db: permission denied (the user of this process must")
	require.Len(t, list(t, open(t, path)), 1)
	names, err := filepath.Glob(filepath.Join(dir, "*set-aside*"))
	require.NoError(t, err)
	require.Empty(t, names)
}

// openAsNobody opens the file in a process that is not root.
func openAsNobody(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	cmd := child(t, "open", path)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		// The test's program lies where only root may go.
		exe, err := os.ReadFile(cmd.Path)
		require.NoError(t, err)
		cmd.Path = filepath.Join(filepath.Dir(path), "program")
		if _, err := os.Stat(cmd.Path); err != nil {
			require.NoError(t, os.WriteFile(cmd.Path, exe, 0o755))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd.CombinedOutput()
}

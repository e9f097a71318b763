package outbox_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func init() {
	children["hold"] = holdFile
	children["work"] = work
}

// holdFile opens a file and says so, until its input ends.
func holdFile(args []string) error {
	f, err := outbox.Open(args[0], outbox.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return f.Close()
}

// hold starts a process that has the file. end lets it end by itself.
func hold(t *testing.T, path string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = child(t, "hold", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", &stderr)
	require.Equal(t, "open\n", line)
	return cmd, func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	}
}

func requireInUse(t *testing.T, path string, pid int) {
	t.Helper()
	f, err := outbox.Open(path, outbox.Options{})
	require.Nil(t, f)
	e := failure(t, err)
	require.ErrorIs(t, e, outbox.ErrInUse)
	require.Equal(t, pid, e.PID)
	require.Empty(t, e.Host)
	if pid != 0 {
		require.Contains(t, e.Error(), "by process "+strconv.Itoa(pid)+" (")
	}
}

func TestOpen_inUseNamesTheHolder(t *testing.T) {
	t.Parallel()
	path := newPath(t)

	f := open(t, path)
	requireInUse(t, path, os.Getpid())
	requireInUse(t, path, os.Getpid())
	require.NoError(t, f.Close())

	cmd, end := hold(t, path)
	requireInUse(t, path, cmd.Process.Pid)
	end()
	require.NoError(t, open(t, path).Close())

	cmd, _ = hold(t, path)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	killed, err := os.ReadFile(path + ".lock")
	require.NoError(t, err)
	require.Contains(t, string(killed), strconv.Itoa(cmd.Process.Pid))

	f = open(t, path)
	requireInUse(t, path, os.Getpid())

	// What the killed one left names nobody, should the next holder not have
	// come to write its own.
	require.NoError(t, os.WriteFile(path+".lock", killed, 0o600))
	requireInUse(t, path, 0)
	for _, half := range []string{"", strconv.Itoa(os.Getpid()), "\n", "-1 here\n", "word here\n"} {
		require.NoError(t, os.WriteFile(path+".lock", []byte(half), 0o600))
		requireInUse(t, path, 0)
	}
	require.NoError(t, os.WriteFile(path+".lock", []byte("4711 elsewhere\n"), 0o600))
	_, err = outbox.Open(path, outbox.Options{})
	require.ErrorContains(t, err, "in use by process 4711 on elsewhere (")
	require.NoError(t, f.Close())
}

func TestOpen_bboltToolHasTheFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, open(t, path).Close())
	end := holdWithBbolt(t, path)
	requireInUse(t, path, 0)
	end()
	require.NoError(t, open(t, path).Close())
}

// holdWithBbolt has the file open as a tool that does not know our lock.
func holdWithBbolt(t *testing.T, path string) (end func()) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	return func() { require.NoError(t, db.Close()) }
}

// work puts the records from a number on and removes every third time the
// oldest, and says what is done.
func work(args []string) error {
	f, err := outbox.Open(args[0], outbox.Options{})
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if notice(f) != "" {
		return errors.New(notice(f))
	}
	for n := from; ; n++ {
		if err := f.Put(outgoing(updates, n), ""); err != nil {
			return err
		}
		fmt.Println("put", n)
		if n%3 == 0 {
			m, err := f.First(all, updates)
			if err != nil {
				return err
			}
			if err := f.Remove(updates, m.ID); err != nil {
				return err
			}
			fmt.Println("removed", m.ID)
		}
	}
}

func TestFile_killedWhileItPuts(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var next int      // the first that was not put
	var first *string // the last that was removed
	for round := range 8 {
		cmd := child(t, "work", path, strconv.Itoa(next))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 10+7*round {
				require.NoError(t, cmd.Process.Kill())
			}
			what, value, _ := strings.Cut(lines.Text(), " ")
			if what == "put" {
				put, err := strconv.Atoi(value)
				require.NoError(t, err)
				require.Equal(t, next, put)
				next++
			} else {
				first = &value
			}
		}
		require.Error(t, cmd.Wait())
		require.Empty(t, stderr.String())

		f := open(t, path)
		records := list(t, f)
		require.NotEmpty(t, records)
		for i := range records {
			var n int
			_, err := fmt.Sscanf(records[i].ID, "00000000-0000-4000-8000-%d", &n)
			require.NoError(t, err)
			require.Equal(t, outgoing(updates, n), records[i].Outgoing, "whole")
			if i > 0 {
				require.Equal(t, id(n-1), records[i-1].ID, "in order and none missing")
			}
		}
		// The process may have died between doing and saying.
		last := records[len(records)-1].ID
		require.Contains(t, []string{id(next - 1), id(next)}, last)
		if last == id(next) {
			next++
		}
		if first != nil {
			var n int
			_, err := fmt.Sscanf(*first, "00000000-0000-4000-8000-%d", &n)
			require.NoError(t, err)
			require.Contains(t, []string{id(n + 1), id(n + 2)}, records[0].ID)
		}
		require.NoError(t, f.Close())
	}
}

func TestFile_recordsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	require.NoError(t, f.Put(message.Outgoing{ID: "a", Type: "own", Body: []byte("b")}, "1-1"))
	require.NoError(t, f.Close())
	_, end := hold(t, path)
	end()
	require.Len(t, list(t, open(t, path)), 1)
}

package peers

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed python
var programs embed.FS

// patience bounds every wait for a program. Python may take seconds to start
// on a loaded machine.
const patience = 2 * time.Minute

// process is a Python program that reads and writes lines of JSON.
type process struct {
	tb     testing.TB
	stdin  io.WriteCloser
	lines  chan []byte // closed at the end of its output
	stderr bytes.Buffer
}

// script writes an embedded program to a file and returns its path.
func script(tb testing.TB, name string) string {
	tb.Helper()
	text, err := programs.ReadFile("python/" + name)
	if err != nil {
		tb.Fatalf("peers: %v", err)
	}
	file := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatalf("peers: %v", err)
	}
	return file
}

// start runs file until the test ends. A program that does not end with its
// standard input is killed.
func start(tb testing.TB, python, file string, args ...string) *process {
	tb.Helper()
	cmd := exec.Command(python, append([]string{"-B", "-u", file}, args...)...)
	p := &process{tb: tb, lines: make(chan []byte, 1000)}
	cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		tb.Fatalf("peers: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatalf("peers: %v", err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("peers: %v", err)
	}
	stop, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		lines := bufio.NewReader(stdout)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case p.lines <- line:
			case <-stop: // nobody reads any more
			}
		}
	}()
	tb.Cleanup(func() {
		close(stop)
		_ = p.stdin.Close()
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		<-read // Wait closes the pipe, also with output in it
		_ = cmd.Wait()
		kill.Stop()
		if tb.Failed() && p.stderr.Len() > 0 {
			tb.Logf("peers: %s says:\n%s", filepath.Base(file), &p.stderr)
		}
	})
	return p
}

// send hands the program a line.
func (p *process) send(v any) {
	p.tb.Helper()
	line, err := json.Marshal(v)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		p.tb.Fatalf("peers: %v", err)
	}
}

// next reads the program's next line into v.
func (p *process) next(v any) {
	p.tb.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.tb.Fatal("peers: the program has ended")
		}
		if err := json.Unmarshal(line, v); err != nil {
			p.tb.Fatalf("peers: the program's line is no JSON for %T: %v", v, err)
		}
	case <-time.After(patience):
		p.tb.Fatalf("peers: the program has said nothing for %s", patience)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

// patience bounds every wait for an event.
const patience = 2 * time.Minute

// program is one run of the command with a shell around it.
type program struct {
	tb     testing.TB
	stdout *pipe
	stderr *pipe
	cancel context.CancelFunc
	code   chan int
}

// pipe keeps what was written and hands it out by lines.
type pipe struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
	w     *io.PipeWriter
}

func newPipe() *pipe {
	r, w := io.Pipe()
	p := &pipe{lines: make(chan string, 10_000), w: w}
	go func() {
		defer close(p.lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 64<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
	}()
	return p
}

func (p *pipe) Write(data []byte) (int, error) {
	p.mu.Lock()
	p.text.Write(data)
	p.mu.Unlock()
	return p.w.Write(data)
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// start runs the command with these settings as its whole environment.
func start(tb testing.TB, env map[string]string, stdin string, args ...string) *program {
	tb.Helper()
	env = maps.Clone(env)
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{tb: tb, stdout: newPipe(), stderr: newPipe(), cancel: cancel, code: make(chan int, 1)}
	c := command{
		getenv: func(name string) string {
			if _, set := env[name]; name == "REDIS_DURABLE" && !set {
				return "false" // most tests are of plain mode
			}
			return env[name]
		},
		stdin:  strings.NewReader(stdin),
		stdout: p.stdout,
		stderr: p.stderr,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.code <- c.run(ctx, args)
		p.stdout.w.Close()
		p.stderr.w.Close()
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
		logcheck.Clean(tb, "standard error", p.stderr.String())
	})
	return p
}

// wait returns the exit code.
func (p *program) wait() int {
	p.tb.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(patience):
		require.FailNow(p.tb, "the command did not end", "stderr: %s", p.stderr)
		return -1
	}
}

// stop interrupts the command and returns its exit code.
func (p *program) stop() int {
	p.cancel()
	return p.wait()
}

// saw waits for a line on standard error that contains text.
func (p *program) saw(text string) string {
	p.tb.Helper()
	return p.find(p.stderr, text)
}

func (p *program) find(in *pipe, text string) string {
	p.tb.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-in.lines:
			require.True(p.tb, ok, "ended without a line that contains %q; stderr: %s", text, p.stderr)
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			require.FailNow(p.tb, "no line that contains "+text, "stderr: %s", p.stderr)
		}
	}
}

// unhurried repeats a check for as long as it finds that Redis answers slowly. On a
// busy machine that is true, and not what is tested.
func unhurried[T any](check func() (run T, stderr string)) T {
	for deadline := time.Now().Add(patience); ; {
		run, stderr := check()
		if !strings.Contains(stderr, "an answer takes") || time.Now().After(deadline) {
			return run
		}
	}
}

// line returns the next line of standard output as JSON with exact numbers.
func (p *program) line() map[string]any {
	p.tb.Helper()
	return decodeObject(p.tb, p.find(p.stdout, ""))
}

func decodeObject(tb testing.TB, text string) map[string]any {
	tb.Helper()
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(tb, d.Decode(&object))
	return object
}

// exact parses JSON keeping the text of numbers.
func exact(tb testing.TB, text string) any {
	tb.Helper()
	var value any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(tb, d.Decode(&value))
	return value
}

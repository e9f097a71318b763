package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

// The tests of these files use the built program on real servers, as an
// operator does.

// built is the directory with the program, and the service of testdata that
// publishes.
var built = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "fogis-pubsub-test-")
	if err != nil {
		return "", err
	}
	for name, source := range map[string]string{"fogis-pubsub": ".", "service": "./testdata/service"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), source).CombinedOutput()
		if err != nil {
			return dir, fmt.Errorf("%w: %s", err, out)
		}
	}
	return dir, nil
})

// begun is whether built was called: it need not be, to be removed.
var begun sync.Once

func TestMain(m *testing.M) {
	code := m.Run()
	unused := false
	begun.Do(func() { unused = true })
	if !unused {
		if dir, _ := built(); dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// binary is the path of a built program.
func binary(tb testing.TB, name string) string {
	tb.Helper()
	begun.Do(func() {})
	dir, err := built()
	require.NoError(tb, err)
	return filepath.Join(dir, name)
}

// box is one process of a built program.
type box struct {
	*program
	cmd   *exec.Cmd
	input io.WriteCloser
}

// launch starts a built program with these settings as its whole environment.
// Its standard input stays open. When the test ends it is killed.
func launch(tb testing.TB, name string, env map[string]string, args ...string) *box {
	tb.Helper()
	cmd := exec.Command(binary(tb, name), args...)
	cmd.Env = []string{"HOME=" + os.TempDir()}
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, variable+"="+env[variable])
	}
	p := &program{tb: tb, stdout: newPipe(), stderr: newPipe(), code: make(chan int, 1)}
	p.cancel = func() { _ = cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	input, err := cmd.StdinPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
		p.code <- cmd.ProcessState.ExitCode()
		p.stdout.w.Close()
		p.stderr.w.Close()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		logcheck.Clean(tb, "standard error", p.stderr.String())
	})
	return &box{program: p, cmd: cmd, input: input}
}

// result is what a command left that has ended.
type result struct {
	code           int
	stdout, stderr string
	lines          []map[string]any
}

// operate runs one command of the program to its end.
func operate(tb testing.TB, env map[string]string, args ...string) result {
	tb.Helper()
	p := launch(tb, "fogis-pubsub", env, args...)
	require.NoError(tb, p.input.Close())
	r := result{code: p.wait()}
	r.stdout, r.stderr = p.stdout.String(), p.stderr.String()
	for text := range strings.Lines(r.stdout) {
		r.lines = append(r.lines, decodeObject(tb, text))
	}
	return r
}

// with is a copy of settings with further ones, in pairs.
func with(env map[string]string, pairs ...string) map[string]string {
	env = maps.Clone(env)
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}

// snapshot writes the file of one match.
func snapshot(tb testing.TB, number int) (file string) {
	tb.Helper()
	file = filepath.Join(tb.TempDir(), "matches.json")
	require.NoError(tb, os.WriteFile(file, fmt.Appendf(nil, `[{"matchid":%d}]`, number), 0o600))
	return file
}

// publishes sends a snapshot by the command and returns its receipt.
func publishes(tb testing.TB, env map[string]string, number int) (receipt map[string]any, stderr string) {
	tb.Helper()
	r := operate(tb, env, "publish", "matches", "--file", snapshot(tb, number))
	require.Equal(tb, exitDone, r.code, r.stderr)
	require.Len(tb, r.lines, 1)
	return r.lines[0], r.stderr
}

// receiver is an HTTP receiver of whole messages that answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(number string, attempt int) int // the status; nil: 200
	got    []string                             // the matches of what it took
	asked  int
	later  bool
}

func newReceiver(tb testing.TB, answer func(number string, attempt int) int) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	tb.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Accept-Post", "application/vnd.fogis.envelope+json")
	if request.Method != http.MethodPost {
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	number := matchOf(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(number, r.asked)
	}
	if status == http.StatusOK {
		r.got = append(r.got, number)
	}
	if r.later && status != http.StatusOK {
		w.Header().Set("Retry-After", "3600")
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"success":%t}`, status == http.StatusOK)
}

// set changes how it answers.
func (r *receiver) set(answer func(number string, attempt int) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// busy has it ask for a repetition that comes too late for anybody.
func (r *receiver) busy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.later = true
}

// took are the matches of what it took.
func (r *receiver) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// matchOf is the number of the first match of a message, in any form.
func matchOf(body []byte) string {
	var sent struct {
		Matches []struct {
			ID json.Number `json:"matchid"`
		}
		Payload struct {
			Matches []struct {
				ID json.Number `json:"matchid"`
			}
		}
	}
	if json.Unmarshal(body, &sent) != nil {
		return "unreadable"
	}
	for _, m := range slices.Concat(sent.Matches, sent.Payload.Matches) {
		return m.ID.String()
	}
	return "none"
}

// numberOf is the number of the first match of a line of subscribe.
func numberOf(tb testing.TB, line map[string]any) string {
	tb.Helper()
	matches, _ := line["matches"].([]any)
	require.NotEmpty(tb, matches, line)
	return fmt.Sprint(matches[0].(map[string]any)["id"])
}

// order tells the service something and returns its answer.
func (b *box) order(format string, args ...any) map[string]any {
	b.tb.Helper()
	_, err := fmt.Fprintf(b.input, format+"\n", args...)
	require.NoError(b.tb, err)
	return b.line()
}

// eventually waits for something that no event tells.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-ctx.Done():
			require.NoError(tb, errors.New("waited in vain for "+what))
		}
	}
}

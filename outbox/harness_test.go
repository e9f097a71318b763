package outbox_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

const (
	updates = message.TypeMatchUpdates
	status  = message.TypeProcessingStatus
)

// childVariable names what this test binary does instead of testing.
const childVariable = "FOGIS_OUTBOX_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// children are the programs that run in processes of their own.
var children = map[string]func(args []string) error{}

// child is a process that runs one of children.
func child(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Dir = t.TempDir()
	return cmd
}

var silent = slog.New(slog.DiscardHandler)

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "outbox.db") }

// open opens a file that is in order.
func open(t testing.TB, path string) *outbox.File {
	t.Helper()
	f := openAny(t, path, outbox.Options{})
	require.Empty(t, notice(f))
	return f
}

func openAny(t testing.TB, path string, opts outbox.Options) *outbox.File {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = silent
	}
	f, err := outbox.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// personal is what no error may quote.
const personal = `{"namn":"Alva Exempel","mobiltelefon":"070-174 06 05","epostadress":"alva@example.com"}`

// body differs in length and content for each n: most are small, some as large
// as a snapshot.
func body(n int) []byte {
	size := 200 + n*37%800
	if n%10 == 9 {
		size = 250_000 + n
	}
	b := fmt.Appendf(nil, "%d %s ", n, personal)
	return append(b, bytes.Repeat([]byte{byte('a' + n%26)}, size)...)
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func put(t testing.TB, f *outbox.File, typ message.Type, n int) {
	t.Helper()
	require.NoError(t, f.Put(outgoing(typ, n), ""))
}

func outgoing(typ message.Type, n int) message.Outgoing {
	return message.Outgoing{ID: id(n), Type: typ, Body: body(n)}
}

// all is a match of First that accepts every record.
func all(message.Queued) bool { return true }

// marks returns what Mark writes of a record.
func marks(typ message.Type, n int, after string, posted bool) message.Queued {
	return message.Queued{Outgoing: message.Outgoing{ID: id(n), Type: typ}, After: after, Posted: posted}
}

// list returns every record.
func list(t testing.TB, f *outbox.File) []outbox.Record {
	t.Helper()
	var records []outbox.Record
	for r, err := range f.All() {
		require.NoError(t, err)
		records = append(records, r)
	}
	return records
}

// failure returns err as the package's error, which quotes no message.
func failure(t testing.TB, err error) *outbox.Error {
	t.Helper()
	require.Error(t, err)
	require.IsType(t, (*outbox.Error)(nil), err)
	logcheck.CleanValue(t, "error", err)
	return err.(*outbox.Error)
}

// notice is all that an operator is told of a file.
func notice(f *outbox.File) (text string) {
	for problem, cure := range f.Problems() {
		text += problem + " (" + cure + ")"
	}
	return text
}

// asideFile is the last file that was set aside, "" if none was.
func asideFile(f *outbox.File) string {
	names, _ := filepath.Glob(f.Path() + ".set-aside-*")
	if len(names) == 0 {
		return ""
	}
	return slices.Max(names)
}

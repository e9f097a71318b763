package fogispubsub_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The examples that end by themselves show what they promise.
func TestExamples_thatEndByThemselves(t *testing.T) {
	t.Parallel()
	for name, shows := range map[string][]string{
		"quickstart": {
			"came by pubsub", "receipt: route pubsub", "came by http", "receipt: route fallback",
			"3. Redis is back", "came by pubsub", "handled 3, reported gaps 1",
		},
		"durable": {
			"update 3: route stream, receivers 0", "handled: update 3", "update 4: the process is gone",
			"3. A second instance takes over", "handled: update 4", "handled: update 5", "handled: update 7",
			"dead letter: update 6, because: the calendar refuses this match", "5. A replay", "update 1\n", "update 7\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), name)
			built, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/"+name).CombinedOutput()
			require.NoError(t, err, string(built))
			output, err := exec.CommandContext(t.Context(), program).CombinedOutput()
			require.NoError(t, err, string(output))
			rest := string(output)
			for _, text := range shows {
				_, after, found := strings.Cut(rest, text)
				require.True(t, found, "%q is missing or out of its turn in:\n%s", text, output)
				rest = after
			}
		})
	}
}

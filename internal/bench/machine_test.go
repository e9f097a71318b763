package bench_test

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// machine describes what was measured on, a line for each fact. What the
// system does not tell is left out.
func machine(t *testing.T, server *realredis.Server) string {
	t.Helper()
	info, err := server.Client(t).Info(t.Context(), "server").Result()
	require.NoError(t, err)
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs%s, GOMAXPROCS %d\n", runtime.NumCPU(), processor(), runtime.GOMAXPROCS(0))
	fmt.Fprintf(&b, "%s %s/%s, redis-server %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, field(info, "redis_version"))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(load)); len(fields) >= 3 {
			fmt.Fprintf(&b, "load before: %s\n", strings.Join(fields[:3], " "))
		}
	}
	fmt.Fprintf(&b, "%d pairs\n", *pairs)
	return b.String()
}

// processor names the CPU's model as Linux tells it.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == "model name" {
			return " " + strings.TrimSpace(value)
		}
	}
	return ""
}

// field is a value of Redis's INFO.
func field(info, key string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

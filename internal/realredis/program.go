package realredis

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// requireExternal names the variable that turns a missing program from a
// reason to skip into a failure. The continuous integration sets it to 1.
const requireExternal = "FOGIS_REQUIRE_EXTERNAL"

// Require returns the path of a program that the test needs. Without it on
// PATH the test is skipped, or fails if FOGIS_REQUIRE_EXTERNAL is 1.
func Require(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(tb, program+" is not on PATH")
	}
	return path
}

// RequirePython returns the path of a Python 3 that can import all modules:
// the python3 on PATH, or else the one of the distribution in /usr/bin. It
// skips or fails as [Require] does.
func RequirePython(tb testing.TB, modules ...string) string {
	tb.Helper()
	code := "pass"
	if len(modules) > 0 {
		code = "import " + strings.Join(modules, ", ")
	}
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if exec.CommandContext(tb.Context(), path, "-c", code).Run() == nil {
			return path
		}
	}
	Missing(tb, "no python3 can "+code)
	return ""
}

// Missing skips the test for want of something, or fails it as [Require] does.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv(requireExternal) == "1" {
		tb.Fatalf("realredis: %s, and %s=1 forbids to skip", what, requireExternal)
	}
	tb.Skipf("realredis: %s", what)
}

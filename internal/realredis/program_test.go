package realredis_test

import (
	"os/exec"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/stretchr/testify/require"
)

// verdict records how a helper ended the test that called it.
type verdict struct {
	testing.TB
	skipped, failed bool
}

func (v *verdict) Helper()               {}
func (v *verdict) Skipf(string, ...any)  { v.skipped = true }
func (v *verdict) Fatalf(string, ...any) { v.failed = true }

func TestRequire_missingProgram(t *testing.T) {
	for _, test := range []struct {
		variable        string
		skipped, failed bool
	}{
		{variable: "", skipped: true},
		{variable: "0", skipped: true},
		{variable: "1", failed: true},
	} {
		t.Setenv("FOGIS_REQUIRE_EXTERNAL", test.variable)
		v := &verdict{TB: t}
		realredis.Require(v, "a-program-that-nobody-has")
		// The recorder returns where a real test would have ended.
		require.Equal(t, test.failed, v.failed, "variable %q", test.variable)
		require.Equal(t, test.skipped, v.skipped && !v.failed, "variable %q", test.variable)
	}
}

func TestRequirePython_importsModules(t *testing.T) {
	t.Parallel()
	python := realredis.RequirePython(t, "json", "socket")
	require.NoError(t, exec.CommandContext(t.Context(), python, "-c", "import json").Run())
}

func TestRequirePython_missingModule(t *testing.T) {
	t.Setenv("FOGIS_REQUIRE_EXTERNAL", "1")
	v := &verdict{TB: t}
	realredis.RequirePython(v, "a_module_that_nobody_has")
	require.True(t, v.failed)
}

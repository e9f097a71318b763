package fogispubsub_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateAPI = flag.Bool("update", false, "write docs/api from the packages as they are")

// A public name is a promise. Each one stands in docs/api, so that adding or
// changing it shows in a diff that somebody has to accept.
func TestAPI_is_the_text_in_docs(t *testing.T) {
	t.Parallel()
	const folder = "docs/api"
	texts := map[string][]byte{}
	for _, p := range goList(t, "./...") {
		if p.Name == "main" || strings.Contains(p.ImportPath+"/", "/internal/") || len(p.GoFiles) == 0 {
			continue
		}
		file := p.Name + ".txt"
		require.NotContains(t, texts, file, "two packages of one name")
		texts[file] = runGo(t, "doc", "-all", p.ImportPath)
	}
	require.NotEmpty(t, texts)

	if *updateAPI {
		require.NoError(t, os.RemoveAll(folder))
		require.NoError(t, os.MkdirAll(folder, 0o755))
		for file, text := range texts {
			require.NoError(t, os.WriteFile(filepath.Join(folder, file), text, 0o644))
		}
	}
	for file, text := range texts {
		want, err := os.ReadFile(filepath.Join(folder, file))
		require.NoError(t, err, "run make api and review what it adds")
		if string(want) != string(text) {
			t.Errorf("%s/%s differs from the package at %s: run make api and review the diff", folder, file, firstDifference(string(want), string(text)))
		}
	}
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, f := range files {
		require.Contains(t, texts, f.Name(), "no package has this text any more: run make api")
	}
}

// firstDifference returns the first line of got that want does not have in
// that place.
func firstDifference(want, got string) string {
	wanted := strings.Split(want, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(wanted) || wanted[i] != line {
			return "“" + line + "”"
		}
	}
	return "its end"
}

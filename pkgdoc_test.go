package fogispubsub_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two package comments are shown one after the other, in the order of the
// files' names; none leaves a reader with a list of names.
func TestPackages_have_one_package_comment_each(t *testing.T) {
	t.Parallel()
	comments := map[string]int{} // by folder
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		require.NoError(t, err)
		folder := filepath.Dir(file)
		comments[folder] += 0
		if isPackageComment(parsed.Doc) {
			comments[folder]++
		}
	}
	require.NotEmpty(t, comments)
	for folder, n := range comments {
		if n != 1 {
			t.Errorf("%d files in %s have a package comment; want it in one", n, folder)
		}
	}
}

// isPackageComment ignores comments that hold directives only.
func isPackageComment(doc *ast.CommentGroup) bool {
	return doc != nil && strings.TrimSpace(doc.Text()) != ""
}

// goFiles returns the module's Go files, whatever system they are for.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." {
			_, noModule := os.Stat(filepath.Join(path, "go.mod"))
			if noModule == nil || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
		}
		if !entry.IsDir() && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	require.NoError(t, err)
	return files
}

package fogispubsub_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// forbidden holds what a library leaves to the program that uses it: reading
// the environment, ending the process, printing, and the global logger.
var forbidden = map[string][]string{
	"os":      {"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Exit", "Stdout", "Stderr"},
	"fmt":     {"Print", "Printf", "Println"},
	"log":     {"*"},
	"signal":  {"*"},
	"builtin": {"print", "println"},
}

// FromEnv hands os.Getenv to package config.
var allowedCalls = map[string]string{"client.go": "os.Getenv"}

func TestLibraries_leave_the_process_to_its_program(t *testing.T) {
	t.Parallel()
	looked := 0
	for _, file := range goFiles(t) {
		top, _, _ := strings.Cut(filepath.ToSlash(file), "/")
		if strings.HasSuffix(file, "_test.go") || slices.Contains([]string{"cmd", "examples", "internal", "pubsubtest", "tools"}, top) {
			continue
		}
		looked++
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			name := ""
			switch n := n.(type) {
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if !ok {
					return true
				}
				names := forbidden[pkg.Name]
				if slices.Contains(names, n.Sel.Name) || slices.Contains(names, "*") {
					name = pkg.Name + "." + n.Sel.Name
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && slices.Contains(forbidden["builtin"], f.Name) {
					name = f.Name
				}
			}
			if name != "" && allowedCalls[filepath.ToSlash(file)] != name {
				t.Errorf("%s: %s is the program's to use, not a library's", set.Position(n.Pos()), name)
			}
			return true
		})
	}
	require.NotZero(t, looked)
}

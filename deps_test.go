package fogispubsub_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/PitchConnect/fogispubsub"

// The libraries that production code may use.
const (
	goredis   = "github.com/redis/go-redis/v9"
	uuid      = "github.com/google/uuid"
	backoff   = "github.com/cenkalti/backoff/v5"
	gobreaker = "github.com/sony/gobreaker/v2"
	miniredis = "github.com/alicebob/miniredis/v2"
	bbolt     = "go.etcd.io/bbolt"
	yaml      = "go.yaml.in/yaml/v3"
)

// importRule says what the non-test files of a package may import beyond the
// standard library, and what of the standard library they may not.
type importRule struct {
	pkg     string   // relative to the module; a pattern of package path
	imports []string // "./x" is package x of this module, "./." the root; anything else a module's path
	never   []string // of the standard library
}

// importTable is the import rule of DESIGN.md, a statement of policy: change
// it together with that page, for a reason, not to make a build pass. The
// first row that fits a package counts. A package may be missing; a package
// without a row may not be.
var importTable = []importRule{
	// message knows log/slog only to hide persons from it (slog.LogValuer).
	{"message", []string{uuid}, []string{"context", "log", "net", "net/http", "os", "testing"}},
	{"config", []string{"./message"}, []string{"flag", "net/http", "os", "testing"}},
	{"durable", []string{"./message", "./internal/topology", goredis}, []string{"log", "net/http", "os", "testing"}},
	{"health", []string{"./internal/topology", goredis}, []string{"net/http", "os", "testing"}},
	{"httpadmin", []string{"./config", "./health"}, []string{"os", "testing"}},
	{"outbox", []string{"./message", bbolt}, []string{"context", "net", "net/http", "testing"}},
	// httpfallback takes its token as config.Secret, and leaves it to config what
	// is wrong with a URL or a token.
	{"httpfallback", []string{"./message", "./config"}, []string{"os", "testing"}},
	{"publisher", []string{"./message", "./durable", "./internal/topology", goredis, gobreaker}, []string{"net/http", "testing"}},
	{"subscriber", []string{"./message", "./durable", "./internal/topology", goredis, backoff}, []string{"net/http", "testing"}},
	{".", []string{"./internal/topology", "./message", "./config", "./durable", "./health", "./httpadmin", "./httpfallback", "./publisher", "./subscriber", goredis}, []string{"testing"}},
	{"devserver", []string{miniredis}, []string{"testing"}},
	{"pubsubtest", []string{"./message", "./devserver"}, nil},
	{"cmd/fogis-pubsub", []string{"./.", "./message", "./config", "./durable", "./outbox", "./health", "./httpadmin", "./httpfallback", "./publisher", "./subscriber", "./devserver", goredis, yaml}, []string{"testing"}},
	{"examples/*", []string{"./.", "./message", "./config", "./durable", "./httpfallback", "./publisher", "./subscriber", "./devserver", goredis}, []string{"testing"}},

	{"internal/topology", []string{goredis}, []string{"log", "net/http", "os", "testing"}},

	// For tests and measurements only: nothing above imports them.
	{"internal/*", []string{"./.", "./message", "./config", "./durable", "./health", "./httpadmin", "./httpfallback", "./publisher", "./subscriber", "./devserver", "./internal/*", goredis}, nil},
}

func ruleOf(pkg string) (importRule, bool) {
	for _, rule := range importTable {
		if fits(rule.pkg, pkg) {
			return rule, true
		}
	}
	return importRule{}, false
}

func fits(pattern, pkg string) bool {
	matched, _ := path.Match(pattern, pkg)
	return matched
}

func (r importRule) allows(imported string) bool {
	if own, found := strings.CutPrefix(imported+"/", module+"/"); found {
		own = path.Clean(own)
		return slices.ContainsFunc(r.imports, func(i string) bool {
			pattern, local := strings.CutPrefix(i, "./")
			return local && fits(pattern, own)
		})
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return !slices.Contains(r.never, imported) // standard library
	}
	return slices.ContainsFunc(r.imports, func(i string) bool {
		return strings.HasPrefix(imported+"/", i+"/")
	})
}

// goPackage is what these tests use of go list's answer.
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
	Module     *struct{ Path string }
}

// name is the package's path relative to the module, "." for the root.
func (p goPackage) name() string {
	return path.Clean(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"))
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(runGo(t, append([]string{"list", "-e", "-json"}, args...)...)))
	var packages []goPackage
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if err == io.EOF {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

func runGo(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return out
}

func TestImports_follow_the_table(t *testing.T) {
	t.Parallel()
	packages := goList(t, "./...")
	require.NotEmpty(t, packages)
	for _, p := range packages {
		rule, found := ruleOf(p.name())
		if !found {
			t.Errorf("%s has no row in importTable: give it one, and one in DESIGN.md", p.name())
			continue
		}
		for _, imported := range p.Imports {
			if !rule.allows(imported) {
				t.Errorf("%s imports %s, which its row in importTable does not allow", p.name(), imported)
			}
		}
	}
}

// The embedded server is for development: no program gets it by importing
// something else.
func TestImports_devserver_stays_at_the_edge(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "./...") {
		edge := slices.ContainsFunc([]string{"pubsubtest", "cmd/*", "examples/*", "internal/*"}, func(pattern string) bool {
			return fits(pattern, p.name())
		})
		if !edge {
			require.NotContains(t, p.Imports, module+"/devserver", "%s", p.name())
		}
	}
}

// What a program links that imports the root, on each system that may have
// files of its own.
func TestImports_root_links_only_what_it_needs(t *testing.T) {
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			t.Setenv("GOOS", system)
			linked := map[string]bool{}
			for _, p := range goList(t, "-deps", ".") {
				if p.Module != nil && p.Module.Path != module {
					linked[p.Module.Path] = true
				}
			}
			for _, allowed := range []string{
				goredis, uuid, backoff, gobreaker,
				"github.com/cespare/xxhash/v2", "go.uber.org/atomic", "golang.org/x/sys", // of go-redis
			} {
				delete(linked, allowed)
			}
			require.Empty(t, linked)
		})
	}
}

// A replace directive holds for this checkout only: users would build
// something else than was tested.
func TestModule_replaces_nothing(t *testing.T) {
	t.Parallel()
	var mod struct{ Replace, Exclude []any }
	require.NoError(t, json.Unmarshal(runGo(t, "mod", "edit", "-json"), &mod))
	require.Empty(t, mod.Replace)
	require.Empty(t, mod.Exclude)
}

package fogispubsub_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var readmeProgram = regexp.MustCompile("(?s)<!-- program: (\\w+) -->\n```go\n(.*?)```")

func readme(t *testing.T) string {
	t.Helper()
	return page(t, "README.md")
}

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// README opens the door and proves nothing: the proof lies in docs.
func TestREADME_isShort(t *testing.T) {
	t.Parallel()
	text := readme(t)
	require.LessOrEqual(t, len(strings.Fields(text)), 900, "words")
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSpace(line)), 120, line)
		if strings.HasPrefix(line, "|") {
			require.LessOrEqual(t, strings.Count(line, "|"), 4, "more than three columns: %s", line)
		}
	}
}

// People read these pages as text: only tables and blocks of code may be wide.
func TestPages_proseIsWrapped(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"CHANGELOG.md", "CONTRIBUTING.md", "docs/benchmarks.md", "docs/cli.md", "docs/from-python.md", "docs/guarantees.md", "docs/migration.md", "docs/what-happens-when.md"} {
		for line := range strings.Lines(prose(page(t, path))) {
			if !strings.HasPrefix(line, "|") {
				require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, "%s: %s", path, line)
			}
		}
	}
}

var links = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Each link of a page to a file of this module leads to one.
func TestPages_linksResolve(t *testing.T) {
	t.Parallel()
	checked := 0
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		for _, link := range links.FindAllStringSubmatch(code.ReplaceAllString(prose(page(t, path)), ""), -1) {
			file, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") || strings.HasPrefix(file, "mailto:") {
				continue
			}
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, link[1])
			} else if anchor != "" && filepath.Ext(target) == ".md" {
				require.Contains(t, anchors(page(t, target)), anchor, "%s links to %s", path, link[1])
			}
			checked++
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, checked, 20)
}

// prose returns a page without its fenced blocks.
func prose(text string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "```") {
			fenced = !fenced
		} else if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestPages_prose_leavesOutFencedBlocksAlone(t *testing.T) {
	t.Parallel()
	text := "# A\n```sh\n# a comment\n`\n```\n[b](c.md) `d`\n  ```go\n[e](f.md)\n  ```\n## G h\n"
	require.Equal(t, "# A\n[b](c.md) `d`\n## G h\n", prose(text))
	require.Equal(t, []string{"a", "g-h"}, anchors(text))
	require.Equal(t, "` [b](c.md)\n`", code.ReplaceAllString("` [b](c.md)\n`", ""), "inline code ends with its line")
}

// anchors returns the names that a page's headings have as the end of a link.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(prose(text)) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			kept := strings.Map(func(r rune) rune {
				switch {
				case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
					return unicode.ToLower(r)
				case r == ' ':
					return '-'
				}
				return -1
			}, strings.TrimSpace(heading))
			all = append(all, kept)
		}
	}
	return all
}

// The programs of the README must compile as they stand there, and stay short:
// twenty-three lines besides the package and import clauses, with the closing of
// the client and the end by a signal.
func TestREADME_programs(t *testing.T) {
	t.Parallel()
	programs := readmeProgram.FindAllStringSubmatch(readme(t), -1)
	require.Len(t, programs, 2)
	require.Equal(t, len(programs), strings.Count(readme(t), "```go"), "each block of Go is marked as a program")
	for _, program := range programs {
		name, source := program[1], program[2]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, body, found := strings.Cut(source, "\n)\n")
			require.True(t, found, "no import clause")
			lines := 0
			for line := range strings.Lines(body) {
				if strings.TrimSpace(line) != "" {
					lines++
				}
			}
			require.LessOrEqual(t, lines, 23)
			build(t, name, source)
		})
	}
}

// build compiles a main package as if it stood in this module.
func build(t *testing.T, name, source string) {
	t.Helper()
	root, err := filepath.Abs(".")
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "readme", name, "main.go"): file,
	}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlayFile, "-o", filepath.Join(dir, "program"), "./readme/"+name).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

var code = regexp.MustCompile("`([^`\n]+)`")

// Every Go line of docs/from-python.md is in fromPython, where the compiler has
// seen it; commands are told apart by their name.
func TestREADME_fromPythonToGo(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("readme_lines_test.go")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(page(t, "docs/from-python.md")) {
		cells := strings.Split(line, " | ")
		if len(cells) != 2 || strings.Contains(line, "| Python |") {
			continue
		}
		rows++
		for _, snippet := range code.FindAllStringSubmatch(cells[1], -1) {
			if regexp.MustCompile(`^(fogis-pubsub |FOGIS_|REDIS_|client$|Received$|Handled$|Failed$)`).MatchString(snippet[1]) {
				continue
			}
			if !strings.Contains(string(source), snippet[1]) {
				t.Errorf("%s is not in readme_lines_test.go; row: %s", snippet[1], line)
			}
		}
	}
	require.GreaterOrEqual(t, rows, 20)
}

// Each test that a table of the README or a page of docs names must exist.
func TestREADME_namedTestsExist(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`\bTest[A-Z]\w+`)
	var sources strings.Builder
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		sources.Write(data)
		return err
	})
	require.NoError(t, err)
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	named := 0
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, name := range names.FindAllString(string(text), -1) {
			named++
			if !strings.Contains(sources.String(), "func "+name+"(") {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
	require.Greater(t, named, 50)
}

// Each row of the page of failures names a test.
func TestREADME_eachFailureNamesATest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/what-happens-when.md")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| When ") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		require.Contains(t, cells[len(cells)-1], "`Test", line)
	}
	require.Greater(t, rows, 30)
}

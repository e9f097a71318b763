package fogispubsub_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// durations holds every duration that a package names by a constant, by package
// and name. Constants in functions and plain literals have no name, and so no
// row: what others depend on gets a name.
type durations map[string]time.Duration

func readDurations(t *testing.T) durations {
	t.Helper()
	named := map[string]ast.Expr{}
	for _, file := range goFiles(t) {
		folder := filepath.ToSlash(filepath.Dir(file))
		top, _, _ := strings.Cut(folder, "/")
		if strings.HasSuffix(file, "_test.go") || slices.Contains([]string{"cmd", "examples", "devserver", "pubsubtest", "tools"}, top) ||
			top == "internal" && folder != "internal/topology" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if i < len(v.Values) {
						named[parsed.Name.Name+"."+name.Name] = v.Values[i]
					}
				}
			}
		}
	}
	all := durations{}
	// A constant may be made of others: repeat until nothing new is known.
	for before := -1; before != len(all); {
		before = len(all)
		for name, expr := range named {
			pkg, _, _ := strings.Cut(name, ".")
			if d, isTime, ok := all.eval(expr, pkg); ok && isTime {
				all[name] = d
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}

// eval returns the value of an expression of durations and numbers; isTime tells
// that it has a unit. pkg is where bare names belong.
func (d durations) eval(expr ast.Expr, pkg string) (value time.Duration, isTime, ok bool) {
	switch e := expr.(type) {
	case *ast.ParenExpr:
		return d.eval(e.X, pkg)
	case *ast.BasicLit:
		n, err := strconv.ParseInt(e.Value, 0, 64)
		return time.Duration(n), false, err == nil && e.Kind == token.INT
	case *ast.Ident:
		value, ok = d[pkg+"."+e.Name]
		return value, true, ok
	case *ast.SelectorExpr:
		of, isIdent := e.X.(*ast.Ident)
		if !isIdent {
			return 0, false, false
		}
		if of.Name == "time" {
			value, ok = map[string]time.Duration{
				"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
				"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
			}[e.Sel.Name]
			return value, true, ok
		}
		value, ok = d[of.Name+"."+e.Sel.Name]
		return value, true, ok
	case *ast.BinaryExpr:
		x, xTime, xOK := d.eval(e.X, pkg)
		y, yTime, yOK := d.eval(e.Y, pkg)
		if !xOK || !yOK {
			return 0, false, false
		}
		switch e.Op {
		case token.ADD:
			return x + y, xTime && yTime, true
		case token.SUB:
			return x - y, xTime && yTime, true
		case token.MUL:
			return x * y, xTime || yTime, true
		case token.QUO:
			if y == 0 {
				return 0, false, false
			}
			return x / y, xTime, true
		}
	}
	return 0, false, false
}

// timeRow is a row of the table of times in DESIGN.md.
type timeRow struct {
	name, value string
	relations   []string // "< publisher.x", ">= 3 * durable.y"
}

var (
	timeCells = regexp.MustCompile("^\\| `([a-z]+\\.[A-Za-z]+)` \\| ([^|]*) \\| (.*) \\|$")
	relation  = regexp.MustCompile("`(<=|>=|<|>) ([^`]+)`")
)

func readTimes(t *testing.T) []timeRow {
	t.Helper()
	page, err := os.ReadFile("DESIGN.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## 14. Times\n")
	require.True(t, found, "DESIGN.md has no section of times")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []timeRow
	for line := range strings.Lines(section) {
		cells := timeCells.FindStringSubmatch(strings.TrimSpace(line))
		if cells == nil {
			continue
		}
		row := timeRow{name: cells[1], value: strings.TrimSpace(cells[2])}
		for _, r := range relation.FindAllStringSubmatch(cells[3], -1) {
			row.relations = append(row.relations, r[1]+" "+r[2])
		}
		rows = append(rows, row)
	}
	require.NotEmpty(t, rows)
	return rows
}

func TestTimes_table_has_every_named_duration_with_its_value(t *testing.T) {
	t.Parallel()
	all := readDurations(t)
	listed := map[string]bool{}
	for _, row := range readTimes(t) {
		listed[row.name] = true
		value, found := all[row.name]
		if !found {
			t.Errorf("the table of times has %s, but no package has a constant of that name", row.name)
			continue
		}
		want, err := time.ParseDuration(strings.ReplaceAll(row.value, " ", ""))
		require.NoError(t, err, row.name)
		require.Equal(t, want, value, row.name)
	}
	for name := range all {
		if !listed[name] {
			t.Errorf("%s = %v has no row in the table of times in DESIGN.md: what must it be smaller than?", name, all[name])
		}
	}
}

func TestTimes_inequalities_of_the_table_hold(t *testing.T) {
	t.Parallel()
	all := readDurations(t)
	compared := 0
	for _, row := range readTimes(t) {
		for _, r := range row.relations {
			op, text, _ := strings.Cut(r, " ")
			expr, err := parser.ParseExpr(text)
			require.NoError(t, err, "%s %s", row.name, r)
			bound, isTime, ok := all.eval(expr, "")
			require.True(t, ok && isTime, "%s %s: no such duration", row.name, r)
			value := all[row.name]
			holds := map[string]bool{"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[op]
			if !holds {
				t.Errorf("%s = %v, but the table of times demands %s (%v)", row.name, value, r, bound)
			}
			compared++
		}
	}
	require.NotZero(t, compared)
}

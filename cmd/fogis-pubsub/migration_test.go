package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

var guideBlock = regexp.MustCompile("(?ms)^```(sh|json)\n(.*?)^```$")

// guide runs the commands of a page.
type guide struct {
	t      *testing.T
	env    map[string]string
	places *strings.Replacer // addresses of the page by those of the test
	redis  *realredis.Server
	lines  []string // of standard output that no block has been compared with
	ran    []string
}

// TestMigrationGuide runs every command of docs/migration.md in order, and
// compares what they print with what the page shows. Docker alone is a script.
func TestMigrationGuide(t *testing.T) {
	realredis.Require(t, "openssl")
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "migration.md"))
	require.NoError(t, err)
	compose, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docker-compose.yml"))
	require.NoError(t, err)
	g := &guide{t: t, env: map[string]string{"REDIS_DURABLE": ""}, redis: realredis.Start(t)}
	g.places = strings.NewReplacer("localhost:6379", g.redis.Addr(), "localhost:5003", faultnet.Reserve(t))
	path := os.Getenv("PATH")
	works(healthy, g.redis.Addr()).install(t)
	t.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+path)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("deploy", 0o700))
	require.NoError(t, os.WriteFile("deploy/docker-compose.yml", compose, 0o600))

	for _, block := range guideBlock.FindAllStringSubmatch(string(page), -1) {
		if block[1] == "json" {
			g.compare(block[2])
			continue
		}
		g.lines = nil
		for line := range strings.Lines(block[2]) {
			g.run(strings.TrimSpace(line))
		}
	}
	require.GreaterOrEqual(t, len(g.ran), 11)
	for _, command := range []string{"redis", "check", "serve", "publish", "replay", "deadletter"} {
		require.Contains(t, g.ran, command)
	}
	// Commands that stand in the text only must exist too.
	for _, named := range regexp.MustCompile("`fogis-pubsub (\\w+)").FindAllStringSubmatch(string(page), -1) {
		require.Contains(t, usage, "  "+named[1]+" ")
	}
}

func (g *guide) run(line string) {
	t := g.t
	t.Log(line)
	command, isOurs := strings.CutPrefix(line, "fogis-pubsub ")
	switch assignment, isExport := strings.CutPrefix(line, "export "); {
	case isExport:
		name, value, ok := strings.Cut(assignment, "=")
		require.True(t, ok, line)
		g.env[name] = g.places.Replace(g.shell("printf %s " + value))
	case !isOurs:
		g.shell(line)
	default:
		g.command(strings.Fields(command))
	}
}

// command runs one of ours, in the background if it ends with &. Redis gets
// its password when Docker would start it.
func (g *guide) command(args []string) {
	t := g.t
	g.ran = append(g.ran, args[0])
	for i := range args {
		args[i] = g.places.Replace(args[i])
	}
	if strings.HasPrefix(strings.Join(args, " "), "redis up ") {
		secret, err := os.ReadFile("deploy/secrets/redis_password")
		require.NoError(t, err)
		require.NoError(t, g.redis.Client(t).ConfigSet(t.Context(), "appendonly", "yes").Err()) // as the Compose file has it
		require.NoError(t, g.redis.Client(t).ConfigSet(t.Context(), "requirepass", strings.TrimSpace(string(secret))).Err())
	}
	if args[len(args)-1] == "&" {
		background := start(t, g.env, "", args[:len(args)-1]...)
		background.saw("subscribed")
		return
	}
	p := start(t, g.env, "", args...)
	require.Equal(t, exitDone, p.wait(), "%v: %s", args, p.stderr)
	g.lines = append(g.lines, slices.Collect(strings.Lines(p.stdout.String()))...)
}

func (g *guide) shell(line string) string {
	cmd := exec.CommandContext(g.t.Context(), "sh", "-ec", line)
	cmd.Env = os.Environ()
	for _, name := range slices.Sorted(maps.Keys(g.env)) {
		cmd.Env = append(cmd.Env, name+"="+g.env[name])
	}
	out, err := cmd.Output()
	require.NoError(g.t, err, line)
	return string(out)
}

// compare finds each line of the page, in order, among those that the last
// block's commands have printed.
func (g *guide) compare(block string) {
	t := g.t
	for line := range strings.Lines(block) {
		want, found := exact(t, line), false
		for !found && len(g.lines) > 0 {
			found = shows(want, exact(t, g.lines[0]))
			g.lines = g.lines[1:]
		}
		require.True(t, found, "the page shows %s", line)
	}
}

// shows tells whether got has everything that the page shows.
func shows(want, got any) bool {
	object, ok := want.(map[string]any)
	if !ok {
		return want == "…" && got != nil && got != "" || want == got
	}
	of, ok := got.(map[string]any)
	for key, value := range object {
		ok = ok && shows(value, of[key])
	}
	return ok
}

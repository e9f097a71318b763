package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// ourCompose copies the project's Compose file beside a secret.
func ourCompose(t *testing.T) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docker-compose.yml"))
	require.NoError(t, err)
	return composeIn(t, string(text))
}

func composeIn(t *testing.T, text string) (path string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "secrets"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secrets", "redis_password"), []byte(logcheck.Password+"\n"), 0o600))
	path = filepath.Join(dir, "docker-compose.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// fakeDocker is a docker on a PATH of its own that says what it is told.
type fakeDocker struct {
	Server   string // a shell command for each thing that is asked
	Compose  string
	Up       string
	Ps       string
	Inspect  string
	Logs, Rm string
}

// works is a docker whose container is as given.
func works(state string, addr string) fakeDocker {
	host, port, _ := net.SplitHostPort(addr)
	inspect := fmt.Sprintf(`[{"Name":"/fogis-redis","State":%s,"Config":{"Image":"redis:7-alpine"},
"NetworkSettings":{"Ports":{"6379/tcp":[{"HostIp":"%s","HostPort":"%s"}]},"Networks":{"fogis-network":{"Aliases":["redis"],"IPAddress":"192.0.2.9"}}}}]`, state, host, port)
	return fakeDocker{Server: "echo 27.0", Compose: "echo 2.30", Up: ":", Ps: "echo 0123abcd", Inspect: "echo '" + inspect + "'", Logs: "echo 'Fatal error, can not open config file' >&2", Rm: ":"}
}

const healthy = `{"Status":"running","Running":true,"Health":{"Status":"healthy"}}`

// install makes it the only docker on PATH, and its log a file of calls.
func (f fakeDocker) install(t *testing.T) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >> %s
case "$*" in
version*) %s ;;
"compose version"*) %s ;;
*" up -d redis") %s ;;
*" ps --all --quiet redis") %s ;;
inspect*) %s ;;
logs*) %s ;;
*" rm --stop --force redis") %s ;;
*) echo "unknown: $*" >&2; exit 64 ;;
esac
`, log, f.Server, f.Compose, f.Up, f.Ps, f.Inspect, f.Logs, f.Rm)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700))
	t.Setenv("PATH", dir)
	return func() string {
		text, _ := os.ReadFile(log)
		return string(text)
	}
}

// steps reads what the command told of its steps.
func steps(t *testing.T, p *program) map[string]stepLine {
	t.Helper()
	logcheck.Clean(t, "standard output", p.stdout.String())
	found := map[string]stepLine{}
	for text := range strings.Lines(p.stdout.String()) {
		var line stepLine
		require.NoError(t, json.Unmarshal([]byte(text), &line), text)
		found[line.Step] = line
	}
	return found
}

func statuses(found map[string]stepLine, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s, ", name, found[name].Status)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// serviceEnv are settings as services have them.
func serviceEnv() map[string]string {
	return map[string]string{"REDIS_URL": "redis://:" + logcheck.Password + "@fogis-redis:6379"}
}

func TestRedis_up_works(t *testing.T) {
	redis := realredis.Start(t, "--requirepass", logcheck.Password)
	calls := works(healthy, redis.Addr()).install(t)
	file := ourCompose(t)
	p := start(t, serviceEnv(), "", "redis", "up", "--file", file, "--required")
	require.Equal(t, exitDone, p.wait(), p.stderr)
	found := steps(t, p)
	require.Equal(t, "docker ok, verify ok, start ok, wait ok, running ok, answers ok, pubsub ok, services ok, result ok",
		statuses(found, "docker", "verify", "start", "wait", "running", "answers", "pubsub", "services", "result"))
	require.Contains(t, found["docker"].Detail, "Docker 27.0, docker compose 2.30")
	require.Contains(t, found["running"].Detail, "container fogis-redis of image redis:7-alpine is healthy")
	require.Positive(t, found["start"].ElapsedMS)
	require.Contains(t, p.stderr.String(), health.SummaryHealthy)
	require.Contains(t, calls(), "compose -f "+file+" up -d redis\n")
}

func TestRedis_status_startsNothing(t *testing.T) {
	redis := realredis.Start(t, "--requirepass", logcheck.Password)
	calls := works(healthy, redis.Addr()).install(t)
	p := start(t, serviceEnv(), "", "redis", "status", "--file", ourCompose(t))
	require.Equal(t, exitDone, p.wait(), p.stderr)
	require.Equal(t, "result ok", statuses(steps(t, p), "result"))
	require.NotContains(t, calls(), " up ")
}

func TestRedis_down_stopsTheServiceAlone(t *testing.T) {
	calls := works(healthy, "127.0.0.1:1").install(t)
	file := ourCompose(t)
	p := start(t, nil, "", "redis", "down", "--file", file)
	require.Equal(t, exitDone, p.wait(), p.stderr)
	require.Equal(t, "docker ok, stop ok, result ok", statuses(steps(t, p), "docker", "stop", "result"))
	require.Contains(t, calls(), "-f "+file+" rm --stop --force redis\n")
	require.NotContains(t, calls(), " down")
}

// Whatever fails, the deployment around the command goes on unless it asks for
// more.
func TestRedis_failures(t *testing.T) {
	redis := realredis.Start(t, "--requirepass", logcheck.Password)
	deaf := realredis.Start(t, "--requirepass", logcheck.Password)
	runRedis(t, deaf, "ACL", "SETUSER", "default", "resetchannels")
	silent := faultnet.New(t, redis.Addr())
	silent.DropMessages(true)

	good := works(healthy, redis.Addr())
	with := func(change func(*fakeDocker)) fakeDocker {
		f := good
		change(&f)
		return f
	}
	tests := []struct {
		name   string
		docker fakeDocker
		env    map[string]string
		step   string // the one that fails
		detail string
		cure   string
	}{
		{"daemon away", with(func(f *fakeDocker) { f.Server = "echo 'Cannot connect to the Docker daemon' >&2; exit 1" }), nil,
			"docker", "Cannot connect to the Docker daemon", "systemctl start docker"},
		{"no Compose", with(func(f *fakeDocker) { f.Compose = "exit 1" }), nil,
			"docker", "neither docker compose nor docker-compose", "docker-compose-plugin"},
		{"start fails", with(func(f *fakeDocker) {
			f.Up = "echo 'pull access denied, " + logcheck.Password + "' >&2; exit 18"
		}), nil, "start", "pull access denied, ***", "docker compose -f"},
		{"start hangs", with(func(f *fakeDocker) { f.Up = "exec /bin/sleep 60" }), nil, "start", "not done in time", ""},
		{"no container", with(func(f *fakeDocker) { f.Ps = ":" }), nil, "wait", "no container", "logs redis"},
		{"never healthy", works(`{"Status":"running","Running":true,"Health":{"Status":"unhealthy","Log":[{"Output":"NOAUTH for `+logcheck.Password+`"}]}}`, redis.Addr()), nil,
			"wait", "fogis-redis is unhealthy, and not healthy in time; its check says: NOAUTH for ***", "logs redis"},
		{"ends at once", works(`{"Status":"exited","Running":false,"ExitCode":3}`, redis.Addr()), nil,
			"wait", "ended with exit code 3: Fatal error, can not open config file", "logs redis"},
		{"answers nothing", works(healthy, faultnet.Reserve(t)), nil, "answers", "connection refused", "docker logs"},
		{"pub/sub refused", works(healthy, deaf.Addr()), nil, "pubsub", "NOPERM", "allow the user"},
		{"pub/sub delivers nothing", works(healthy, silent.Addr()), nil, "pubsub", "did not come back", "allow the user"},
		{"services have no password", good, map[string]string{"REDIS_URL": "redis://redis:6379"}, "services", "NOAUTH", "set REDIS_URL"},
		{"services have another name", good, map[string]string{"REDIS_URL": "redis://no-such.invalid:6379"}, "services", "no-such.invalid", "set REDIS_URL"},
		{"settings at fault", good, map[string]string{"REDIS_PORT": "x"}, "services", "REDIS_PORT", "correct"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.docker.install(t)
			env := test.env
			if env == nil {
				env = serviceEnv()
			}
			env["FOGIS_FALLBACK_URL"] = "http://127.0.0.1:1/manual-sync"
			for _, required := range []bool{false, true} {
				args := []string{"redis", "up", "--file", ourCompose(t), "--timeout", "3s"}
				code, result := exitDone, "warning"
				if required {
					args, code, result = append(args, "--required"), exitFailed, "failed"
				}
				p := start(t, env, "", args...)
				require.Equal(t, code, p.wait(), p.stderr)
				found := steps(t, p)
				require.Equal(t, "failed", found[test.step].Status, p.stdout)
				require.Contains(t, found[test.step].Detail, test.detail)
				require.Contains(t, found[test.step].Cure, test.cure)
				require.Equal(t, result, found["result"].Status)
				if !required {
					require.Contains(t, p.stderr.String(), health.SummaryFallback)
				}
			}
		})
	}
}

// runRedis runs a command as the default user with its password.
func runRedis(t *testing.T, server *realredis.Server, args ...any) {
	t.Helper()
	conn := (&deployment{command: &command{}, compose: &composed{password: logcheck.Password}}).connect(server.Addr())
	defer conn.Close()
	require.NoError(t, conn.Do(t.Context(), args...).Err())
}

func TestRedis_withoutDocker(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	file := ourCompose(t)
	for verb, skipped := range map[string]string{"up": "start", "status": "running", "down": "stop"} {
		p := start(t, nil, "", "redis", verb, "--file", file)
		require.Equal(t, exitDone, p.wait(), p.stderr)
		found := steps(t, p)
		require.Equal(t, "failed", found["docker"].Status)
		require.Contains(t, found["docker"].Detail, "docker is not on PATH")
		require.Contains(t, found["docker"].Cure, "install Docker")
		require.Equal(t, "skipped", found[skipped].Status)
		require.Contains(t, p.stderr.String(), "Redis does not work, and it is optional: the deployment goes on")

		p = start(t, nil, "", "redis", verb, "--file", file, "--required")
		require.Equal(t, exitFailed, p.wait(), p.stderr)
		require.Contains(t, p.stderr.String(), "docker is not on PATH")
	}
}

func TestRedis_disabled_isAWarning(t *testing.T) {
	redis := realredis.Start(t, "--requirepass", logcheck.Password)
	works(healthy, redis.Addr()).install(t)
	p := start(t, map[string]string{"REDIS_PUBSUB_ENABLED": "false"}, "", "redis", "status", "--required", "--file", ourCompose(t))
	require.Equal(t, exitDone, p.wait(), p.stderr)
	found := steps(t, p)
	require.Equal(t, "services warning, result ok", statuses(found, "services", "result"))
	require.Contains(t, found["services"].Detail, "REDIS_PUBSUB_ENABLED turns Redis off")
}

func TestRedis_interrupted_isAFailure(t *testing.T) {
	f := works(healthy, "127.0.0.1:1")
	f.Up = "exec /bin/sleep 3600" // far beyond the patience of stop
	f.install(t)
	p := start(t, nil, "", "redis", "up", "--file", ourCompose(t))
	p.saw("… start")
	require.Equal(t, exitFailed, p.stop(), p.stderr)
}

func TestRedis_wrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"restart"}, {"up", "extra"}, {"up", "--timeout", "-1s"}, {"up", "--nonsense"}} {
		p := start(t, nil, "", append([]string{"redis"}, args...)...)
		require.Equal(t, exitUsage, p.wait(), args)
	}
	p := start(t, nil, "", "redis", "-h")
	require.Equal(t, exitDone, p.wait())
	require.Contains(t, p.stderr.String(), "--required")
}

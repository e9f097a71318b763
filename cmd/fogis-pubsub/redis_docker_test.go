package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

const (
	redisImage = "redis:7-alpine"
	imageLabel = "fogispubsub.test"
)

// runDocker runs a program and returns what it wrote.
func runDocker(t *testing.T, stdin io.Reader, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.WaitDelay = stdin, killDelay
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// requireDocker skips or fails the test without a Docker engine and Compose.
func requireDocker(t *testing.T) *docker {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the image is made of this computer's own redis-server, which must be one for Linux")
	}
	realredis.Require(t, "redis-server")
	d, _, _, err := findDocker(t.Context(), "")
	if err != nil {
		realredis.Missing(t, err.Error())
	}
	return d
}

// makeImage tags an image with this computer's redis-server as the official
// one, unless that is there. The image's programs do what the official ones do
// for the Compose file.
func makeImage(t *testing.T) {
	t.Helper()
	label, err := runDocker(t, nil, "docker", "image", "inspect", "--format", `{{index .Config.Labels "`+imageLabel+`"}}`, redisImage)
	if err == nil && label != "1" {
		return // the real one
	}
	id, err := runDocker(t, imageTar(t), "docker", "import",
		"-c", `ENTRYPOINT ["docker-entrypoint.sh"]`, "-c", "ENV PATH=/usr/local/bin:/usr/bin:/bin", "-c", "LABEL "+imageLabel+"=1", "-", redisImage)
	require.NoError(t, err, id)
	t.Cleanup(func() {
		if out, err := runDocker(t, nil, "docker", "rmi", id); err != nil {
			t.Errorf("remove the image: %v: %s", err, out)
		}
	})
}

var sharedObject = regexp.MustCompile(`/\S+`)

// imageTar packs programs with the libraries that ldd names.
func imageTar(t *testing.T) io.Reader {
	t.Helper()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	done := map[string]bool{}
	add := func(name string, mode int64, data []byte) {
		if done[name] {
			return
		}
		done[name] = true
		require.NoError(t, w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: int64(len(data))}))
		_, err := w.Write(data)
		require.NoError(t, err)
	}
	file := func(path, name string) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		add(name, 0o755, data)
	}
	for _, program := range []string{"redis-server", "redis-cli", "sh", "cat"} {
		path := realredis.Require(t, program)
		file(path, "/usr/bin/"+program)
		if program == "sh" {
			file(path, "/bin/sh")
		}
		libraries, err := runDocker(t, nil, "ldd", path)
		require.NoError(t, err, libraries)
		for _, library := range sharedObject.FindAllString(libraries, -1) {
			file(library, library)
		}
	}
	add("/usr/local/bin/docker-entrypoint.sh", 0o755, []byte("#!/bin/sh\nexec \"$@\"\n"))
	for _, dir := range []string{"data/", "tmp/"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}))
	}
	require.NoError(t, w.Close())
	return &packed
}

// TestRedis_realDocker deploys the project's Compose file as it is, under names
// and a port of its own.
func TestRedis_realDocker(t *testing.T) {
	found := requireDocker(t)
	makeImage(t)
	file := ourCompose(t)
	addr := faultnet.Reserve(t)
	_, port, _ := strings.Cut(addr, ":")
	name := fmt.Sprintf("fogis-test-%d", os.Getpid())
	env := map[string]string{
		"COMPOSE_PROJECT_NAME":  name,
		"FOGIS_REDIS_CONTAINER": name + "-redis",
		"FOGIS_NETWORK":         name + "-network",
		"FOGIS_REDIS_PORT":      port,
		"REDIS_URL":             "redis://:" + logcheck.Password + "@redis:6379",
	}
	for variable, value := range env { // for Docker, which is a process of its own
		t.Setenv(variable, value)
	}
	t.Cleanup(func() {
		out, err := runDocker(t, nil, append(found.compose, "-f", file, "down", "--volumes", "--timeout", "5")...)
		require.NoError(t, err, out)
		left, err := runDocker(t, nil, "sh", "-c", "docker ps -aq --filter name="+name+"; docker volume ls -q --filter name="+name+"; docker network ls -q --filter name="+name)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	run := func(code int, args ...string) map[string]stepLine {
		p := start(t, env, "", append([]string{"redis"}, append(args, "--file", file, "--required")...)...)
		select {
		case got := <-p.code:
			require.Equal(t, code, got, p.stderr)
		case <-time.After(3 * time.Minute): // docker-compose takes seconds for each call
			require.FailNow(t, "the command did not end", p.stderr)
		}
		t.Log(p.stdout)
		return steps(t, p)
	}

	// The example of the services fits the file.
	t.Setenv("REDIS_PASSWORD", logcheck.Password) // of the server, so that the commands below take it too
	example, err := filepath.Abs(filepath.Join("..", "..", "deploy", "services.example.yml"))
	require.NoError(t, err)
	out, err := runDocker(t, nil, append(found.compose, "-f", file, "-f", example, "config")...)
	require.NoError(t, err, out)
	require.Equal(t, 2, strings.Count(out, "condition: service_healthy"), out)

	require.Equal(t, "running failed", statuses(run(exitFailed, "status"), "running"))
	lines := run(exitDone, "up")
	require.Equal(t, "docker ok, verify ok, start ok, wait ok, running ok, answers ok, pubsub ok, services ok, result ok",
		statuses(lines, "docker", "verify", "start", "wait", "running", "answers", "pubsub", "services", "result"))
	require.Contains(t, lines["running"].Detail, name+"-redis of image redis:7-alpine is healthy")
	require.Contains(t, lines["answers"].Detail, addr)

	conn := redis.NewClient(&redis.Options{Addr: addr, Password: logcheck.Password})
	defer conn.Close()
	for setting, want := range map[string]string{"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always", "dir": "/data"} {
		got, err := conn.ConfigGet(t.Context(), setting).Result()
		require.NoError(t, err)
		require.Equal(t, want, got[setting])
	}
	// The password is neither in the list of processes nor in docker inspect.
	for _, args := range [][]string{{"docker", "top", name + "-redis"}, {"docker", "inspect", name + "-redis"}} {
		out, err := runDocker(t, nil, args...)
		require.NoError(t, err, out)
		require.NotContains(t, out, logcheck.Password)
	}
	// What the steps said of the services holds where they are.
	out, err = runDocker(t, nil, "docker", "run", "--rm", "--network", name+"-network", "-e", "REDISCLI_AUTH="+logcheck.Password,
		redisImage, "redis-cli", "-h", "redis", "ping")
	require.NoError(t, err, out)
	require.Equal(t, "PONG", out)

	// It is there already, keeps its data, and can be stopped.
	require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"k", "v"}}).Err())
	run(exitDone, "up")
	require.Equal(t, "result ok", statuses(run(exitDone, "status"), "result"))
	require.Equal(t, "stop ok, result ok", statuses(run(exitDone, "down"), "stop", "result"))
	require.Contains(t, run(exitFailed, "status")["running"].Detail, "no container")
	run(exitDone, "up")
	require.EqualValues(t, 1, conn.XLen(t.Context(), "s").Val(), "the volume keeps it")

	// A container that does not come up is told with what it said.
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	broken := strings.Replace(string(text), "appendfsync always", "appendfsync sometimes", 1)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(broken, "restart: unless-stopped", `restart: "no"`, 1)), 0o600))
	lines = run(exitFailed, "up")
	require.Equal(t, "start ok, wait failed, running skipped", statuses(lines, "start", "wait", "running"))
	require.Contains(t, lines["wait"].Detail, "appendfsync")
	require.NoError(t, os.WriteFile(file, text, 0o600)) // for the end
}

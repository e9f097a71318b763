package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// Invented secrets, which no output may hold.
const (
	hiddenPassword   = "invented-wrong-8841"
	inventedPassword = "invented-secret-8842"
)

func keepsSecret(t *testing.T, r result, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		require.NotContains(t, r.stdout, secret)
		require.NotContains(t, r.stderr, secret)
	}
}

// A subscribe that was never subscribed has failed, whatever its time was for.
func TestBlackbox_subscribe_timeoutWithoutRedisFails(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, answers nothing
	require.NoError(t, err)
	defer silent.Close()
	for name, address := range map[string]string{"away": faultnet.Reserve(t), "silent": silent.Addr().String()} {
		for _, args := range [][]string{nil, {"--count", "1"}, {"--durable"}} {
			t.Run(name+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				env := map[string]string{"REDIS_URL": "redis://" + address, "FOGIS_SERVICE_NAME": "calendar"}
				r := operate(t, env, append([]string{"subscribe", "--timeout", "300ms"}, args...)...)
				require.Equal(t, exitFailed, r.code, r.stderr)
				require.Contains(t, r.stderr, "never subscribed")
				require.Empty(t, r.lines)
			})
		}
	}
	t.Run("there", func(t *testing.T) {
		t.Parallel()
		env := map[string]string{"REDIS_URL": realredis.Start(t).URL()}
		r := operate(t, env, "subscribe", "--timeout", "10s")
		require.Equal(t, exitDone, r.code, r.stderr)
		require.Contains(t, r.stderr, "subscribed")
	})
}

// An address with a password is shown by no command, wherever it stands.
func TestBlackbox_secrets_argumentsAreNotShown(t *testing.T) {
	t.Parallel()
	away := faultnet.Reserve(t)
	for _, address := range []string{
		"redis://user:" + inventedPassword + "@" + away,
		"redis://user:" + hiddenPassword + "@" + away,
		"redis://user:a/" + inventedPassword + "@" + away,
		"http://user:" + inventedPassword + "@" + away + "/manual-sync",
	} {
		for _, args := range [][]string{
			{address},
			{"check", address},
			{"check", "--redis", address},
			{"check", "--redis=" + address, "left over"},
			{"check", "--fallback", address},
			{"check", "--watch", address},
			{"check", "--no-such-flag=" + address},
			{"publish", address},
			{"publish", "matches", "--file", address},
			{"publish", "alert", "--redis", address, "--fallback", address},
			{"subscribe", "--count", address},
			{"subscribe", "--timeout", "200ms", "--redis", address, "--verbose"},
			{"deadletter", address},
			{"outbox", address},
			{"outbox", "list", "--path", address},
			{"redis", address},
			{"redis", "status", "--file", address},
			{"replay", "--type", address},
			{"check", "--redis-file", address},
		} {
			r := operate(t, map[string]string{"REDIS_MAX_RETRIES": "0"}, args...)
			keepsSecret(t, r, inventedPassword, hiddenPassword)
			if args[0] != "redis" || args[1] != "status" { // which is optional
				require.NotEqual(t, exitDone, r.code, args)
			}
		}
	}
}

// A secret that comes from a file appears in no argument and no variable.
func TestBlackbox_secrets_comeFromFiles(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--requirepass", inventedPassword)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
		return path
	}
	whole := file("redis://:" + inventedPassword + "@" + server.Addr())
	wrong := file("redis://:" + hiddenPassword + "@" + server.Addr())
	for _, test := range []struct {
		env  map[string]string
		args []string
		code int
	}{
		{nil, []string{"--redis-file", whole}, exitDone},
		{map[string]string{"REDIS_URL_FILE": whole}, nil, exitDone},
		{map[string]string{"REDIS_URL": "redis://" + server.Addr(), "REDIS_PASSWORD_FILE": file(inventedPassword)}, nil, exitDone},
		{nil, []string{"--redis-file", wrong}, exitFailed},
		{map[string]string{"REDIS_URL_FILE": wrong}, nil, exitFailed},
		{map[string]string{"REDIS_URL": "redis://" + server.Addr(), "REDIS_PASSWORD_FILE": file(hiddenPassword)}, nil, exitFailed},
	} {
		env := with(map[string]string{"REDIS_DURABLE": "false", "FOGIS_REQUIRE_RECEIVERS": "-1", "FOGIS_SERVICE_NAME": "processor"})
		for name, value := range test.env {
			env[name] = value
		}
		r := operate(t, env, append([]string{"publish", "matches", "--file", snapshot(t, 1), "--verbose"}, test.args...)...)
		require.Equal(t, test.code, r.code, "%v %v: %s", test.env, test.args, r.stderr)
		keepsSecret(t, r, inventedPassword, hiddenPassword)
	}
	help := operate(t, nil, "check", "-h")
	require.Contains(t, help.stderr, "ps shows it")
}

// What Docker says of a service's settings is shown without the secrets of any
// service, wherever the Compose file has them from.
func TestBlackbox_secrets_ofTheComposeFileAreNotShown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ service, top, file, text string }{
		"environment, a map":      {service: "    environment:\n      DB_PASSWORD: " + inventedPassword},
		"environment, a list":     {service: "    environment: [\"DB_PASSWORD=" + inventedPassword + "\"]"},
		"env_file":                {service: "    env_file: other.env", file: "other.env", text: "DB_PASSWORD=" + inventedPassword},
		"env_file, a list":        {service: "    env_file: [other.env]", file: "other.env", text: "# DB\nDB_PASSWORD=\"" + inventedPassword + "\""},
		"env_file, the long form": {service: "    env_file:\n      - path: other.env\n        required: false", file: "other.env", text: "export API_KEY='" + inventedPassword + "'"},
		".env":                    {file: ".env", text: "DB_PASSWORD=" + inventedPassword},
		"a secret of a variable":  {top: "secrets:\n  token:\n    environment: INVENTED", file: ".env", text: "INVENTED=" + inventedPassword},
		"a command":               {service: "    command: server --requirepass " + inventedPassword + " --appendonly yes"},
		"a command, a list":       {service: "    command: [server, --db-password=" + inventedPassword + "]"},
		"an entrypoint":           {service: "    entrypoint: redis-cli -a \"" + inventedPassword + "\" ping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			compose := "services:\n  redis:\n    image: redis:7-alpine\n  other:\n    image: other\n" + test.service + "\n" + test.top + "\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte(compose), 0o600))
			if test.file != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, test.file), []byte(test.text+"\n"), 0o600))
			}
			script := "#!/bin/sh\ncase \"$*\" in\nversion*|*\" version\"*) echo 27.0 ;;\n*) echo 'refused: " + inventedPassword + " is wrong' >&2; exit 1 ;;\nesac\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700))
			for _, verb := range []string{"up", "status", "down"} {
				r := operate(t, map[string]string{"PATH": dir}, "redis", verb, "--file", filepath.Join(dir, "docker-compose.yml"), "--required")
				require.Equal(t, exitFailed, r.code, r.stderr)
				require.Contains(t, r.stdout, "refused: *** is wrong")
				keepsSecret(t, r, inventedPassword)
			}
		})
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

func noEnv(string) string { return "" }

func TestCheckCompose_ourFile_hasNoFinding(t *testing.T) {
	t.Parallel()
	path := ourCompose(t)
	c := checkCompose(path, noEnv)
	require.Empty(t, c.findings)
	require.Equal(t, logcheck.Password, c.password)

	// Published everywhere it has its password; elsewhere the secret may lie.
	require.Empty(t, checkCompose(path, func(name string) string {
		return map[string]string{"FOGIS_REDIS_BIND": "0.0.0.0", "FOGIS_REDIS_PASSWORD_FILE": filepath.Join(filepath.Dir(path), "secrets", "redis_password")}[name]
	}).findings)
	c = checkCompose(path, func(name string) string {
		return map[string]string{"FOGIS_REDIS_PASSWORD_FILE": "elsewhere"}[name]
	})
	require.True(t, c.faulty())
	require.Contains(t, c.findings[0].text, filepath.Join(filepath.Dir(path), "elsewhere"))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".env"), []byte("# ours\nFOGIS_REDIS_PASSWORD_FILE=\"nowhere\"\n"), 0o600))
	require.Contains(t, checkCompose(path, noEnv).findings[0].text, "nowhere")
}

// The deployment document's own snippet can be started, with warnings.
func TestCheckCompose_snippetOfTheDeployment(t *testing.T) {
	t.Parallel()
	c := checkCompose(composeIn(t, `services:
  redis:
    image: redis:7-alpine
    container_name: fogis-redis
    ports:
      - "6379:6379"
    volumes:
      - redis-data:/data
    networks:
      - fogis-network
volumes:
  redis-data:
networks:
  fogis-network:
`), noEnv)
	require.False(t, c.faulty())
	texts := ""
	for _, f := range c.findings {
		texts += f.text + "\n"
		require.NotEmpty(t, f.cure)
	}
	require.Contains(t, texts, "appendonly is not set")
	require.Contains(t, texts, "published on all addresses")
	require.Contains(t, texts, "no health check")
	require.Len(t, c.findings, 3)
}

func TestCheckCompose_findings(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docker-compose.yml"))
	require.NoError(t, err)
	ours := string(text)
	without := func(from, to string) string {
		before, rest, ok := strings.Cut(ours, from)
		require.True(t, ok)
		_, after, ok := strings.Cut(rest, to)
		require.True(t, ok)
		return before + to + after
	}
	replaced := func(old, by string) string {
		require.Contains(t, ours, old)
		return strings.Replace(ours, old, by, 1)
	}
	tests := []struct {
		name, file string
		fault      bool
		text, cure string
	}{
		{"broken", "services:\n  redis:\n   - [" + logcheck.Password, true, "is no Compose file: line", "docker compose config"},
		{"other form", "services:\n  redis: " + logcheck.Password + "\n", true, "line 2", "docker compose config"},
		{"empty", "", true, "no service \"redis\"", "copy it"},
		{"no service", "services:\n  web: {image: x}\n  db: {image: y}\n", true, "its services are: db, web", "copy it"},
		{"no image", replaced("image: redis:7-alpine", "init: true"), true, "has no image", "redis:7-alpine"},
		{"old image", replaced("redis:7-alpine", "docker.io/library/redis:6.2-alpine"), false, "needs Redis 7", "redis:7-alpine"},
		{"evicts", replaced("maxmemory-policy noeviction", "maxmemory-policy allkeys-lru"), true, "allkeys-lru", "noeviction"},
		{"evicts leases", replaced("maxmemory-policy noeviction", "maxmemory-policy volatile-ttl"), true, "volatile-ttl", "noeviction"},
		{"keeps nothing", replaced("appendonly yes", "appendonly no"), false, "appendonly", "appendonly yes"},
		{"password in the command", replaced(`requirepass "$$(cat /run/secrets/redis_password)"`, "requirepass hunter2"), false, "docker inspect shows it", "secret"},
		{"undefined secret", ours[:strings.LastIndex(ours, "\nsecrets:")], true, "does not define", "define"},
		{"no volume", without("    volumes:\n", "    networks:\n"), false, "keeps nothing", "redis-data:/data"},
		{"no health check", without("    healthcheck:\n", "    security_opt:\n"), false, "no health check", "redis-cli ping"},
		{"open to all", "services:\n  redis:\n    image: redis:7\n    ports: [\"0.0.0.0:6379:6379\"]\n", false, "all addresses", "127.0.0.1"},
		{"open to all, long form", "services:\n  redis:\n    image: redis:7\n    ports: [{target: 6379, published: 6379}]\n", false, "all addresses", "127.0.0.1"},
		{"open to all, any port", "services:\n  redis:\n    image: redis:7\n    ports: [6379]\n", false, "all addresses", "127.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := checkCompose(composeIn(t, test.file), noEnv)
			require.Equal(t, test.fault, c.faulty())
			found := false
			for _, f := range c.findings {
				logcheck.Clean(t, "finding", f.text+f.cure)
				require.NotContains(t, f.text+f.cure, "hunter2")
				found = found || strings.Contains(f.text, test.text) && strings.Contains(f.cure, test.cure)
			}
			require.True(t, found, "%v", c.findings)
		})
	}
	for _, port := range []any{"127.0.0.1:6379:6379", "[::1]:6379:6379", map[string]any{"target": 6379}, map[string]any{"published": "1", "host_ip": "127.0.0.1"}} {
		require.False(t, everywhere(port, noEnv), port)
	}
}

func TestCheckCompose_secret(t *testing.T) {
	t.Parallel()
	for contents, text := range map[string]string{"\n": "is empty", "a b": "spaces", "a\nb\n": "several lines", `a"b`: "quotes"} {
		path := ourCompose(t)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "secrets", "redis_password"), []byte(contents), 0o600))
		c := checkCompose(path, noEnv)
		require.True(t, c.faulty())
		require.Contains(t, c.findings[0].text, text)
		require.Contains(t, c.findings[0].cure, "openssl rand -hex 32")
	}
	path := ourCompose(t)
	secret := filepath.Join(filepath.Dir(path), "secrets", "redis_password")
	require.NoError(t, os.Remove(secret))
	require.NoError(t, os.Mkdir(secret, 0o700)) // as Compose makes it of a file that is missing
	require.True(t, checkCompose(path, noEnv).faulty())
	require.True(t, checkCompose(filepath.Join(t.TempDir(), "docker-compose.yml"), noEnv).faulty())
}

func TestExpand(t *testing.T) {
	t.Parallel()
	env := func(name string) string { return map[string]string{"A": "1"}[name] }
	for text, want := range map[string]string{
		"$A-${A}-${A:-x}-${B:-x}-${B-x}-${B}-${A:+y}-${B:+y}-${A:?z}": "1-1-1-x-x--y--1",
		"$$(cat $$A)": "$(cat $A)",
		"$ {A} a$":    "$ {A} a$",
	} {
		require.Equal(t, want, expand(text, env))
	}
}

package devserver_test

import (
	"strings"
	"testing"

	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/stretchr/testify/require"
)

func TestServer_INFO_sections(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	c := client(t, s)
	for section, key := range map[string]string{
		"server":      "redis_version:",
		"clients":     "connected_clients:1",
		"memory":      "used_memory:",
		"persistence": "loading:0",
		"stats":       "total_commands_processed:",
		"replication": "role:master",
		"cluster":     "cluster_enabled:0",
	} {
		text, err := c.Info(t.Context(), section).Result()
		require.NoError(t, err, section)
		require.Contains(t, text, key)
		require.Equal(t, 1, strings.Count(text, "# "), text)
	}
	text, err := c.Info(t.Context()).Result()
	require.NoError(t, err)
	require.Equal(t, 7, strings.Count(text, "# "), text)
	text, err = c.Info(t.Context(), "memory", "clients").Result()
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(text, "# "), text)
	text, err = c.Info(t.Context(), "nonsense").Result()
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestServer_CONFIG_GET(t *testing.T) {
	t.Parallel()
	c := client(t, start(t, devserver.Options{}))
	for name, want := range map[string]string{
		"maxmemory":                  "0",
		"maxmemory-policy":           "noeviction",
		"appendonly":                 "no",
		"SAVE":                       "",
		"client-output-buffer-limit": "normal 0 0 0 slave 0 0 0 pubsub 33554432 0 0",
	} {
		got, err := c.ConfigGet(t.Context(), name).Result()
		require.NoError(t, err, name)
		require.Equal(t, map[string]string{strings.ToLower(name): want}, got)
	}
	got, err := c.ConfigGet(t.Context(), "maxmemory*").Result()
	require.NoError(t, err)
	require.Len(t, got, 2)
	got, err = c.ConfigGet(t.Context(), "nonsense").Result()
	require.NoError(t, err)
	require.Empty(t, got)
	require.Error(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
}

func TestServer_CLIENT_SETINFO(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	got := exchange(t, s, "CLIENT SETINFO lib-name x\r\nCLIENT SETNAME n\r\nCLIENT GETNAME\r\nQUIT\r\n")
	require.Equal(t, "+OK\r\n+OK\r\n$1\r\nn\r\n+OK\r\n", got)
}

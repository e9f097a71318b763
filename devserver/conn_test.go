package devserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// stuckSubscriber subscribes to x and never reads again.
func stuckSubscriber(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n")
	require.NoError(t, err)
	confirmation := "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"
	require.NoError(t, c.SetReadDeadline(time.Now().Add(long)))
	_, err = io.ReadFull(c, make([]byte, len(confirmation)))
	require.NoError(t, err)
	return c
}

// flood publishes megabytes to x, far more than the sockets hold, and returns
// the first error.
func flood(ctx context.Context, c *redis.Client, megabytes int) error {
	payload := strings.Repeat("x", 1<<20)
	for range megabytes {
		if err := c.Publish(ctx, "x", payload).Err(); err != nil {
			return err
		}
	}
	return nil
}

// What the guard is for: miniredis alone stops answering anybody.
func TestMiniredis_aloneIsWedgedByAStuckSubscriber(t *testing.T) {
	t.Parallel()
	bare := miniredis.NewMiniRedis()
	require.NoError(t, bare.Start())
	addr := bare.Addr() // would hang later, like all else
	stuck := stuckSubscriber(t, addr)
	defer bare.Close()
	defer stuck.Close() // sets it free

	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ReadTimeout: time.Second})
	defer c.Close()
	var timeout net.Error
	err := flood(t.Context(), c, 64)
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "publishing: %v", err)

	other := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ReadTimeout: time.Second})
	defer other.Close()
	err = other.Get(t.Context(), "k").Err()
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "another client: %v", err)
}

func TestServer_stuckSubscriberIsDisconnected(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	s := start(t, devserver.Options{Logger: logger, OutputLimit: 4 << 20})
	stuck := stuckSubscriber(t, s.Addr())
	c := client(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	require.NoError(t, flood(ctx, c, 32))
	require.NoError(t, c.Set(ctx, "k", "v", 0).Err())

	require.NoError(t, stuck.SetReadDeadline(time.Now().Add(long)))
	got, err := io.Copy(io.Discard, stuck)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "still connected")
	require.Less(t, got, int64(32<<20))
	require.Eventually(t, func() bool {
		return log.Count("embedded Redis disconnected a client that does not read") == 1
	}, long, time.Millisecond)
	require.Zero(t, c.Publish(ctx, "x", "y").Val(), "counts a subscriber that is gone")
}

func TestServer_slowSubscriberWithinTheLimitGetsAll(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	slow := stuckSubscriber(t, s.Addr())
	c := client(t, s)
	require.NoError(t, flood(t.Context(), c, 10))
	require.EqualValues(t, 1, c.Publish(t.Context(), "x", "last").Val())

	require.NoError(t, slow.SetReadDeadline(time.Now().Add(long)))
	frame := "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1048576\r\n" + strings.Repeat("x", 1<<20) + "\r\n"
	want := strings.Repeat(frame, 10) + "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$4\r\nlast\r\n"
	got := make([]byte, len(want))
	_, err := io.ReadFull(slow, got)
	require.NoError(t, err)
	require.True(t, want == string(got), "bytes differ")
}

func TestServer_bigAnswerPassesTheLimit(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{OutputLimit: 1 << 20})
	c := client(t, s)
	value := strings.Repeat("v", 8<<20)
	require.NoError(t, c.Set(t.Context(), "k", value, 0).Err())
	got, err := c.Get(t.Context(), "k").Result()
	require.NoError(t, err)
	require.True(t, value == got)
}

func TestServer_QUIT_isAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	require.Equal(t, "+PONG\r\n+OK\r\n", exchange(t, s, "PING\r\n*1\r\n$4\r\nQUIT\r\n"))
}

func TestServer_oddCommands(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	const quit = "*1\r\n$4\r\nQUIT\r\n"
	for _, test := range []struct{ name, send, want string }{
		{"inline", "set k  v\nget k\r\n" + quit, "+OK\r\n$1\r\nv\r\n+OK\r\n"},
		{"empty inline", "\r\n\n  \r\n" + quit, "+OK\r\n"},
		{"empty array", "*0\r\n*-1\r\n" + quit, "+OK\r\n"},
		{"unknown", "*1\r\n$5\r\nNOSUC\r\n" + quit, "-ERR unknown command `NOSUC`, with args beginning with: \r\n+OK\r\n"},
		{"no number", "*x\r\n" + quit, ""},
		{"too many", "*99999999999\r\n" + quit, ""},
		{"too long", "*1\r\n$99999999999\r\n" + quit, ""},
		{"negative", "*1\r\n$-1\r\n" + quit, ""},
		{"no bulk", "*1\r\n:1\r\n" + quit, ""},
		{"endless line", strings.Repeat("x", 100_000), ""},
	} {
		require.Equal(t, test.want, exchange(t, s, test.send), test.name)
	}
}

// A web page can have the browser send a POST to any port of this machine, with
// commands in its body. Redis ends such a connection before it comes to these.
func TestServer_httpRequestEndsTheConnection(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	s := start(t, devserver.Options{Logger: logger})
	c := client(t, s)
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	for i, request := range []string{
		"POST / HTTP/1.1\r\n\r\nFLUSHALL\r\n",
		"post / HTTP/1.1\r\n\r\nFLUSHALL\r\n",
		"Host: localhost:6379\r\n\r\nFLUSHALL\r\n",
		"OPTIONS / HTTP/1.1\r\nhost: localhost:6379\r\n\r\nFLUSHALL\r\n",
		"*1\r\n$4\r\nPOST\r\n*1\r\n$8\r\nFLUSHALL\r\n",
	} {
		require.NotContains(t, exchange(t, s, request), "+OK", request)
		require.Eventually(t, func() bool {
			return log.Count("embedded Redis disconnected a client that speaks HTTP; a web page may be attacking it") == i+1
		}, long, time.Millisecond)
		require.Equal(t, "v", c.Get(t.Context(), "k").Val(), request)
	}
}

// exchange sends text and returns all that comes until the server ends it.
func exchange(t *testing.T, s *devserver.Server, text string) string {
	t.Helper()
	c, err := s.Dial()
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(long)))
	go func() { _, _ = io.WriteString(c, text) }()
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(answer)
}

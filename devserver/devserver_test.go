package devserver_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// long is never reached when all is well.
const long = time.Minute

func start(t *testing.T, options devserver.Options) *devserver.Server {
	t.Helper()
	if options.Logger == nil {
		options.Logger = logcheck.New(t)
	}
	s, err := devserver.Start(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func client(t *testing.T, s *devserver.Server) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(s.URL())
	require.NoError(t, err)
	options.MaxRetries = -1
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pipeClient is a client over Dial, for bubbles. Its address is an IP address,
// because go-redis looks a host name up while it makes a client.
func pipeClient(t *testing.T, s *devserver.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:       "192.0.2.7:6379",
		MaxRetries: -1,
		Dialer:     func(context.Context, string, string) (net.Conn, error) { return s.Dial() },
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestStart_zeroOptionsServeOnLoopback(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	s := start(t, devserver.Options{Logger: logger})
	host, _, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	require.Equal(t, "redis://"+s.Addr()+"/0", s.URL())

	records := log.Records()
	require.Len(t, records, 1)
	require.Equal(t, slog.LevelWarn, records[0].Level)
	require.Contains(t, records[0].Message, "development")
	require.Equal(t, s.Addr(), records[0].Attrs["addr"])

	c := client(t, s)
	sub := c.Subscribe(t.Context(), "fogis:matches:updates")
	defer sub.Close()
	_, err = sub.Receive(t.Context())
	require.NoError(t, err)
	n, err := c.Publish(t.Context(), "fogis:matches:updates", "Ängsvik").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	m, err := sub.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Ängsvik", m.Payload)
}

func TestStart_addressesOfOthersNeedPermission(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "redis.example.com:6379", "nonsense"} {
		_, err := devserver.Start(devserver.Options{Addr: addr})
		require.ErrorContains(t, err, "Options.Addr", addr)
	}
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.2:0", "localhost:0"} {
		require.NotEmpty(t, start(t, devserver.Options{Addr: addr}).Addr(), addr)
	}
	remote := start(t, devserver.Options{Addr: "0.0.0.0:0", AllowRemote: true})
	require.NotEmpty(t, remote.Addr())
}

func TestStart_addressInUse(t *testing.T) {
	t.Parallel()
	s := start(t, devserver.Options{})
	_, err := devserver.Start(devserver.Options{Addr: s.Addr()})
	require.ErrorContains(t, err, "Options.Addr")
}

func TestServer_Close_freesTheAddress(t *testing.T) {
	t.Parallel()
	first := start(t, devserver.Options{Addr: faultnet.Reserve(t)})
	c := client(t, first)
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	require.NoError(t, first.Close())
	require.NoError(t, first.Close())
	require.Error(t, c.Ping(t.Context()).Err())
	_, err := first.Dial()
	require.ErrorIs(t, err, devserver.ErrClosed)

	second := start(t, devserver.Options{Addr: first.Addr()})
	require.Equal(t, first.URL(), second.URL())
	require.Zero(t, c.Exists(t.Context(), "k").Val())
	require.NoError(t, c.Ping(t.Context()).Err())
}

func TestServer_Close_withBusyConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := devserver.New(devserver.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		c := pipeClient(t, s)
		sub := c.Subscribe(t.Context(), "x")
		defer sub.Close()
		_, err = sub.Receive(t.Context())
		require.NoError(t, err)
		stuck, err := s.Dial()
		require.NoError(t, err)
		_, err = io.WriteString(stuck, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n") // and never reads
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, c.Publish(t.Context(), "x", "y").Err())
		require.NoError(t, s.Close())
		_, err = stuck.Write([]byte("PING\r\n"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.Error(t, c.Ping(t.Context()).Err())
	}) // the bubble fails if a goroutine is left
}

func TestServer_Dial_inABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := devserver.New(devserver.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		defer s.Close()
		require.Empty(t, s.Addr())
		require.Empty(t, s.URL())
		c := pipeClient(t, s)
		sub := c.Subscribe(t.Context(), "x")
		defer sub.Close()
		_, err = sub.Receive(t.Context())
		require.NoError(t, err)
		begin := time.Now()
		for range 6 {
			time.Sleep(10 * time.Minute)
			require.NoError(t, c.Publish(t.Context(), "x", "y").Err())
			m, err := sub.ReceiveMessage(t.Context())
			require.NoError(t, err)
			require.Equal(t, "y", m.Payload)
		}
		require.Equal(t, time.Hour, time.Since(begin))
	})
}

func TestServer_keysExpireWithTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := devserver.New(devserver.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		defer s.Close()
		c := pipeClient(t, s)
		require.NoError(t, c.Set(t.Context(), "lease", "me", 15*time.Second).Err())
		time.Sleep(14 * time.Second)
		require.Equal(t, "me", c.Get(t.Context(), "lease").Val())
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, c.Get(t.Context(), "lease").Err(), redis.Nil)
		// An expired key is free for the next owner.
		ok, err := c.SetNX(t.Context(), "lease", "you", time.Second).Result()
		require.NoError(t, err)
		require.True(t, ok)
	})
}

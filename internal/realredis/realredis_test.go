package realredis_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/stretchr/testify/require"
)

func TestServer_Start_answersAndKeepsNothing(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	c := s.Client(t)
	require.NoError(t, c.Ping(t.Context()).Err())
	require.Equal(t, "redis://"+s.Addr()+"/0", s.URL())
	save, err := c.ConfigGet(t.Context(), "save").Result()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"save": ""}, save)
}

func TestServer_Start_argumentsOverride(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t, "--requirepass", "s3kret-l0senord")
	require.ErrorContains(t, s.Client(t).Ping(t.Context()).Err(), "NOAUTH")
}

func TestServer_Setenv_reachesTheServer(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // its loader tells of what it cannot preload
	}
	s := realredis.New(t)
	s.Setenv("LD_PRELOAD=no-such-library.so")
	for n := range 2 {
		s.Start()
		require.Equal(t, n+1, strings.Count(s.Log(), "no-such-library.so"))
		s.Stop()
	}
}

func TestServer_New_refusesUntilStarted(t *testing.T) {
	t.Parallel()
	s := realredis.New(t)
	require.Zero(t, s.PID())
	require.Error(t, s.Client(t).Ping(t.Context()).Err())
	_, err := net.Dial("tcp", s.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	s.Start()
	require.NoError(t, s.Client(t).Ping(t.Context()).Err())
}

func TestServer_Restart_sameAddressNewProcess(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	c := s.Client(t)
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	addr, pid := s.Addr(), s.PID()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()

	s.Restart()

	require.Equal(t, addr, s.Addr())
	require.NotEqual(t, pid, s.PID())
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Eventually(t, func() bool {
		n, err := c.Exists(t.Context(), "k").Result()
		return err == nil && n == 0
	}, time.Minute, 5*time.Millisecond)
}

func TestServer_Stop_isIdempotent(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	s.Stop()
	s.Stop()
	require.Zero(t, s.PID())
	_, err := net.Dial("tcp", s.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestServer_Pause_acceptsAndStaysSilentUntilResume(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	s.Pause()
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("PING\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	s.Resume()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	answer := make([]byte, 7)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", string(answer))
}

func TestServer_Stop_ofPausedServer(t *testing.T) {
	t.Parallel()
	s := realredis.Start(t)
	s.Pause()
	s.Restart()
	require.NoError(t, s.Client(t).Ping(t.Context()).Err())
}

func TestServer_Log_tellsOfStart(t *testing.T) {
	t.Parallel()
	require.Contains(t, realredis.Start(t).Log(), "Ready to accept connections")
}

// The server must not outlive a test binary that is killed. The test runs its
// own binary with a helper test in it, kills that, and looks for the server.
func TestServer_diesWithTestBinary(t *testing.T) {
	t.Parallel()
	realredis.Require(t, "redis-server")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelper_serverForParent$", "-test.count=1")
	// Its temporary directory is ours, since a killed test cannot remove it.
	cmd.Env = append(os.Environ(), helperVariable+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	addr := readAddress(t, out)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", addr)
		return errors.Is(err, syscall.ECONNREFUSED)
	}, time.Minute, 5*time.Millisecond)
}

const helperVariable = "REALREDIS_TEST_HELPER"

func TestHelper_serverForParent(t *testing.T) {
	if os.Getenv(helperVariable) == "" {
		return // runs only as the child of TestServer_diesWithTestBinary
	}
	s := realredis.Start(t)
	_, err := os.Stdout.WriteString("address=" + s.Addr() + "\n")
	require.NoError(t, err)
	<-t.Context().Done()
}

func readAddress(t *testing.T, r io.Reader) string {
	t.Helper()
	var text strings.Builder
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		text.Write(buf[:n])
		if _, after, ok := strings.Cut(text.String(), "address="); ok {
			if addr, _, ok := strings.Cut(after, "\n"); ok {
				return addr
			}
		}
		require.NoError(t, err, "output of the helper: %s", &text)
	}
}

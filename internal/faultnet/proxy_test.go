package faultnet_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/stretchr/testify/require"
)

// Waits of these tests: long is never reached when all is well, short is how
// long nothing must come.
const (
	long  = time.Minute
	short = 50 * time.Millisecond
)

// echo answers every line with the same line and counts what it got.
func echo(t *testing.T) (addr string, got func() string) {
	t.Helper()
	return serve(t, func(c net.Conn, line []byte) { _, _ = c.Write(line) })
}

// serve calls handle for every chunk that a client sends.
func serve(t *testing.T, handle func(net.Conn, []byte)) (addr string, got func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	received := make(chan string, 1)
	received <- ""
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					received <- <-received + string(buf[:n])
					handle(c, buf[:n])
				}
			}()
		}
	}()
	return l.Addr().String(), func() string {
		s := <-received
		received <- s
		return s
	}
}

func dial(t *testing.T, p *faultnet.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(long)))
	buf := make([]byte, len(want))
	_, err := io.ReadFull(c, buf)
	require.NoError(t, err)
	require.Equal(t, want, string(buf))
}

func silent(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(short)))
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "got %q", buf[:n])
}

// ended waits for the end of c and returns what came before and the error.
func ended(t *testing.T, c net.Conn) (string, error) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(long)))
	text, err := io.ReadAll(c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	return string(text), err
}

func TestProxy_passesBothWays(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	text := strings.Repeat("Ängsvik ", 100_000) + "\n"
	go func() { _, _ = io.WriteString(c, text) }()
	receive(t, c, text)
	total, open := p.Conns()
	require.Equal(t, 1, total)
	require.Equal(t, 1, open)
}

func TestProxy_passesEndsOn(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, func(c net.Conn, _ []byte) {
		_, _ = io.WriteString(c, "bye\n")
		_ = c.Close()
	})
	p := faultnet.New(t, addr)
	c := dial(t, p)
	send(t, c, "quit\n")
	text, err := ended(t, c)
	require.NoError(t, err)
	require.Equal(t, "bye\n", text)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { _, open := p.Conns(); return open == 0 }, long, time.Millisecond)
}

func TestProxy_targetAwayClosesConnection(t *testing.T) {
	t.Parallel()
	p := faultnet.New(t, faultnet.Reserve(t))
	text, err := ended(t, dial(t, p))
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestProxy_Cut_endsConnectionsAndAcceptsNew(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	first, second := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{first, second} {
		send(t, c, "a\n")
		receive(t, c, "a\n")
	}
	p.Cut()
	for _, c := range []net.Conn{first, second} {
		_, err := ended(t, c)
		require.NoError(t, err)
	}
	total, open := p.Conns()
	require.Equal(t, 2, total)
	require.Equal(t, 0, open)
	third := dial(t, p)
	send(t, third, "b\n")
	receive(t, third, "b\n")
}

func TestProxy_Reset_isNoOrderlyEnd(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	send(t, c, "a\n")
	receive(t, c, "a\n")
	p.Reset()
	_, err := ended(t, c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestProxy_Refuse_closesThePortAndKeepsConnections(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	send(t, c, "a\n")
	receive(t, c, "a\n")
	for range 3 {
		p.Refuse(true)
		p.Refuse(true)
		for range 20 {
			_, err := net.Dial("tcp", p.Addr())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		send(t, c, "b\n")
		receive(t, c, "b\n")
		p.Refuse(false)
		p.Refuse(false)
		again := dial(t, p)
		send(t, again, "c\n")
		receive(t, again, "c\n")
	}
}

func TestProxy_BlackHole_holdsEverythingBack(t *testing.T) {
	t.Parallel()
	addr, got := echo(t)
	p := faultnet.New(t, addr)
	old := dial(t, p)
	send(t, old, "a\n")
	receive(t, old, "a\n")

	p.BlackHole(true)
	send(t, old, "b\n")
	silent(t, old)
	fresh := dial(t, p)
	send(t, fresh, "c\n")
	silent(t, fresh)
	require.Equal(t, "a\n", got())

	p.BlackHole(false)
	receive(t, old, "b\n")
	receive(t, fresh, "c\n")
}

func TestProxy_BlackHole_hidesTheEndOfTheServer(t *testing.T) {
	t.Parallel()
	conns := make(chan net.Conn, 1)
	addr, _ := serve(t, func(c net.Conn, line []byte) {
		_, _ = c.Write(line)
		conns <- c
	})
	p := faultnet.New(t, addr)
	c := dial(t, p)
	send(t, c, "a\n")
	receive(t, c, "a\n")
	p.BlackHole(true)
	require.NoError(t, (<-conns).Close())
	silent(t, c)
	p.BlackHole(false)
	_, err := ended(t, c)
	require.NoError(t, err)
}

func TestProxy_BlackHole_canBeCut(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	p.BlackHole(true)
	c := dial(t, p)
	require.Eventually(t, func() bool { _, open := p.Conns(); return open == 1 }, long, time.Millisecond)
	p.Cut()
	_, err := ended(t, c)
	require.NoError(t, err)
}

func TestProxy_SwallowAnswers_requestsArrive(t *testing.T) {
	t.Parallel()
	addr, got := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	p.SwallowAnswers(true)
	send(t, c, "a\n")
	require.Eventually(t, func() bool { return got() == "a\n" }, long, time.Millisecond)
	silent(t, c)
	p.SwallowAnswers(false)
	send(t, c, "b\n")
	receive(t, c, "b\n")
}

func TestProxy_SwallowNextAnswer_serverGotIt(t *testing.T) {
	t.Parallel()
	addr, got := echo(t)
	p := faultnet.New(t, addr)
	c, other := dial(t, p), dial(t, p)
	done := p.SwallowNextAnswer()
	send(t, c, "a\n")
	text, err := ended(t, c)
	require.NoError(t, err)
	require.Empty(t, text)
	<-done
	require.Equal(t, "a\n", got())
	// Only that one.
	send(t, other, "b\n")
	receive(t, other, "b\n")
}

func TestProxy_SwallowNextAnswer_ofOneCommand(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	done := p.SwallowNextAnswer("publish")
	send(t, c, "HELLO 2\n")
	receive(t, c, "HELLO 2\n")
	select {
	case <-done:
		require.Fail(t, "lost the answer to another command")
	default:
	}
	send(t, c, "PUBLISH x y\n")
	text, err := ended(t, c)
	require.NoError(t, err)
	require.Empty(t, text)
	<-done
}

func TestProxy_HalfFrame_thenSilence(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c, other := dial(t, p), dial(t, p)
	done := p.HalfFrame()
	send(t, c, "12345678")
	receive(t, c, "1234")
	<-done
	send(t, c, "more")
	silent(t, c)
	send(t, other, "whole")
	receive(t, other, "whole")
	p.Cut()
	text, err := ended(t, c)
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestProxy_Disarm_forgetsWhatHasNotComeAbout(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	half, lost := p.HalfFrame(), p.SwallowNextAnswer("abc")
	p.Disarm()
	send(t, c, "abc")
	receive(t, c, "abc")
	for _, done := range []<-chan struct{}{half, lost} {
		select {
		case <-done:
			t.Fatal("it came about")
		default:
		}
	}
}

func TestProxy_Slow_takesItsTime(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	p.Slow(1000)
	start := time.Now()
	send(t, c, strings.Repeat("x", 100))
	receive(t, c, strings.Repeat("x", 100))
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
	p.Slow(0)
	send(t, c, strings.Repeat("y", 100_000))
	receive(t, c, strings.Repeat("y", 100_000))
}

func TestProxy_Slow_endsWithTheTest(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	t.Run("", func(t *testing.T) {
		p := faultnet.New(t, addr)
		p.Slow(1)
		send(t, dial(t, p), "never seen")
	}) // returns at once, or the test times out
}

func TestProxy_ByteByByte_passesAll(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	p.ByteByByte(true)
	c := dial(t, p)
	want := strings.Repeat("Åby IF - Östra BK\n", 1000)
	send(t, c, want)
	receive(t, c, want)
}

func TestProxy_FilterToClient_changesChunks(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	p := faultnet.New(t, addr)
	c := dial(t, p)
	p.FilterToClient(func(chunk []byte) []byte { return bytes.ToUpper(chunk) })
	send(t, c, "abc")
	receive(t, c, "ABC")
	p.FilterToClient(func([]byte) []byte { return nil })
	send(t, c, "dropped")
	silent(t, c)
	p.FilterToClient(nil)
	send(t, c, "abc")
	receive(t, c, "abc")
}

func TestProxy_DropMessages_keepsAnswers(t *testing.T) {
	t.Parallel()
	const (
		message  = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$10\r\n*2\r\nmessa\n\r\n"
		pmessage = ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$2\r\nhi\r\n"
		pong     = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		confirm  = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
	)
	for name, slice := range map[string]int{"whole": 1 << 20, "byte by byte": 1, "sevens": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := confirm + message + pong + pmessage + "+OK\r\n$-1\r\n%1\r\n$1\r\nk\r\n:1\r\n" + message + "-ERR x\r\n" + pong
			addr, _ := serve(t, func(c net.Conn, _ []byte) {
				for b := []byte(stream); len(b) > 0; b = b[min(slice, len(b)):] {
					_, _ = c.Write(b[:min(slice, len(b))])
				}
			})
			p := faultnet.New(t, addr)
			p.DropMessages(true)
			c := dial(t, p)
			send(t, c, "go")
			receive(t, c, confirm+pong+"+OK\r\n$-1\r\n%1\r\n$1\r\nk\r\n:1\r\n-ERR x\r\n"+pong)
			p.DropMessages(false)
			send(t, c, "go")
			receive(t, c, stream)
		})
	}
}

package httpfallback_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
)

// broken puts a proxy before h and returns both its URL and itself.
func broken(t *testing.T, h http.Handler) (string, *faultnet.Proxy) {
	t.Helper()
	addr := strings.TrimSuffix(strings.TrimPrefix(serve(t, h), "http://"), "/manual-sync")
	p := faultnet.New(t, addr)
	return "http://" + p.Addr() + "/manual-sync", p
}

func TestClient_Notify_refusedConnection(t *testing.T) {
	t.Parallel()
	c := client(t, "http://"+faultnet.Reserve(t)+"/manual-sync", httpfallback.Options{})
	err := c.Notify(t.Context(), snapshot(1))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, "cannot be connected")
	require.Equal(t, 3, failed(t, err).Attempts)
}

func TestClient_Notify_receiverComesBack(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	url, proxy := broken(t, rec)
	proxy.Refuse(true)
	time.AfterFunc(300*time.Millisecond, func() { proxy.Refuse(false) })
	c := client(t, url, httpfallback.Options{Timeout: time.Minute, Retries: 1000, RetryDelay: 50 * time.Millisecond})
	require.NoError(t, c.Notify(t.Context(), snapshot(1)))
	require.Len(t, rec.keys(), 1)
}

// A receiver whose answer was lost may have handled the request. It is sent
// again, with the same key, and by nobody but the client itself.
func TestClient_Notify_lostAnswer(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	url, proxy := broken(t, rec)
	c := client(t, url, httpfallback.Options{})
	m := snapshot(3)
	lost := proxy.SwallowNextAnswer(m.ID + "/2")
	require.NoError(t, c.Notify(t.Context(), m))
	<-lost
	require.Equal(t, []string{m.ID + "/1", m.ID + "/2", m.ID + "/2", m.ID + "/3"}, rec.keys())

	lost = proxy.SwallowNextAnswer("post /manual-sync")
	err := client(t, url, httpfallback.Options{Retries: -1}).Notify(t.Context(), m)
	<-lost
	require.ErrorContains(t, err, "may have been handled")
	require.Equal(t, [3]int{1, 3, 1}, [3]int{failed(t, err).Part, failed(t, err).Of, failed(t, err).Attempts})
	require.Len(t, rec.keys(), 5, "net/http repeats nothing by itself")
}

func TestClient_Notify_blackHole(t *testing.T) {
	t.Parallel()
	url, proxy := broken(t, &recorder{})
	c := client(t, url, httpfallback.Options{Timeout: 2 * time.Second})
	require.NoError(t, c.Notify(t.Context(), snapshot(1)))
	proxy.BlackHole(true)
	err := c.Notify(t.Context(), snapshot(1))
	require.ErrorContains(t, err, "gave no answer within 2s")
	require.Equal(t, 1, failed(t, err).Attempts)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Notify(ctx, snapshot(1)), context.DeadlineExceeded)

	// A client that has never heard of the receiver does not wait for it.
	c = client(t, url, httpfallback.Options{})
	err = c.Notify(t.Context(), snapshot(1))
	require.ErrorContains(t, err, "not even OPTIONS")
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestClient_Notify_answerByteByByte(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	url, proxy := broken(t, rec)
	proxy.ByteByByte(true)
	require.NoError(t, client(t, url, httpfallback.Options{}).Notify(t.Context(), snapshot(2)))
	require.Len(t, rec.keys(), 2)
}

func TestClient_Notify_cutInARefusal(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, _ int, _ request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(404)
		io.WriteString(w, success)
	}}
	e := failed(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), snapshot(1)))
	require.Equal(t, [2]int{404, 1}, [2]int{e.Status, e.Attempts}, "the status says enough")
}

// Requests share a connection, which does not outlive the Notify.
func TestClient_Notify_connections(t *testing.T) {
	t.Parallel()
	url, proxy := broken(t, &recorder{})
	c := client(t, url, httpfallback.Options{})
	for i := range 2 {
		require.NoError(t, c.Notify(t.Context(), snapshot(3)))
		require.Eventually(t, func() bool {
			total, open := proxy.Conns()
			return total == i+1 && open == 0
		}, time.Minute, 5*time.Millisecond)
	}
}

func TestClient_Notify_cutInTheAnswer(t *testing.T) {
	t.Parallel()
	rec := &recorder{answer: func(w http.ResponseWriter, n int, _ request) {
		if n == 1 {
			w.Header().Set("Content-Length", "1000")
		}
		io.WriteString(w, success)
	}}
	m := snapshot(1)
	require.NoError(t, client(t, serve(t, rec), httpfallback.Options{}).Notify(t.Context(), m))
	require.Equal(t, []string{m.ID + "/1", m.ID + "/1"}, rec.keys())
}

// net/http quotes what it cannot parse; the client's error must not.
func TestClient_Notify_noHTTP(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"ake.oberg@example.com 070-174 06 10\r\n\r\n",
		"HTTP/1.1 ake.oberg@example.com\r\n\r\n",
		"HTTP/1.1 200 OK\r\nake.oberg@example.com\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: ake.oberg@example.com\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nake.oberg@example.com\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: ake.oberg@example.com\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					conn.Read(make([]byte, 4096))
					io.WriteString(conn, answer)
				}()
			}
		}()
		failed(t, client(t, "http://"+l.Addr().String()+"/manual-sync", httpfallback.Options{Retries: -1}).Notify(t.Context(), snapshot(1)))
	}
}

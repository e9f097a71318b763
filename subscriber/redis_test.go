package subscriber_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// patience is how long a test with real processes waits for what must come.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, what)
}

// onRedis runs a Subscriber with one handler for statuses and waits until it
// is subscribed.
func onRedis(t *testing.T, options *redis.Options, o subscriber.Options, h subscriber.HandlerFunc) (*running, *events, *logcheck.Log) {
	t.Helper()
	var e events
	e.attach(&o)
	logger, log := logcheck.NewLog(t)
	o.Logger = logger
	s, err := subscriber.New(connect(t, options), o)
	require.NoError(t, err)
	s.Handle(message.TypeProcessingStatus, h)
	r := start(t, s)
	eventually(t, "subscribed", func() bool { return s.Status().State == subscriber.StateSubscribed })
	return r, &e, log
}

// at returns options for an address.
func at(addr string) *redis.Options { return &redis.Options{Addr: addr} }

func TestRedis_outages(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{300 * time.Millisecond, 4 * time.Second, 12 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t)
			var got recorder
			r, e, _ := onRedis(t, at(server.Addr()), subscriber.Options{}, got.handle)
			server.Stop()
			eventually(t, "degraded", func() bool { return r.Status().State == subscriber.StateDegraded })
			time.Sleep(outage)
			server.Start()
			back := time.Now()
			eventually(t, "subscribed again", func() bool { return r.Status().State == subscriber.StateSubscribed })
			client := server.Client(t)
			require.EqualValues(t, 1, client.Publish(t.Context(), statusChannel, status(t, "after")).Val())
			eventually(t, "handled", func() bool { return len(got.IDs()) == 1 })

			require.Len(t, e.Gaps(), 1)
			gap, resumed := e.Gaps()[0], e.Resumed()
			require.Len(t, resumed, 2)
			require.True(t, gap.From.Before(back) && gap.To.Equal(resumed[1].At))
			require.GreaterOrEqual(t, gap.To.Sub(gap.From), outage)
			require.NoError(t, r.stop())
		})
	}
}

func TestRedis_halfOpenConnection(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	var got recorder
	r, e, _ := onRedis(t, at(proxy.Addr()), subscriber.Options{PingInterval: 500 * time.Millisecond}, got.handle)
	proxy.BlackHole(true)
	eventually(t, "degraded", func() bool { return r.Status().State == subscriber.StateDegraded })
	proxy.BlackHole(false)
	eventually(t, "subscribed again", func() bool { return len(e.Gaps()) > 0 })
	require.Equal(t, subscriber.CauseTimeout, e.Gaps()[0].Cause)
	require.NoError(t, r.stop())
}

func TestRedis_answersPingsButDeliversNothing(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	var got recorder
	r, e, _ := onRedis(t, at(proxy.Addr()), subscriber.Options{PingInterval: time.Second, ProbeInterval: 300 * time.Millisecond}, got.handle)
	eventually(t, "a probe", func() bool { return r.Status().Sessions[0].Probe == subscriber.ProbeOK })
	proxy.DropMessages(true)
	eventually(t, "the gap", func() bool { // a busy machine may miss a PING's deadline, too
		return slices.ContainsFunc(e.Gaps(), func(g subscriber.Gap) bool { return g.Cause == subscriber.CauseNotDelivering })
	})
	proxy.DropMessages(false)
	require.NoError(t, r.Restart(t.Context()))
	server.Client(t).Publish(t.Context(), statusChannel, status(t, "x"))
	eventually(t, "handled", func() bool { return len(got.IDs()) == 1 })
	require.NoError(t, r.stop())
}

func TestRedis_byteByByteAndMidFrame(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	proxy.ByteByByte(true)
	var got recorder
	r, e, _ := onRedis(t, at(proxy.Addr()), subscriber.Options{PingInterval: 3 * time.Second}, got.handle)
	client := server.Client(t)
	for i := range 50 {
		require.EqualValues(t, 1, client.Publish(t.Context(), statusChannel, status(t, fmt.Sprint(i))).Val())
	}
	eventually(t, "all handled", func() bool { return len(got.IDs()) == 50 })
	require.Empty(t, e.Gaps())

	proxy.ByteByByte(false)
	half := proxy.HalfFrame()
	client.Publish(t.Context(), statusChannel, status(t, "half"))
	<-half
	eventually(t, "the gap", func() bool { return len(e.Gaps()) > 0 })
	require.Equal(t, subscriber.CauseTimeout, e.Gaps()[0].Cause)
	client.Publish(t.Context(), statusChannel, status(t, "whole"))
	eventually(t, "handled", func() bool { ids := got.IDs(); return ids[len(ids)-1] == "whole" })
	require.NoError(t, r.stop())
}

func TestRedis_slowLineIsNotDead(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	var got recorder
	r, e, _ := onRedis(t, at(proxy.Addr()), subscriber.Options{PingInterval: 2 * time.Second}, got.handle)
	proxy.Slow(100_000)
	body := encode(t, message.Header{ID: "large"}, message.ProcessingStatus{Status: strings.Repeat("x", 800_000)})
	server.Client(t).Publish(t.Context(), statusChannel, body)
	eventually(t, "handled", func() bool { return len(got.IDs()) == 1 })
	require.Empty(t, e.Gaps(), "8 s for one message are longer than the read deadline, but bytes came all the time")
	require.NoError(t, r.stop())
}

// flood publishes numbered messages until the context ends and notes between
// which moments each was published.
type flood struct {
	mu     sync.Mutex
	spans  [][2]time.Time
	padded string
}

func (f *flood) run(ctx context.Context, t *testing.T, client *redis.Client, pause time.Duration, most int) {
	for n := 0; ctx.Err() == nil && n < most; n++ {
		body := encode(t, message.Header{ID: strconv.Itoa(n)}, message.ProcessingStatus{Status: "started" + f.padded})
		before := time.Now()
		err := client.Publish(context.WithoutCancel(ctx), statusChannel, body).Err()
		after := time.Now()
		require.NoError(t, err)
		f.mu.Lock()
		f.spans = append(f.spans, [2]time.Time{before, after})
		f.mu.Unlock()
		for time.Since(before) < pause {
		}
	}
}

// requireMissingInGaps checks the promise of a Gap for every published number
// that was not handled.
func (f *flood) requireMissingInGaps(t *testing.T, got []string, gaps []subscriber.Gap) (missing int) {
	t.Helper()
	handled := map[string]bool{}
	last := -1
	for _, id := range got {
		handled[id] = true
		n, _ := strconv.Atoi(id)
		require.Greater(t, n, last, "in order, and once")
		last = n
	}
	outside := 0
	for n, span := range f.spans {
		if handled[strconv.Itoa(n)] {
			continue
		}
		missing++
		inside := false
		for _, g := range gaps {
			inside = inside || !g.To.Before(span[0]) && !g.From.After(span[1])
		}
		if !inside {
			outside++
		}
	}
	var covered time.Duration
	for _, g := range gaps {
		covered += g.To.Sub(g.From)
	}
	t.Logf("%d published in %v, %d missing, %d outside %d gaps of together %v",
		len(f.spans), f.spans[len(f.spans)-1][1].Sub(f.spans[0][0]), missing, outside, len(gaps), covered)
	require.Zero(t, outside)
	return missing
}

func TestRedis_killsUnderFlood(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	var got recorder
	r, e, log := onRedis(t, at(server.Addr()), subscriber.Options{PingInterval: 50 * time.Millisecond}, got.handle)
	ctx, cancel := context.WithCancel(t.Context())
	var f flood
	var flooding sync.WaitGroup
	client := server.Client(t)
	flooding.Go(func() { f.run(ctx, t, client, 100*time.Microsecond, 1_000_000) })
	const kills = 20
	for range kills {
		time.Sleep(60 * time.Millisecond)
		before := len(e.Resumed())
		require.NoError(t, server.Client(t).ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
		eventually(t, "resumed", func() bool { return len(e.Resumed()) > before })
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	flooding.Wait()
	last := strconv.Itoa(len(f.spans) - 1)
	eventually(t, "the last one", func() bool { ids := got.IDs(); return ids[len(ids)-1] == last })
	require.NoError(t, r.stop())
	gaps := len(e.Gaps()) // a loaded machine may miss a PING's deadline too
	require.GreaterOrEqual(t, gaps, kills)
	require.Len(t, e.Resumed(), gaps+1)
	f.requireMissingInGaps(t, got.IDs(), e.Gaps())
	require.Less(t, len(log.Records()), 3*gaps+10)
}

func TestRedis_slowHandlerPastTheOutputBufferLimit(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 1")
	over := make(chan struct{})
	got := &recorder{do: func(context.Context, string) error { <-over; return nil }}
	r, e, _ := onRedis(t, at(server.Addr()), subscriber.Options{PingInterval: 2 * time.Second, QueueMessages: 20}, got.handle)
	f := flood{padded: strings.Repeat("x", 50_000)}
	client := server.Client(t)
	f.run(t.Context(), t, client, 0, 1500)
	close(over)
	eventually(t, "idle", func() bool {
		st := r.Status()
		return st.State == subscriber.StateSubscribed && st.Lanes[0].Queued == 0 && len(e.Gaps()) > 0
	})
	require.EqualValues(t, 1, client.Publish(t.Context(), statusChannel, status(t, "99999")).Val())
	eventually(t, "handled", func() bool { ids := got.IDs(); return ids[len(ids)-1] == "99999" })
	require.NoError(t, r.stop())
	ids := got.IDs()
	missing := f.requireMissingInGaps(t, ids[:len(ids)-1], e.Gaps())
	require.NotZero(t, missing, "the limit was not reached")
	require.Equal(t, subscriber.CauseConnection, e.Gaps()[0].Cause)
	require.NotZero(t, e.Gaps()[0].Stalled, "the handler is to blame")
}

func TestRedis_badPayloadsDoNotEndTheLoop(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	got := &recorder{do: func(_ context.Context, id string) error {
		if id == "panic" {
			panic("070-174 06 05, ake.oberg@example.com")
		}
		return nil
	}}
	r, e, log := onRedis(t, at(server.Addr()), subscriber.Options{}, got.handle)
	good := string(status(t, "good"))
	nested := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	contact := `"personnamn":"Åke","mobiltelefon":"070-174 06 05","epostadress":"ake.oberg@example.com"`
	payloads := []struct {
		name, body string
		count      func(subscriber.Stats) uint64
	}{
		{"not UTF-8", strings.Replace(good, "good", "g\xffd", 1), func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"NaN", `{"message_id":"nan","type":"processing_status","payload":{"status":"x","details":{"a":NaN}}}`, func(s subscriber.Stats) uint64 { return s.Sanitized }},
		{"1 MB", `{"message_id":"1mb","type":"processing_status","payload":{"status":"` + strings.Repeat("x", 1<<20) + `"}}`, func(s subscriber.Stats) uint64 { return s.Handled }},
		{"9 MiB", `{"message_id":"9mb","type":"processing_status","payload":{"status":"` + strings.Repeat("x", 9<<20) + `"}}`, func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"nested", `{"message_id":"deep","type":"processing_status","payload":{"status":"x","details":{"a":` + nested + `}}}`, func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"number", `{"message_id":"n","type":"processing_status","payload":7}`, func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"no JSON", `{` + contact, func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"empty", ``, func(s subscriber.Stats) uint64 { return s.Invalid }},
		{"probe", `health_check_1759300000`, func(s subscriber.Stats) uint64 { return s.Probes }},
		{"unhandled", `{"message_id":"u","type":"match_updates","payload":{"matches":[{` + contact + `}]}}`, func(s subscriber.Stats) uint64 { return s.Unhandled }},
		{"panic", string(status(t, "panic")), func(s subscriber.Stats) uint64 { return s.Panics }},
	}
	client := server.Client(t)
	for i, p := range payloads {
		before := r.Stats()
		require.NoError(t, client.Publish(t.Context(), statusChannel, p.body).Err())
		id := fmt.Sprint("good ", i)
		require.NoError(t, client.Publish(t.Context(), statusChannel, status(t, id)).Err())
		eventually(t, "the next good one after "+p.name, func() bool {
			ids := got.IDs()
			return len(ids) > 0 && ids[len(ids)-1] == id
		})
		eventually(t, "settled", func() bool {
			return r.Stats().Handled > before.Handled
		})
		want := p.count(before) + 1
		if p.name == "1 MB" {
			want++ // the good one counts there too
		}
		eventually(t, p.name, func() bool { return p.count(r.Stats()) == want })
	}
	require.Empty(t, e.Gaps())
	text, err := json.Marshal(r.Status())
	require.NoError(t, err)
	logcheck.Clean(t, "status", string(text))
	logcheck.Clean(t, "log", log.Text())
	require.NoError(t, r.stop())
}

func TestRedis_accessRights(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	admin := server.Client(t)
	allow := func(rules ...any) {
		require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "calendar", "on", ">" + logcheck.Password, "resetchannels", "+@all"}, rules...)...).Err())
	}
	options := at(server.Addr())
	options.Username, options.Password = "calendar", "wrong-"+logcheck.Password
	run := func() error {
		s, err := subscriber.New(connect(t, options), subscriber.Options{Logger: logcheck.New(t)})
		require.NoError(t, err)
		s.Handle(message.TypeProcessingStatus, func(context.Context, *message.Envelope) error { return nil })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return s.Run(ctx)
	}
	allow()
	err := run()
	require.ErrorContains(t, err, "WRONGPASS")
	logcheck.Clean(t, "error", err.Error())

	options.Password = logcheck.Password
	err = run()
	require.ErrorContains(t, err, "NOPERM")
	require.ErrorContains(t, err, statusChannel)

	allow("&" + statusChannel) // but not the probe's
	var got recorder
	r, e, _ := onRedis(t, options, subscriber.Options{}, got.handle)
	eventually(t, "the probe's refusal", func() bool { return r.Status().Sessions[0].Probe == subscriber.ProbeRefused })

	allow() // ends the connections that used the channel
	eventually(t, "degraded", func() bool { return r.Status().State == subscriber.StateDegraded })
	eventually(t, "the refusal", func() bool { return strings.Contains(r.Status().Sessions[0].LastError, "NOPERM") })
	allow("&" + statusChannel)
	eventually(t, "subscribed again", func() bool { return r.Status().State == subscriber.StateSubscribed })
	require.Len(t, e.Gaps(), 1)
	require.NoError(t, r.stop())
}

func TestRedis_stopsAtOnceWhateverIsBlocked(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	tests := map[string]func(t *testing.T) (*redis.Options, func()){
		"refused": func(t *testing.T) (*redis.Options, func()) { return at(faultnet.Reserve(t)), func() {} },
		"handshake": func(t *testing.T) (*redis.Options, func()) {
			proxy := faultnet.New(t, server.Addr())
			proxy.BlackHole(true)
			return at(proxy.Addr()), func() {}
		},
		"TLS handshake": func(t *testing.T) (*redis.Options, func()) {
			proxy := faultnet.New(t, server.Addr())
			proxy.BlackHole(true)
			o := at(proxy.Addr())
			o.TLSConfig = &tls.Config{}
			o.Dialer = (&tls.Dialer{Config: o.TLSConfig}).DialContext
			return o, func() {}
		},
		"read": func(t *testing.T) (*redis.Options, func()) {
			proxy := faultnet.New(t, server.Addr())
			return at(proxy.Addr()), func() { proxy.BlackHole(true) }
		},
	}
	for name, setup := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, block := setup(t)
			s, err := subscriber.New(connect(t, options), subscriber.Options{
				Logger: logcheck.New(t), HandshakeTimeout: time.Hour, PingInterval: time.Hour, // end nothing here
			})
			require.NoError(t, err)
			s.Handle(message.TypeProcessingStatus, func(context.Context, *message.Envelope) error { return nil })
			r := start(t, s)
			time.Sleep(200 * time.Millisecond)
			block()
			require.NoError(t, r.stop())
		})
	}
}

func TestRedis_overTLS(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	require.NoError(t, err)
	var pipes sync.WaitGroup
	t.Cleanup(func() { listener.Close(); pipes.Wait() })
	pipes.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			pipes.Go(func() {
				defer conn.Close()
				to, err := net.Dial("tcp", server.Addr())
				if err != nil {
					return
				}
				defer to.Close()
				pipes.Go(func() { io.Copy(to, conn); to.Close() })
				io.Copy(conn, to)
			})
		}
	})
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	options := at("localhost:" + port)
	options.TLSConfig = &tls.Config{RootCAs: roots}
	var got recorder
	r, _, _ := onRedis(t, options, subscriber.Options{}, got.handle)
	server.Client(t).Publish(t.Context(), statusChannel, bytes.TrimSpace(status(t, "x")))
	eventually(t, "handled", func() bool { return len(got.IDs()) == 1 })
	require.NoError(t, r.stop())
}

package publisher_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Answers of a server besides RESP.
const (
	silence = "silence" // no answer, the connection stays open
	cut     = "cut"     // no answer, the connection ends
)

// server is a Redis of few words whose every answer the test decides. It works
// inside a synctest bubble.
type server struct {
	mu      sync.Mutex
	refuses bool // connections
	hole    bool // nothing comes through, in either direction
	dials   int  // so far
	dead    int  // of the connections the first so many have died, and nobody was told
	// away is how long a byte is on its way to the server and back.
	away   time.Duration
	answer func(args []string) string
	got    []request
	began  time.Time
}

type request struct {
	at   time.Duration
	args []string
}

func newServer() *server { return &server{began: time.Now()} }

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// requests returns the arguments of every request of that name.
func (s *server) requests(name string) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []request
	for _, r := range s.got {
		if strings.EqualFold(r.args[0], name) {
			found = append(found, r)
		}
	}
	return found
}

// times tells when those requests came.
func (s *server) times(name string) []time.Duration {
	var at []time.Duration
	for _, r := range s.requests(name) {
		at = append(at, r.at)
	}
	return at
}

func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away > 0 {
		away := s.away
		s.mu.Unlock()
		time.Sleep(away)
		s.mu.Lock()
	}
	if s.refuses {
		addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 6379}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: syscall.ECONNREFUSED}
	}
	here, there := net.Pipe()
	s.dials++
	go s.serve(there, s.dials)
	return here, nil
}

func (s *server) serve(c net.Conn, number int) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		behind := in.Buffered() > 0 // came with the one before
		args, err := readRequest(in)
		if err != nil {
			return
		}
		if !behind {
			time.Sleep(s.distance())
		}
		reply := s.reply(number, args)
		switch reply {
		case silence:
			_, _ = io.Copy(io.Discard, in)
			return
		case cut:
			return
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

func (s *server) distance() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

func (s *server) reply(number int, args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hole || number <= s.dead {
		return silence
	}
	s.got = append(s.got, request{time.Since(s.began), args})
	if s.answer != nil {
		if reply := s.answer(args); reply != "" {
			return reply
		}
	}
	switch strings.ToLower(args[0]) {
	case "ping":
		return "+PONG\r\n"
	case "publish":
		return ":1\r\n"
	}
	return "-ERR unknown command\r\n"
}

func readRequest(in *bufio.Reader) ([]string, error) {
	n, err := readNumber(in, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readNumber(in, '$')
		if err != nil {
			return nil, err
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(in, arg); err != nil {
			return nil, err
		}
		args[i] = string(arg[:size])
	}
	return args, nil
}

func readNumber(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, errors.New("no request")
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// onPublish answers each PUBLISH with the next reply, "" and those after the
// last as usual.
func onPublish(replies ...string) func([]string) string {
	return func(args []string) string {
		if !strings.EqualFold(args[0], "publish") || len(replies) == 0 {
			return ""
		}
		reply := replies[0]
		replies = replies[1:]
		return reply
	}
}

// options are those of a client that a Publisher accepts.
func options(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1,
		ReadTimeout: 10 * time.Second, Protocol: 2, DisableIdentity: true,
	}
}

func (s *server) client(t testing.TB) *redis.Client {
	o := options("192.0.2.7:6379")
	o.Dialer = s.dial
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newPublisher makes a Publisher on the server; opts without a logger get one
// that fails the test when it is told personal data.
func newPublisher(t testing.TB, conn redis.UniversalClient, opts publisher.Options) *publisher.Publisher {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = logcheck.New(t)
	}
	p, err := publisher.New(conn, opts)
	require.NoError(t, err)
	return p
}

// recorder is a Fallback that remembers what it got.
type recorder struct {
	mu   sync.Mutex
	got  []message.Outgoing
	at   []time.Time
	take func(context.Context) error // nil accepts
}

func (r *recorder) Notify(ctx context.Context, m message.Outgoing) error {
	r.mu.Lock()
	r.at = append(r.at, time.Now())
	take := r.take
	r.mu.Unlock()
	if take != nil {
		if err := take(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m)
	return nil
}

// names returns the name of the home team in each message, which tells the
// test's messages apart.
func (r *recorder) names(t testing.TB) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, m := range r.got {
		names = append(names, homeTeam(t, m.Body))
	}
	return names
}

func (r *recorder) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, m := range r.got {
		ids = append(ids, m.ID)
	}
	return ids
}

// envelope is what the tests read of a message.
type envelope struct {
	MessageID string `json:"message_id"`
	Source    string
	Type      string
	Seq       struct {
		Epoch string
		N     uint64
	}
	Payload struct {
		Status  string
		Matches []struct{ Lag1namn string }
	}
}

func parse(t testing.TB, body []byte) envelope {
	t.Helper()
	var e envelope
	require.NoError(t, json.Unmarshal(body, &e), "%s", body)
	return e
}

func homeTeam(t testing.TB, body []byte) string {
	t.Helper()
	e := parse(t, body)
	require.Len(t, e.Payload.Matches, 1)
	return e.Payload.Matches[0].Lag1namn
}

// update is a snapshot of one match, with an invented official whose data must
// not be seen outside the message.
func update(home string) message.MatchUpdates {
	raw := bytes.ReplaceAll([]byte(`{"matchid":6200001,"matchnr":"000402011","lag1namn":"HOME","lag2namn":"Östra BK","tid":"/Date(1935846000000)/",
		"domaruppdraglista":[{"domareid":77001,"personnamn":"Alva Exempel","mobiltelefon":"070-174 06 05","epostadress":"alva@example.com"}]}`),
		[]byte("HOME"), []byte(home))
	return message.MatchUpdates{Matches: []message.Match{{Raw: raw}}}
}

func status(s string) message.ProcessingStatus { return message.ProcessingStatus{Status: s} }

// failure returns err as the package's error.
func failure(t testing.TB, err error) *publisher.Error {
	t.Helper()
	require.Error(t, err)
	e, ok := errors.AsType[*publisher.Error](err)
	require.True(t, ok, "%T", err)
	logcheck.Clean(t, "error", e.Error())
	logcheck.CleanValue(t, "error", e)
	return e
}

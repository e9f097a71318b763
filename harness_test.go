package fogispubsub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// patience bounds waits for what takes moments on an idle machine.
const patience = time.Minute

// environment holds a client's settings by their variables.
type environment map[string]string

// newClient makes a client whose log is searched for personal data.
func newClient(t *testing.T, env environment, opts fogispubsub.Options) *fogispubsub.Client {
	t.Helper()
	opts.Getenv = func(name string) string {
		if _, set := env[name]; name == "REDIS_DURABLE" && !set {
			return "false" // most tests are of plain mode
		}
		return env[name]
	}
	if opts.Logger == nil {
		opts.Logger = logcheck.New(t)
	}
	client, err := fogispubsub.FromEnv(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// run runs a client until stop or the test's end.
func run(t *testing.T, client *fogispubsub.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(patience):
			require.Fail(t, "Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// runSubscribed is run that returns when every channel is confirmed.
func runSubscribed(t *testing.T, client *fogispubsub.Client) (stop func()) {
	t.Helper()
	stop = run(t, client)
	waitState(t, client, subscriber.StateSubscribed)
	return stop
}

func waitState(t *testing.T, client *fogispubsub.Client, want subscriber.State) {
	t.Helper()
	wait(t, fmt.Sprintf("state %s", want), func() bool { return client.Status().State == want })
}

// wait polls until done, and fails the test when that takes too long.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "waited in vain for: %s", what)
	}
}

// receive returns the next value.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		require.Fail(t, "nothing came")
		panic("unreachable")
	}
}

// listen registers a handler of match updates and returns what it gets.
func listen(client *fogispubsub.Client) <-chan message.Message[message.MatchUpdates] {
	got := make(chan message.Message[message.MatchUpdates], 100_000)
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		got <- m
		return nil
	})
	return got
}

// serveFallback opens the client's fallback handler on a loopback port.
func serveFallback(t *testing.T, client *fogispubsub.Client) *httptest.Server {
	t.Helper()
	h, err := client.FallbackHandler()
	require.NoError(t, err)
	return serve(t, h)
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// posts counts the requests with POST that reach a handler, and when.
type posts struct {
	http.Handler

	mu    sync.Mutex
	began []time.Time
}

func (p *posts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		p.mu.Lock()
		p.began = append(p.began, time.Now())
		p.mu.Unlock()
	}
	p.Handler.ServeHTTP(w, r)
}

func (p *posts) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.began)
}

// fixture is one of package message's three matches.
func fixture(t *testing.T, name string) json.RawMessage {
	t.Helper()
	data, err := os.ReadFile("message/testdata/matches/" + name + ".json")
	require.NoError(t, err)
	return data
}

// snapshot is an update of n matches whose IDs begin with first, each as large
// as FOGIS's own.
func snapshot(t *testing.T, first, n int) message.MatchUpdates {
	t.Helper()
	var u message.MatchUpdates
	for i := range n {
		m, err := message.ParseMatch(fixture(t, "fogis"))
		require.NoError(t, err)
		m.Raw = nil
		m.ID = message.NewMatchID(int64(first + i))
		u.Matches = append(u.Matches, m)
	}
	return u
}

// matchIDs are those of several updates, in order.
func matchIDs(updates ...message.MatchUpdates) []int {
	var ids []int
	for _, u := range updates {
		for _, m := range u.Matches {
			ids = append(ids, int(m.ID.Int))
		}
	}
	return ids
}

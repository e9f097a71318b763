package pubsubtest

import (
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/devserver"
)

// patience is how long a helper waits before it fails the test.
const patience = 30 * time.Second

// Redis is an in-memory Redis of one test. Its methods may be called from any
// goroutine of the test.
type Redis struct {
	tb   testing.TB
	addr string

	mu       sync.Mutex
	server   *devserver.Server // nil while stopped
	settings map[string]string
}

// StartRedis starts an in-memory Redis on a free loopback port. It ends with
// the test.
func StartRedis(tb testing.TB) *Redis {
	tb.Helper()
	r := &Redis{tb: tb, settings: map[string]string{}}
	r.Start()
	r.Set("REDIS_URL", r.URL())
	tb.Cleanup(r.Stop)
	return r
}

// URL is the server's redis:// address; it stays the same over Stop and Start.
func (r *Redis) URL() string { return "redis://" + r.addr }

// Getenv gives the settings of a client of this server, and nothing of the
// real environment: for fogispubsub.Options.Getenv.
func (r *Redis) Getenv(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings[name]
}

// Set changes what Getenv answers, before a client is made.
func (r *Redis) Set(name, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settings = maps.Clone(r.settings)
	r.settings[name] = value
}

// Stop is an outage: it ends every connection and refuses new ones. What the
// server held is gone, as pub/sub holds nothing.
func (r *Redis) Stop() {
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server == nil {
		return
	}
	if err := server.Close(); err != nil {
		r.tb.Errorf("pubsubtest: stop the Redis: %v", err)
	}
}

// Start ends an outage, on the same port. A running server stays.
func (r *Redis) Start() {
	r.tb.Helper()
	r.mu.Lock()
	running := r.server != nil
	r.mu.Unlock()
	if running {
		return
	}
	server, err := devserver.Start(devserver.Options{
		Addr:   r.addr,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.tb.Fatalf("pubsubtest: start the Redis: %v", err)
	}
	r.mu.Lock()
	r.server, r.addr = server, server.Addr()
	r.mu.Unlock()
}

// Publish sends bytes as any other publisher would, valid or not, and tells
// how many listened. It fails the test during an outage.
func (r *Redis) Publish(channel string, data []byte) int {
	r.tb.Helper()
	server := r.running()
	return server.Publish(channel, data)
}

// WaitForListener returns when somebody subscribes to the channel, and fails
// the test if nobody does for 30 seconds.
func (r *Redis) WaitForListener(channel string) {
	r.tb.Helper()
	deadline := time.Now().Add(patience)
	for r.running().Listeners(channel) == 0 {
		if time.Now().After(deadline) {
			r.tb.Fatalf("pubsubtest: nobody listens on %s: is the client's Run called, and a handler registered before?", channel)
		}
		time.Sleep(time.Millisecond) // the server tells nobody of a subscription
	}
}

func (r *Redis) running() *devserver.Server {
	r.tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		r.tb.Fatalf("pubsubtest: the Redis is stopped; call Start")
	}
	return r.server
}

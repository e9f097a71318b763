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
// goroutine of the test: one that fails it ends the calling goroutine.
type Redis struct {
	tb       testing.TB
	starting chan struct{} // holds a token while nobody starts or stops it

	mu       sync.Mutex
	addr     string
	server   *devserver.Server // nil while stopped
	settings map[string]string
}

// StartRedis starts an in-memory Redis on a free loopback port. It ends with
// the test.
func StartRedis(tb testing.TB) *Redis {
	tb.Helper()
	r := &Redis{tb: tb, starting: make(chan struct{}, 1), settings: map[string]string{}}
	r.starting <- struct{}{}
	r.Start()
	r.Set("REDIS_URL", r.URL())
	tb.Cleanup(r.Stop)
	return r
}

// URL is the server's redis:// address; it stays the same over Stop and Start.
func (r *Redis) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "redis://" + r.addr
}

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
	<-r.starting
	defer func() { r.starting <- struct{}{} }()
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
	<-r.starting
	defer func() { r.starting <- struct{}{} }()
	r.mu.Lock()
	running, addr := r.server != nil, r.addr
	r.mu.Unlock()
	if running {
		return
	}
	server, err := devserver.Start(devserver.Options{
		Addr:   addr,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fail(r.tb, "pubsubtest: start the Redis: %v", err)
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
			fail(r.tb, "pubsubtest: nobody listens on %s: is the client's Run called, and a handler registered before?", channel)
		}
		time.Sleep(time.Millisecond) // the server tells nobody of a subscription
	}
}

func (r *Redis) running() *devserver.Server {
	r.tb.Helper()
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	if server == nil {
		fail(r.tb, "pubsubtest: the Redis is stopped; call Start")
	}
	return server
}

package fogispubsub_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// traffic is a publisher and a subscriber with a failover between them.
type traffic struct {
	t    *testing.T
	from *fogispubsub.Client
	to   *fogispubsub.Client

	mu      sync.Mutex
	sent    []string        // IDs, in the order of publishing
	at      map[string]span // of Publish
	receipt map[string]publisher.Receipt
	refused map[string]error
	got     []string // IDs, in the order of handling
	gaps    []subscriber.Gap
}

// newTraffic makes both clients from the environment. They are subscribed when
// it returns.
func newTraffic(t *testing.T, url string, env environment) *traffic {
	t.Helper()
	r := &traffic{t: t, at: map[string]span{}, receipt: map[string]publisher.Receipt{}, refused: map[string]error{}}
	settings := func(name string) environment {
		all := environment{"REDIS_URL": url, "FOGIS_SERVICE_NAME": name, "REDIS_CONNECTION_TIMEOUT": "2", "REDIS_SOCKET_TIMEOUT": "1"}
		maps.Copy(all, env)
		return all
	}
	sending := settings("processor")
	if env["REDIS_DURABLE"] != "" {
		sending["FOGIS_OUTBOX_PATH"] = filepath.Join(t.TempDir(), "outbox")
	}
	r.from = newClient(t, sending, fogispubsub.Options{OpenOutbox: openOutbox})
	r.to = newClient(t, settings("calendar"), fogispubsub.Options{Subscriber: subscriber.Options{
		PingInterval: time.Second, HandshakeTimeout: 2 * time.Second,
		OnGap: func(g subscriber.Gap) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.gaps = append(r.gaps, g)
		},
	}})
	note := func(id string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, id)
		return nil
	}
	fogispubsub.On(r.to, func(_ context.Context, m message.Message[message.MatchUpdates]) error { return note(m.ID) })
	fogispubsub.On(r.to, func(_ context.Context, m message.Message[message.ProcessingStatus]) error { return note(m.ID) })
	fogispubsub.On(r.to, func(_ context.Context, m message.Message[message.SystemAlert]) error { return note(m.ID) })
	run(t, r.from)
	runSubscribed(t, r.to)
	return r
}

func (r *traffic) publish(p message.Payload) {
	id := message.NewID()
	began := time.Now()
	receipt, err := r.from.Publish(context.Background(), p, publisher.WithID(id))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent, r.at[id] = append(r.sent, id), span{began, time.Now()}
	if err != nil {
		r.refused[id] = err
		return
	}
	r.receipt[id] = receipt
}

// stream publishes match updates every few milliseconds, so many before the
// failover and at least so many after it.
func (r *traffic) stream(n int, failover func()) {
	r.t.Helper()
	over := make(chan struct{})
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		update := snapshot(r.t, 6200000, 1)
		for i, left := 0, n; left > 0; i++ {
			r.publish(update)
			select {
			case <-over:
				left--
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	wait(r.t, "traffic", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.sent) >= n })
	failover()
	close(over)
	<-sending
}

// settle waits until every message is handled that a gap does not explain.
func (r *traffic) settle() {
	r.t.Helper()
	wait(r.t, "an empty outbox", func() bool { return r.from.Stats().Publisher.Waiting == 0 })
	explained := func() (missing []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range r.sent {
			if r.refused[id] == nil && !slices.Contains(r.got, id) && !slices.ContainsFunc(r.gaps, func(g subscriber.Gap) bool {
				return covers(g, id, r.at[id])
			}) {
				missing = append(missing, id)
			}
		}
		return missing
	}
	for deadline := time.Now().Add(patience); len(explained()) > 0; time.Sleep(20 * time.Millisecond) {
		if !time.Now().Before(deadline) {
			missing := explained()
			r.mu.Lock()
			gaps := slices.Clone(r.gaps)
			r.mu.Unlock()
			require.Empty(r.t, missing, "lost without a gap; gaps %v", gaps)
		}
	}
}

// span is the time that a Publish took: somewhere in it Redis got the message.
type span struct{ from, to time.Time }

// covers tells whether a gap explains why a message did not come.
func covers(g subscriber.Gap, id string, at span) bool {
	if g.Cause == subscriber.CauseNewGroup {
		return false // of the start
	}
	if len(g.Stream.IDs) > 0 {
		return slices.Contains(g.Stream.IDs, id)
	}
	return !at.to.Before(g.From.Add(-time.Second)) && !at.from.After(g.To)
}

// lost are those that have a receipt and were not handled.
func (r *traffic) lost() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.sent {
		if r.refused[id] == nil && !slices.Contains(r.got, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// first are the messages in the order of their first handling.
func (r *traffic) first() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.got {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// failovers are the ways in which a master may be followed by another one.
func failovers(t *testing.T, test func(t *testing.T, url string, failover func(), lossless bool)) {
	master := func(t *testing.T) (*realredis.Cluster, *realredis.Server, *realredis.Server) {
		c := realredis.StartCluster(t, 3, 1)
		m, r := c.Of(message.ChannelMatchUpdates)
		return c, m, r
	}
	t.Run("cluster in good order", func(t *testing.T) {
		t.Parallel()
		c, _, replica := master(t)
		test(t, c.URL(), func() { c.Failover(replica) }, true)
	})
	t.Run("cluster, master killed", func(t *testing.T) {
		t.Parallel()
		c, m, replica := master(t)
		test(t, c.URL(), func() { m.Stop(); c.AwaitMaster(replica) }, false)
	})
	t.Run("sentinel on request", func(t *testing.T) {
		t.Parallel()
		s := realredis.StartSentinel(t)
		test(t, s.URL(), s.Failover, false)
	})
	t.Run("sentinel, master killed", func(t *testing.T) {
		t.Parallel()
		s := realredis.StartSentinel(t)
		test(t, s.URL(), func() { s.Master.Stop(); s.AwaitReplica() }, false)
	})
}

func TestClient_failover_plain(t *testing.T) {
	failovers(t, func(t *testing.T, url string, failover func(), _ bool) {
		r := newTraffic(t, url, nil)
		alert := message.SystemAlert{AlertType: "test", Severity: "info"}
		for _, p := range []message.Payload{
			snapshot(t, 6200000, 2), message.ProcessingStatus{Status: message.StatusStarted}, alert,
		} {
			r.publish(p)
			receipt := r.receipt[r.sent[len(r.sent)-1]]
			require.Equal(t, publisher.RoutePubSub, receipt.Route)
			require.EqualValues(t, 1, receipt.Receivers, "the listener is counted where it listens")
		}
		r.stream(100, failover)
		waitState(t, r.to, subscriber.StateSubscribed)
		// The publisher asks for the role once a second. From then on only the new
		// master counts, to which the listener must have moved.
		asked := time.Now().Add(1100 * time.Millisecond)
		wait(t, "a second in which the publisher asked for the role", func() bool {
			r.publish(alert)
			return time.Now().After(asked)
		})
		wait(t, "a delivered update", func() bool {
			r.publish(snapshot(t, 6200000, 1))
			return r.refused[r.sent[len(r.sent)-1]] == nil
		})
		r.settle()
	})
}

func TestClient_failover_durable(t *testing.T) {
	failovers(t, func(t *testing.T, url string, failover func(), lossless bool) {
		r := newTraffic(t, url, environment{"REDIS_DURABLE": "true", "FOGIS_REQUIRE_RECEIVERS": "-1"})
		r.stream(100, failover)
		r.settle()
		require.Empty(t, r.refused, "what Redis does not take waits in the outbox")
		lost := r.lost()
		if lossless {
			require.Empty(t, lost)
		}
		var want []string
		for _, id := range r.sent {
			if !slices.Contains(lost, id) {
				want = append(want, id)
			}
		}
		if got := r.first(); lossless {
			require.Equal(t, want, got)
		} else {
			require.ElementsMatch(t, want, got) // what replication lost is handled out of its turn
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		t.Logf("%d sent, %d handled, %d lost and reported, %d gaps", len(r.sent), len(r.got), len(lost), len(r.gaps))
	})
}

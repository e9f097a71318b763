package publisher_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const (
	notMaster   = "connected server is not a master"
	masterAgain = "connected server is a master again"
)

// address is a service name that leads to one of two servers. Connections stay
// where they are when it moves. It works inside a synctest bubble.
type address struct {
	first, second *server
	moved         atomic.Bool
}

// newAddress leads to the first server until it moves. Both are masters to which
// one listens.
func newAddress() *address {
	a := &address{first: newServer(), second: newServer()}
	a.first.answer, a.second.answer = asRole("master", 1), asRole("master", 1)
	return a
}

// demote makes a replica of the first server, where so many listen still.
func (a *address) demote(listeners int) {
	a.first.set(func(s *server) { s.answer = asRole("slave", listeners) })
}

// move does that, and leads new connections to the second server.
func (a *address) move(listeners int) {
	a.demote(listeners)
	a.moved.Store(true)
}

func (a *address) client(t testing.TB) *redis.Client {
	o := options("192.0.2.7:6379")
	o.PipelinePoolSize = -1
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if a.moved.Load() {
			return a.second.dial(ctx, network, addr)
		}
		return a.first.dial(ctx, network, addr)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// asRole answers as a server of this role to which so many listen.
func asRole(role string, listeners int) func([]string) string {
	return func(args []string) string {
		switch strings.ToLower(args[0]) {
		case "hello":
			return "*2\r\n$4\r\nrole\r\n$" + strconv.Itoa(len(role)) + "\r\n" + role + "\r\n"
		case "publish":
			return ":" + strconv.Itoa(listeners) + "\r\n"
		}
		return ""
	}
}

// bubbles calls test in a bubble without Run, and in one with it. What start
// returns is to be deferred.
func bubbles(t *testing.T, test func(t *testing.T, start func(*publisher.Publisher) (stop func()))) {
	for name, start := range map[string]func(*testing.T, *publisher.Publisher) func(){
		"without Run": func(*testing.T, *publisher.Publisher) func() { return func() {} },
		"with Run":    run,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				test(t, func(p *publisher.Publisher) func() { return start(t, p) })
			})
		})
	}
}

// PUBLISH on a replica is no error. What goes there within the documented second
// counts as delivered to those who listen there, and nothing after it.
func TestPublisher_Publish_addressMovesWhileOldConnectionsLive(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
		a, fallback := newAddress(), &recorder{}
		logger, log := logcheck.NewLog(t)
		p := newPublisher(t, a.client(t), publisher.Options{Fallback: fallback, Logger: logger})
		defer start(p)()
		publish := func(payload message.Payload) publisher.Receipt {
			receipt, err := p.Publish(t.Context(), payload)
			require.NoError(t, err)
			require.Equal(t, publisher.RoutePubSub, receipt.Route)
			return receipt
		}
		publish(update("1"))
		publish(status("started"))
		a.move(1)
		time.Sleep(time.Second - time.Nanosecond)
		within := publish(update("2"))
		require.Equal(t, within.ID, a.first.ids(t)[2])
		require.Zero(t, p.Stats().NotMasterSince)
		time.Sleep(time.Nanosecond)

		receipt := publish(update("3"))
		require.Equal(t, 2, receipt.Attempts)
		require.Equal(t, 50*time.Millisecond, receipt.Elapsed)
		require.Equal(t, []string{receipt.ID}, a.second.ids(t), "asked on a new connection")
		other := publish(status("completed"))
		require.Equal(t, 1, other.Attempts, "its connection went with the others")
		for range 30 {
			publish(update("4"))
			time.Sleep(100 * time.Millisecond)
		}

		require.Len(t, a.first.ids(t), 4, "two, one within the second, and the question")
		require.Len(t, a.second.ids(t), 32)
		require.Empty(t, fallback.got)
		require.Equal(t, 1, log.Count(notMaster))
		require.Equal(t, 1, log.Count(masterAgain))
		require.Zero(t, p.Stats().NotMasterSince)
		require.Equal(t, uint64(1), p.Stats().UnknownOutcomes, "those at the replica may have it")
	})
}

// A replica that has no listeners is known at once.
func TestPublisher_Publish_addressMovesAndNobodyListensAtTheReplica(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
		a, fallback := newAddress(), &recorder{}
		p := newPublisher(t, a.client(t), publisher.Options{Fallback: fallback})
		defer start(p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		a.move(0)

		receipt, err := p.Publish(t.Context(), update("2"))

		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		require.EqualValues(t, 1, receipt.Receivers)
		require.Equal(t, []string{receipt.ID}, a.second.ids(t))
		require.Empty(t, fallback.got)
		require.Zero(t, p.Stats().UnknownOutcomes, "nobody can have it")
	})
}

// Another lane's connection led to a replica a moment ago: this one asks too,
// though it did within the second.
func TestPublisher_Publish_doubtHoldsForEveryChannel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAddress()
		p := newPublisher(t, a.client(t), publisher.Options{})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		time.Sleep(900 * time.Millisecond)
		_, err = p.Publish(t.Context(), status("started"))
		require.NoError(t, err)
		a.demote(1)
		time.Sleep(100 * time.Millisecond)
		asked := len(a.first.requests("hello"))
		_, err = p.Publish(t.Context(), update("2"))
		require.ErrorIs(t, err, topology.ErrNotMaster)
		require.Greater(t, len(a.first.requests("hello")), asked)
		require.True(t, p.Stats().BreakerOpen)

		_, err = p.Publish(t.Context(), status("completed"))

		require.ErrorIs(t, err, topology.ErrNotMaster, "the breaker is open")
		a.move(1)
		time.Sleep(time.Second)
		receipt, err := p.Publish(t.Context(), status("completed"))
		require.NoError(t, err)
		require.Equal(t, []string{receipt.ID}, a.second.ids(t))
	})
}

// With a fallback nothing is left at a replica; without one an error says so.
func TestPublisher_Publish_serverStaysAReplica(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, start func(*publisher.Publisher) func()) {
		a, fallback := newAddress(), &recorder{}
		logger, log := logcheck.NewLog(t)
		p := newPublisher(t, a.client(t), publisher.Options{Fallback: fallback, Logger: logger})
		defer start(p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		a.demote(1)
		time.Sleep(time.Second)
		began := time.Now()

		for _, name := range names(2, 9) {
			receipt, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteFallback, receipt.Route)
			time.Sleep(900 * time.Millisecond)
		}
		_, err = p.Publish(t.Context(), status("started"))

		require.ErrorContains(t, err, "point the address to the master")
		require.Equal(t, names(2, 9), fallback.names(t))
		require.Equal(t, began, p.Stats().NotMasterSince)
		require.Equal(t, 1, log.Count(notMaster))
		require.Zero(t, log.Count(masterAgain))
		a.move(1)
		time.Sleep(2 * time.Second)
		receipt, err := p.Publish(t.Context(), update("10"))
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		require.Equal(t, []string{receipt.ID}, a.second.ids(t))
		require.Zero(t, p.Stats().NotMasterSince)
		require.Equal(t, 1, log.Count(masterAgain))
	})
}

// Run finds it before a message has to.
func TestPublisher_Run_findsThatTheAddressMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAddress()
		logger, log := logcheck.NewLog(t)
		p := newPublisher(t, a.client(t), publisher.Options{Logger: logger})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		a.move(1)
		time.Sleep(5*time.Second - time.Nanosecond)
		require.Zero(t, log.Count(notMaster))
		time.Sleep(2 * time.Nanosecond)
		require.Equal(t, 1, log.Count(notMaster))
		require.Equal(t, 1, log.Count(masterAgain))
		receipt, err := p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Attempts)
		require.Equal(t, []string{receipt.ID}, a.second.ids(t))
	})
}

// Nobody asks on channels on which this process publishes nothing.
func TestPublisher_Run_asksOnlyWherePublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAddress()
		p := newPublisher(t, a.client(t), publisher.Options{})
		defer run(t, p)()
		time.Sleep(time.Minute + time.Second)
		require.Empty(t, a.first.got)
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Len(t, a.first.requests("ping"), 12)
	})
}

// A server that does not say what it is is trusted.
func TestPublisher_Publish_serverWithoutHello(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPublisher(t, s.client(t), publisher.Options{})
		for range 5 {
			receipt, err := p.Publish(t.Context(), update("1"))
			require.NoError(t, err)
			require.Equal(t, 1, receipt.Attempts)
			time.Sleep(time.Second)
		}
		asked := 0
		for _, r := range s.requests("hello") {
			if len(r.args) == 1 { // a connection's greeting has more
				asked++
			}
		}
		require.Equal(t, 5, asked, "once a second")
		require.Zero(t, p.Stats().NotMasterSince)
	})
}

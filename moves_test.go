package fogispubsub_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// movable starts two servers behind one address: move makes the first a replica of
// the second and leads the address there, while old connections live on.
func movable(t *testing.T) (first, second *realredis.Server, addr string, move func()) {
	t.Helper()
	first, second = realredis.Start(t, "--repl-diskless-sync-delay", "0"), realredis.Start(t, "--repl-diskless-sync-delay", "0")
	proxy := faultnet.New(t, first.Addr())
	return first, second, proxy.Addr(), func() {
		first.Follow(second)
		proxy.Retarget(second.Addr())
	}
}

// warm fills a client's pool.
func warm(t *testing.T, client *fogispubsub.Client, n int) {
	t.Helper()
	var give []func() error
	for range n {
		conn := client.Redis().(interface{ Conn() *redis.Conn }).Conn()
		require.NoError(t, conn.Ping(t.Context()).Err())
		give = append(give, conn.Close)
	}
	for _, back := range give {
		require.NoError(t, back())
	}
}

// modes calls test for each mode, without Run and with it.
func modes(t *testing.T, test func(t *testing.T, durable string, start func(*fogispubsub.Client))) {
	for mode, durable := range map[string]string{"plain": "false", "durable": "true"} {
		t.Run(mode+", without Run", func(t *testing.T) {
			t.Parallel()
			test(t, durable, func(*fogispubsub.Client) {})
		})
		t.Run(mode+", with Run", func(t *testing.T) {
			t.Parallel()
			test(t, durable, func(c *fogispubsub.Client) { run(t, c) })
		})
	}
}

// The old master keeps a listener, so that plain mode must ask what it is.
func TestClient_Publish_addressMovesWhileOldConnectionsLive(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, durable string, start func(*fogispubsub.Client)) {
		first, second, addr, move := movable(t)
		stale := first.Client(t).Subscribe(t.Context(), message.ChannelMatchUpdates)
		defer stale.Close()
		_, err := stale.Receive(t.Context())
		require.NoError(t, err)
		to := newClient(t, environment{"REDIS_URL": second.URL(), "REDIS_DURABLE": durable, "FOGIS_SERVICE_NAME": "calendar"}, fogispubsub.Options{})
		logger, log := logcheck.NewLog(t)
		from := newClient(t, environment{"REDIS_URL": "redis://" + addr, "REDIS_DURABLE": durable, "FOGIS_SERVICE_NAME": "processor"}, fogispubsub.Options{Logger: logger})
		start(from)
		_, err = from.Publish(t.Context(), snapshot(t, 6200001, 1))
		require.NoError(t, err)
		warm(t, from, 3)
		move()
		got := listen(to)
		runSubscribed(t, to)
		wait(t, "the publisher to notice", func() bool { // in plain mode it asks once a second
			_, err := from.Publish(t.Context(), message.SystemAlert{AlertType: "test", Severity: "info"})
			return err == nil && log.Count("connected server is a master again") == 1
		})

		var want []string
		for n := range 5 {
			receipt, err := from.Publish(t.Context(), snapshot(t, 6200002+n, 1))
			require.NoError(t, err)
			want = append(want, receipt.ID)
		}

		for _, id := range want {
			require.Equal(t, id, receive(t, got).ID)
		}
		require.Equal(t, 1, log.Count("connected server is not a master"))
		require.Equal(t, 1, log.Count("connected server is a master again"))
		require.Zero(t, from.Stats().Publisher.NotMasterSince)
	})
}

// While the address leads to a replica, nothing goes there: the fallback has it, and
// log, counters and health say why.
func TestClient_Publish_serverIsAReplica(t *testing.T) {
	t.Parallel()
	master, server := realredis.Start(t, "--repl-diskless-sync-delay", "0"), realredis.Start(t)
	stale := server.Client(t).Subscribe(t.Context(), message.ChannelMatchUpdates)
	defer stale.Close()
	_, err := stale.Receive(t.Context())
	require.NoError(t, err)
	server.Follow(master)
	p := newPair(t, server.Addr(), master.Addr(), nil)
	runSubscribed(t, p.receiver)
	for range 3 {
		p.publishBy(publisher.RouteFallback)
	}
	p.requireHandled()
	require.NotZero(t, p.publisher.Stats().Publisher.NotMasterSince)
	var found []health.Finding
	for _, check := range p.publisher.Health(t.Context()).Checks {
		if check.Name == "publisher" {
			found = check.Findings
		}
	}
	require.Contains(t, findings(found), "has not been a master since")
	require.Contains(t, findings(found), "point REDIS_URL to the master")
}

func findings(all []health.Finding) (text string) {
	for _, f := range all {
		text += f.Reason + "; " + f.Cure + "\n"
	}
	return text
}

// The probe is published over the client's own pool, which may lead to the old
// master for a while: that says nothing of the session.
func TestSubscriber_probe_overConnectionsToAFormerMaster(t *testing.T) {
	t.Parallel()
	_, _, addr, move := movable(t)
	gaps := make(chan subscriber.Gap, 100)
	client := newClient(t, environment{"REDIS_URL": "redis://" + addr}, fogispubsub.Options{Subscriber: subscriber.Options{
		ProbeInterval: 50 * time.Millisecond, PingInterval: 5 * time.Second,
		OnGap: func(g subscriber.Gap) { gaps <- g },
	}})
	listen(client)
	warm(t, client, 5)
	move()
	runSubscribed(t, client)
	probed := func() time.Time { return client.Status().Sessions[0].LastProbe }
	for range 3 {
		before := probed()
		wait(t, "a probe that comes back", func() bool { return probed().After(before) })
	}
	require.Empty(t, gaps)
	require.EqualValues(t, 1, client.Status().Sessions[0].Epoch)
}

// Idle connections that died without a sign, as behind a NAT that forgets them, are
// replaced within the budget.
func TestClient_Publish_idleConnectionsDied(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, durable string, start func(*fogispubsub.Client)) {
		server := realredis.Start(t)
		hole := faultnet.New(t, server.Addr())
		proxy := faultnet.New(t, hole.Addr())
		client := newClient(t, environment{
			"REDIS_URL": "redis://" + proxy.Addr(), "REDIS_DURABLE": durable, "FOGIS_SERVICE_NAME": "processor", "FOGIS_REQUIRE_RECEIVERS": "-1",
		}, fogispubsub.Options{})
		start(client)
		_, err := client.Publish(t.Context(), snapshot(t, 6200001, 1))
		require.NoError(t, err)
		warm(t, client, 5)
		hole.BlackHole(true)
		proxy.Retarget(server.Addr())
		for n := range 3 {
			_, err := client.Publish(context.Background(), snapshot(t, 6200002+n, 1))
			require.NoError(t, err)
		}
		require.False(t, client.Stats().Publisher.BreakerOpen)
		require.Zero(t, client.Stats().Publisher.Failed)
	})
}

package fogispubsub_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

func openOutbox(path string) (publisher.Outbox, error) { return outbox.Open(path, outbox.Options{}) }

// A service that was down handles, when it starts, what came meanwhile: once,
// in order.
func TestClient_durable_publishedWhileTheSubscriberWasDown(t *testing.T) {
	t.Parallel()
	url := realredis.Start(t).URL()
	from := newClient(t, environment{"REDIS_URL": url, "REDIS_DURABLE": "auto", "FOGIS_SERVICE_NAME": "processor"}, fogispubsub.Options{})
	env := environment{"REDIS_URL": url, "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}
	var want []string
	publish := func() {
		receipt, err := from.Publish(t.Context(), snapshot(t, 6200000+len(want), 2))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		want = append(want, receipt.ID)
	}
	for range 3 {
		publish()
	}
	for range 2 {
		to := newClient(t, env, fogispubsub.Options{})
		got := listen(to)
		stop := runSubscribed(t, to)
		for _, id := range want {
			m := receive(t, got)
			require.Equal(t, id, m.ID)
			require.Equal(t, message.ViaStream, m.Via)
		}
		publish()
		require.Equal(t, want[len(want)-1], receive(t, got).ID)
		stop()
		require.Empty(t, got)
		want = want[:0]
		publish()
	}
	read := 0
	for _, err := range from.Replay(t.Context(), message.TypeMatchUpdates, durable.Position{}) {
		require.NoError(t, err)
		read++
	}
	require.Equal(t, 7, read)
}

func TestClient_outbox(t *testing.T) {
	t.Parallel()
	env := environment{"REDIS_URL": "redis://" + faultnet.Reserve(t), "REDIS_DURABLE": "auto", "REDIS_MAX_RETRIES": "0",
		"FOGIS_SERVICE_NAME": "processor", "FOGIS_OUTBOX_PATH": filepath.Join(t.TempDir(), "outbox")}
	client := newClient(t, env, fogispubsub.Options{OpenOutbox: openOutbox})
	receipt, err := client.Publish(t.Context(), snapshot(t, 6200000, 1))
	require.NoError(t, err)
	require.Equal(t, publisher.RouteOutbox, receipt.Route)
	require.NoError(t, client.Close())

	s := realredis.Start(t)
	env["REDIS_URL"] = s.URL()
	later := newClient(t, env, fogispubsub.Options{OpenOutbox: openOutbox})
	run(t, later)
	wait(t, "an empty outbox", func() bool { return later.Stats().Publisher.Waiting == 0 })
	newest, found, err := durable.Latest(t.Context(), s.Client(t), message.ChannelMatchUpdates)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, receipt.ID, newest.ID)
}

func TestNew_outboxPathWithoutOpenOutbox(t *testing.T) {
	t.Parallel()
	_, err := fogispubsub.New(config.Config{OutboxPath: "/var/lib/fogis/outbox"}, fogispubsub.Options{Logger: logcheck.New(t)})
	require.ErrorContains(t, err, "FOGIS_OUTBOX_PATH")
	require.ErrorContains(t, err, "Options.OpenOutbox")
}

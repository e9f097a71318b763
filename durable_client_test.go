package fogispubsub_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
	"github.com/PitchConnect/fogispubsub/subscriber"
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
	wait(t, "an empty outbox", func() bool { return later.Stats().Publisher.Drained == 1 })
	newest, found, err := durable.Latest(t.Context(), s.Client(t), message.ChannelMatchUpdates)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, receipt.ID, newest.ID)
}

// One environment file for all services names the outbox: who only subscribes
// starts without it and says so, and does not take the file from who publishes.
func TestClient_outbox_isOfWhoPublishes(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	path := filepath.Join(t.TempDir(), "outbox")
	redis.Set("FOGIS_OUTBOX_PATH", path)
	for name, open := range map[string]func(string) (publisher.Outbox, error){
		"the program opens no outbox":       nil,
		"the program could open the outbox": openOutbox,
	} {
		t.Run(name, func(t *testing.T) {
			logger, log := logcheck.NewLog(t)
			client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: redis.Getenv, Logger: logger, OpenOutbox: open})
			require.NoError(t, err)
			defer client.Close()
			got := pubsubtest.NewRecorder[message.MatchUpdates](t)
			fogispubsub.On(client, got.Handle)
			runLocal(t, client)
			require.Contains(t, log.Text(), "client ready")
			require.NoFileExists(t, path, "nobody published")
			owner, err := outbox.Open(path, outbox.Options{})
			require.NoError(t, err, "the file is left to who publishes")
			defer func() { require.NoError(t, owner.Close(), os.Remove(path)) }()

			_, err = client.Publish(t.Context(), message.MatchUpdates{Matches: pubsubtest.Matches(1)})
			var failed *publisher.Error
			require.ErrorAs(t, err, &failed)
			require.EqualValues(t, 1, client.Stats().Publisher.Failed)
			require.Empty(t, got.Messages(), "it would overtake what waits in the outbox")
			if open == nil {
				require.ErrorContains(t, err, "FOGIS_OUTBOX_PATH")
				require.ErrorContains(t, err, "Options.OpenOutbox")
			} else {
				require.ErrorIs(t, err, outbox.ErrInUse)
			}
			publishing := client.Health(t.Context()).Check("publisher")
			require.Equal(t, health.Degraded, publishing.Status)
			require.ErrorContains(t, publishing.Err(), "the outbox is not opened")
		})
	}
}

func TestClient_outbox_inUse_endsTheRunOfWhoOnlyPublishes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outbox")
	owner, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	client := newClient(t, environment{"FOGIS_OUTBOX_PATH": path}, fogispubsub.Options{OpenOutbox: openOutbox})
	require.ErrorIs(t, client.Run(t.Context()), outbox.ErrInUse)
	require.NoError(t, owner.Close())
	_, err = client.Publish(t.Context(), message.ProcessingStatus{})
	require.ErrorIs(t, err, message.ErrInvalid, "it is opened now")
	require.NoError(t, client.Close())
	_, err = client.Publish(t.Context(), message.ProcessingStatus{Status: "started"})
	require.Error(t, err)
	owner, err = outbox.Open(path, outbox.Options{})
	require.NoError(t, err, "Close released it, and nothing takes it again")
	require.NoError(t, owner.Close())
}

// What is set in code is merged with the settings field by field.
func TestNew_mergesDurableOptionsFieldByField(t *testing.T) {
	t.Parallel()
	options := fogispubsub.Options{
		Publisher:  publisher.Options{Durable: publisher.DurableOptions{NoRepeat: true}},
		Subscriber: subscriber.Options{Durable: subscriber.DurableOptions{Latest: true}},
	}
	for mode, want := range map[string]publisher.Route{"auto": publisher.RouteStream, "true": publisher.RouteStream, "false": publisher.RoutePubSub} {
		redis := pubsubtest.StartRedis(t)
		redis.Set("REDIS_DURABLE", mode)
		redis.Set("FOGIS_SERVICE_NAME", "calendar")
		client := newLocal(t, redis, options)
		receipt, err := client.Publish(t.Context(), message.ProcessingStatus{Status: "started"})
		require.NoError(t, err)
		require.Equal(t, want, receipt.Route, mode)
	}
}

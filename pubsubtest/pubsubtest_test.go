package pubsubtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

// The test of an invented service: it survives an outage and a failed attempt.
func TestRedis_andRecorder_asAServiceUsesThem(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: redis.Getenv, Logger: logcheck.New(t)})
	require.NoError(t, err)
	defer client.Close()
	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
	fogispubsub.On(client, got.Handle)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	redis.WaitForListener(message.ChannelMatchUpdates)

	redis.Stop()
	redis.Start()
	redis.WaitForListener(message.ChannelMatchUpdates)
	got.Fail(errors.New("try again"))
	require.Equal(t, 1, redis.Publish(message.ChannelMatchUpdates, []byte(`{"message_id":"1","type":"match_updates","payload":{"matches":[{"matchid":6200001}]}}`)))
	require.Equal(t, "1", got.Next().ID)
	require.Equal(t, "1", got.Next().ID, "the handler is called again after an error")
	require.Len(t, got.Messages(), 2)

	cancel()
	require.NoError(t, <-ended)
}

func TestMatches_arePublishable(t *testing.T) {
	t.Parallel()
	matches := pubsubtest.Matches(120)
	require.NoError(t, message.MatchUpdates{Matches: matches}.Validate())
	require.Equal(t, pubsubtest.Match(7), matches[6])
	ids := map[string]bool{}
	for _, m := range matches {
		ids[m.ID.String()] = true
	}
	require.Len(t, ids, len(matches))
}

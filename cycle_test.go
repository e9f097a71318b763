package fogispubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

func refuseDials(o *redis.Options) {
	o.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, errRefused }
}

// cycleBench is a client that hears its own statuses, alerts and updates.
type cycleBench struct {
	client   *fogispubsub.Client
	updates  *pubsubtest.Recorder[message.MatchUpdates]
	statuses *pubsubtest.Recorder[message.ProcessingStatus]
	alerts   *pubsubtest.Recorder[message.SystemAlert]
}

func newCycleBench(t *testing.T) *cycleBench {
	t.Helper()
	b := &cycleBench{
		client:   newLocal(t, pubsubtest.StartRedis(t), fogispubsub.Options{}),
		updates:  pubsubtest.NewRecorder[message.MatchUpdates](t),
		statuses: pubsubtest.NewRecorder[message.ProcessingStatus](t),
		alerts:   pubsubtest.NewRecorder[message.SystemAlert](t),
	}
	fogispubsub.On(b.client, b.updates.Handle)
	fogispubsub.On(b.client, b.statuses.Handle)
	fogispubsub.On(b.client, b.alerts.Handle)
	runLocal(t, b.client)
	return b
}

func detail(t *testing.T, s message.Message[message.ProcessingStatus], key string) any {
	t.Helper()
	require.Contains(t, s.Payload.Details, key)
	var value any
	require.NoError(t, json.Unmarshal(s.Payload.Details[key], &value))
	return value
}

func TestCycle_Complete(t *testing.T) {
	t.Parallel()
	b := newCycleBench(t)
	cycle := b.client.StartCycle(t.Context(), fogispubsub.CycleOptions{Number: 42, Processor: "test"})
	started := b.statuses.Next()
	require.Equal(t, message.StatusStarted, started.Payload.Status)
	require.EqualValues(t, 42, detail(t, started, "cycle_number"))
	require.Equal(t, "test", detail(t, started, "processor_type"))

	receipt, err := cycle.Complete(pubsubtest.Matches(2), []message.Change{{Category: message.CategoryCancellation, Priority: message.PriorityCritical}})
	require.NoError(t, err)
	update := b.updates.Next()
	require.Equal(t, receipt.ID, update.ID)
	require.True(t, update.Payload.HighPriority())
	completed := b.statuses.Next()
	require.Equal(t, message.StatusCompleted, completed.Payload.Status)
	require.EqualValues(t, 2, detail(t, completed, "matches_processed"))
	require.Equal(t, true, detail(t, completed, "changes_detected"))
	require.Equal(t, true, detail(t, completed, "match_publishing_success"))
	require.Equal(t, receipt.ID, detail(t, completed, "redis_publishing").(map[string]any)["match_updates"].(map[string]any)["message_id"])

	cycle.End()
	require.ErrorIs(t, cycle.NoChange(), fogispubsub.ErrCycleEnded)
	require.ErrorIs(t, cycle.Fail(errors.New("late")), fogispubsub.ErrCycleEnded)
	_, err = cycle.Complete(nil, nil)
	require.ErrorIs(t, err, fogispubsub.ErrCycleEnded)
	require.Len(t, b.statuses.Messages(), 2, "exactly one terminal status")
}

func TestCycle_NoChange_stillEnds(t *testing.T) {
	t.Parallel()
	b := newCycleBench(t)
	require.NoError(t, b.client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).NoChange())
	b.statuses.Next()
	completed := b.statuses.Next()
	require.Equal(t, message.StatusCompleted, completed.Payload.Status)
	require.Equal(t, false, detail(t, completed, "changes_detected"))
	require.Empty(t, b.updates.Messages())
}

func TestCycle_Fail_alerts(t *testing.T) {
	t.Parallel()
	b := newCycleBench(t)
	cause := errors.New("the API gave no answer\xff")
	require.Equal(t, cause, b.client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Fail(cause))
	b.statuses.Next()
	failed := b.statuses.Next()
	require.Equal(t, message.StatusFailed, failed.Payload.Status)
	require.Contains(t, detail(t, failed, "error_message"), "no answer")
	alert := b.alerts.Next()
	require.Equal(t, "processing_error", alert.Payload.AlertType)
	require.Equal(t, "error", alert.Payload.Severity)
}

func TestCycle_End_afterTheContext_failsTheCycle(t *testing.T) {
	t.Parallel()
	b := newCycleBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	func() {
		defer b.client.StartCycle(ctx, fogispubsub.CycleOptions{}).End()
		cancel() // and the work returns early
	}()
	b.statuses.Next()
	require.Equal(t, message.StatusFailed, b.statuses.Next().Payload.Status)
	b.alerts.Next()
}

func TestCycle_updateWithoutRoute_isAnErrorAndAStatus(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	redis.Set("REDIS_DURABLE", "false")
	client := newLocal(t, redis, fogispubsub.Options{})
	statuses := pubsubtest.NewRecorder[message.ProcessingStatus](t)
	fogispubsub.On(client, statuses.Handle) // nobody listens for updates
	runLocal(t, client)
	_, err := client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Complete(pubsubtest.Matches(1), nil)
	require.Error(t, err)
	logcheck.Clean(t, "error", err.Error())
	statuses.Next()
	require.Equal(t, false, detail(t, statuses.Next(), "match_publishing_success"))
}

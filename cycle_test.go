package fogispubsub_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
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

	receipt, err := cycle.Complete(message.MatchUpdates{
		Matches: pubsubtest.Matches(2), Changes: []message.Change{{Category: message.CategoryCancellation, Priority: message.PriorityCritical}},
	})
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
	require.ErrorIs(t, cycle.Fail(nil), fogispubsub.ErrCycleEnded)
	late := errors.New("late")
	require.Equal(t, late, cycle.Fail(late), "no error is lost")
	_, err = cycle.Complete(message.MatchUpdates{})
	require.ErrorIs(t, err, fogispubsub.ErrCycleEnded)
	require.Len(t, b.statuses.Messages(), 2, "exactly one terminal status")
}

// Whichever route holds the update at Redis, the status calls it a success there;
// a route elsewhere is a success, but not at Redis; none is no success at all.
func TestCycle_Complete_saysWhetherRedisHasTheUpdate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings         map[string]string
		route            publisher.Route
		atRedis, success bool
	}{
		"pub/sub":  {map[string]string{"REDIS_DURABLE": "false"}, publisher.RoutePubSub, true, true},
		"stream":   {nil, publisher.RouteStream, true, true},
		"fallback": {map[string]string{"REDIS_DURABLE": "false", "FOGIS_REQUIRE_RECEIVERS": "9"}, publisher.RouteFallback, false, true},
		"none":     {map[string]string{"REDIS_PUBSUB_ENABLED": "false"}, publisher.RouteNone, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			redis := pubsubtest.StartRedis(t)
			for key, value := range test.settings {
				redis.Set(key, value)
			}
			var o fogispubsub.Options
			if test.route == publisher.RouteFallback {
				o.Publisher.Fallback = accepting{}
			}
			statuses := &recordingFallback{}
			if test.route == publisher.RouteNone { // then only the fallback hears statuses
				o.Publisher.Fallback, o.Publisher.FallbackTypes = statuses, []message.Type{message.TypeProcessingStatus}
			}
			client := newLocal(t, redis, o)
			heard := pubsubtest.NewRecorder[message.ProcessingStatus](t)
			fogispubsub.On(client, func(context.Context, message.Message[message.MatchUpdates]) error { return nil })
			fogispubsub.On(client, heard.Handle)
			runLocal(t, client)
			receipt, err := client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Complete(message.MatchUpdates{Matches: pubsubtest.Matches(1)})
			require.NoError(t, err)
			require.Equal(t, test.route, receipt.Route)
			var completed message.Message[message.ProcessingStatus]
			if test.route == publisher.RouteNone {
				completed = statuses.last(t)
			} else {
				heard.Next()
				completed = heard.Next()
			}
			require.Equal(t, test.success, detail(t, completed, "match_publishing_success"))
			require.Equal(t, test.atRedis, detail(t, completed, "redis_publishing").(map[string]any)["match_updates"].(map[string]any)["success"])
		})
	}
}

func TestCycle_Complete_carriesSummaryAndMetadata(t *testing.T) {
	t.Parallel()
	b := newCycleBench(t)
	no := false
	changes := []message.Change{
		{MatchID: message.NewMatchID(1), Category: message.CategoryTimeChange}, {MatchID: message.NewMatchID(1), Category: message.CategoryVenueChange},
		{MatchID: message.NewMatchID(2), Category: message.CategoryCancellation},
	}
	_, err := b.client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Complete(message.MatchUpdates{
		Changes: changes, HasChanges: &no, Metadata: map[string]json.RawMessage{"processing_cycle": json.RawMessage("7")},
	})
	require.NoError(t, err)
	got := b.updates.Next().Payload
	require.Equal(t, message.ChangeSummary{Updated: 1, Cancelled: 1, Total: 3}, got.Summary, "counted from the changes")
	require.False(t, *got.HasChanges)
	require.JSONEq(t, "7", string(got.Metadata["processing_cycle"]))
	own := message.ChangeSummary{Removed: 4, Total: 4}
	_, err = b.client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Complete(message.MatchUpdates{Changes: changes, Summary: own})
	require.NoError(t, err)
	require.Equal(t, own, b.updates.Next().Payload.Summary, "one's own is not counted again")
}

// A Redis that hangs costs the update its own budget and nothing for the status
// before it.
func TestCycle_frozenRedis_statusDoesNotDelayTheUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, posted := time.Now(), time.Time{}
		logger, log := logcheck.NewLog(t)
		client, err := fogispubsub.New(config.Config{}, fogispubsub.Options{
			Logger: logger,
			Redis: func(o *redis.Options) {
				o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
			},
			Publisher: publisher.Options{Fallback: fallbackFunc(func() { posted = time.Now() })},
		})
		require.NoError(t, err)
		cycle := client.StartCycle(t.Context(), fogispubsub.CycleOptions{})
		defer cycle.End()
		require.Equal(t, began, time.Now(), "the work begins at once")
		_, err = cycle.Complete(message.MatchUpdates{Matches: pubsubtest.Matches(1)})
		require.NoError(t, err)
		require.LessOrEqual(t, posted.Sub(began), publisher.DefaultBudget)
		require.Equal(t, 2, log.Count("a processing cycle could not send its status"), "each status once: started and completed")
		require.NoError(t, client.Close())
	})
}

// accepting takes every message.
type accepting struct{}

func (accepting) Notify(context.Context, message.Outgoing) error { return nil }

type fallbackFunc func()

func (f fallbackFunc) Notify(context.Context, message.Outgoing) error { f(); return nil }

// recordingFallback keeps the newest status.
type recordingFallback struct {
	mu     sync.Mutex
	newest []byte
}

func (f *recordingFallback) Notify(_ context.Context, m message.Outgoing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = m.Body
	return nil
}

func (f *recordingFallback) last(t *testing.T) message.Message[message.ProcessingStatus] {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	e, err := message.Decode(f.newest)
	require.NoError(t, err)
	m, err := message.As[message.ProcessingStatus](e)
	require.NoError(t, err)
	return m
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
	_, err := client.StartCycle(t.Context(), fogispubsub.CycleOptions{}).Complete(message.MatchUpdates{Matches: pubsubtest.Matches(1)})
	require.Error(t, err)
	logcheck.Clean(t, "error", err.Error())
	statuses.Next()
	require.Equal(t, false, detail(t, statuses.Next(), "match_publishing_success"))
}

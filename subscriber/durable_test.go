package subscriber_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

const group = "calendar"

func inGroup() subscriber.Options {
	return subscriber.Options{Durable: subscriber.DurableOptions{Group: group}}
}

// streamClient is a client with the settings that package durable wants.
func streamClient(tb testing.TB, options *redis.Options) *redis.Client {
	tb.Helper()
	o := *options
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	client := redis.NewClient(&o)
	tb.Cleanup(func() { client.Close() })
	return client
}

// appendAll appends the numbered statuses from n to m, padded to size bytes.
func appendAll(tb testing.TB, client *redis.Client, n, m, size int) {
	tb.Helper()
	w, err := durable.NewWriter(client, durable.WriterOptions{})
	require.NoError(tb, err)
	for ; n <= m; n++ {
		body := marked(tb, numberedID(n))
		body = append(body, bytes.Repeat([]byte{' '}, max(size-len(body), 0))...)
		_, err := w.Append(tb.Context(), statusChannel, message.Outgoing{ID: numberedID(n), Type: message.TypeProcessingStatus, Body: body}, "")
		require.NoError(tb, err)
	}
}

func numberedID(n int) string { return fmt.Sprintf("id-%04d", n) }

func numbered(n, m int) (ids []string) {
	for ; n <= m; n++ {
		ids = append(ids, numberedID(n))
	}
	return ids
}

// marked is a status with the mark of a message that is in the stream.
func marked(tb testing.TB, id string) []byte {
	return bytes.Replace(status(tb, id), []byte(`{`), []byte(`{"stream":true,`), 1)
}

func letters(tb testing.TB, client *redis.Client) (list []durable.DeadLetter) {
	tb.Helper()
	dead, err := durable.NewDeadLetters(client, statusChannel)
	require.NoError(tb, err)
	for letter, err := range dead.List(tb.Context(), durable.Filter{}) {
		require.NoError(tb, err)
		list = append(list, letter)
	}
	return list
}

func pending(tb testing.TB, client *redis.Client) int64 {
	tb.Helper()
	summary, err := client.XPending(tb.Context(), durable.StreamKey(statusChannel), group).Result()
	require.NoError(tb, err)
	return summary.Count
}

// bubbleBox is a Redis in a bubble with a client for streams, which outlives
// the attempts that go-redis makes after refused dials.
func bubbleBox(t *testing.T) (*redisBox, *redis.Client) {
	b := newRedisBox(t)
	b.ClockTTL(true)
	t.Cleanup(func() { time.Sleep(2 * time.Second) })
	return b, streamClient(t, b.options())
}

// member starts a durable Subscriber.
func member(t *testing.T, options *redis.Options, o subscriber.Options, h subscriber.HandlerFunc) (*running, *events) {
	t.Helper()
	var e events
	e.attach(&o)
	o.Logger = logcheck.New(t)
	s, err := subscriber.New(options, o)
	require.NoError(t, err)
	s.Handle(message.TypeProcessingStatus, h)
	return start(t, s), &e
}

func TestDurable_New_refusesHalfOptions(t *testing.T) {
	t.Parallel()
	_, err := subscriber.New(at("x"), subscriber.Options{Durable: subscriber.DurableOptions{Latest: true}})
	require.ErrorContains(t, err, "Group")
	o := inGroup()
	o.Channels = []string{"a{b}"}
	_, err = subscriber.New(at("x"), o)
	require.ErrorContains(t, err, "a{b}")
}

func TestDurable_snapshotsOfFourDaysAreHandledInOrder(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	appendAll(t, client, 1, 250, 250_000)
	var got recorder
	seen := make(chan message.Header, 1000)
	r, e := member(t, at(server.Addr()), inGroup(), func(ctx context.Context, env *message.Envelope) error {
		seen <- env.Header
		return got.handle(ctx, env)
	})
	most := int64(0)
	eventually(t, "all handled", func() bool {
		for _, lane := range r.Status().Lanes {
			most = max(most, lane.QueuedBytes)
		}
		return len(got.IDs()) == 250
	})
	require.Equal(t, numbered(1, 250), got.IDs())
	require.LessOrEqual(t, most, int64(32<<20))
	h := <-seen
	require.Equal(t, message.ViaStream, h.Via)
	require.NotEmpty(t, h.StreamID)
	eventually(t, "acknowledged", func() bool { return pending(t, client) == 0 })

	// What comes now comes once, by the stream; a legacy message by pub/sub.
	appendAll(t, client, 251, 251, 0)
	require.NoError(t, client.Publish(t.Context(), statusChannel, status(t, "legacy")).Err())
	eventually(t, "both", func() bool { return len(got.IDs()) == 252 })
	require.ElementsMatch(t, []string{numberedID(251), "legacy"}, got.IDs()[250:])
	eventually(t, "counted", func() bool { return r.Stats().LeftToStream == 1 })
	st := r.Status()
	require.Len(t, st.Streams, 1)
	require.True(t, st.Streams[0].Holder)
	require.Equal(t, group, st.Streams[0].Group)
	require.Equal(t, subscriber.StateSubscribed, st.State)
	require.NoError(t, r.stop())
	require.Empty(t, e.Gaps())
	require.Zero(t, client.Exists(t.Context(), "{"+statusChannel+"}:lease:"+group).Val(), "the lease is released")
	stats := r.Stats()
	require.EqualValues(t, 252, stats.Handled)
	require.Equal(t, stats.Received, stats.Handled+stats.LeftToStream)
}

func TestDurable_takeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		broken := &redisBox{Miniredis: b.Miniredis} // the first one's network
		appendAll(t, client, 1, 3, 0)
		var first, second recorder
		causes := make(chan error, 1)
		first.do = func(ctx context.Context, id string) error {
			if id == numberedID(2) {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			}
			return nil
		}
		one, _ := member(t, broken.options(), inGroup(), first.handle)
		synctest.Wait()
		time.Sleep(time.Second)
		two, e := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Minute)
		require.Equal(t, numbered(1, 2), first.IDs())
		require.Empty(t, second.IDs())
		require.False(t, two.Status().Streams[0].Holder)
		require.Equal(t, subscriber.StateSubscribed, two.Status().State)

		broken.cut(true)
		died := time.Now()
		require.ErrorIs(t, <-causes, durable.ErrLeaseLost)
		require.LessOrEqual(t, time.Since(died), 7*time.Second)
		time.Sleep(10*time.Second - time.Since(died))
		synctest.Wait()
		require.Equal(t, numbered(2, 3), second.IDs())
		require.Equal(t, subscriber.StateDegraded, one.Status().State)
		require.EqualValues(t, 2, one.Stats().Returned)
		require.EqualValues(t, 2, two.Stats().Redelivered)
		require.NoError(t, one.stop())
		require.NoError(t, two.stop())
		require.Empty(t, letters(t, client))
		require.Empty(t, e.Gaps())
		require.Zero(t, pending(t, client))
	})
}

var errToken = errors.New("no token")

func TestDurable_handlerFailsForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 5, 0)
		var tried, got recorder
		began := time.Now()
		o := inGroup()
		o.ProbeInterval = -1
		r, e := member(t, b.options(), o, func(ctx context.Context, env *message.Envelope) error {
			_ = tried.handle(ctx, env)
			if time.Since(began) < time.Hour {
				return errToken
			}
			return got.handle(ctx, env)
		})
		time.Sleep(30 * time.Minute)
		require.Equal(t, subscriber.StateDegraded, r.Status().State)
		require.True(t, r.Status().Streams[0].Retrying)
		require.Greater(t, len(tried.IDs()), 30)
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		require.Equal(t, numbered(1, 5), got.IDs())
		require.Equal(t, subscriber.StateSubscribed, r.Status().State)
		require.NoError(t, r.stop())
		require.Empty(t, letters(t, client))
		require.Empty(t, e.Errors())
		require.Zero(t, pending(t, client))
	})
}

func TestDurable_poisonBecomesDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 4, 0)
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{
			Stream: durable.StreamKey(statusChannel), Values: []any{"id", "bad", "type", "processing_status", "data", `{"type":`},
		}).Err())
		appendAll(t, client, 5, 5, 0)
		var got recorder
		got.do = func(_ context.Context, id string) error {
			switch id {
			case numberedID(1):
				return subscriber.Permanent(errToken)
			case numberedID(2):
				panic("poison")
			case numberedID(3):
				return errToken
			}
			return nil
		}
		o := inGroup()
		o.Durable.RetryFor = time.Minute
		o.Durable.Instance = "here"
		r, e := member(t, b.options(), o, got.handle)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		list := letters(t, client)
		require.Len(t, list, 4)
		reasons := map[string]string{}
		for _, letter := range list {
			reasons[letter.Entry.ID] = letter.Reason
			require.Equal(t, "here", letter.Instance)
			if letter.Entry.ID == numberedID(3) {
				require.Greater(t, letter.Attempts, 5)
				require.GreaterOrEqual(t, letter.Last.Sub(letter.First), time.Minute)
			}
		}
		require.Equal(t, "no token", reasons[numberedID(1)])
		require.Contains(t, reasons[numberedID(2)], "panicked")
		require.Equal(t, "no token", reasons[numberedID(3)])
		require.Contains(t, reasons["bad"], "message")
		require.Equal(t, numbered(4, 5), got.IDs()[len(got.IDs())-2:])
		require.Len(t, e.Errors(), 3)
		require.NoError(t, r.stop())
		stats := r.Stats()
		require.EqualValues(t, 4, stats.Buried)
		require.EqualValues(t, 3, stats.Failed)
		require.EqualValues(t, 1, stats.Invalid)
		require.Zero(t, pending(t, client))
	})
}

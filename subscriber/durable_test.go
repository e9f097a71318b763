package subscriber_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
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

// pending is how many entries the group has not settled, -1 before it is made.
func pending(tb testing.TB, client *redis.Client) int64 {
	tb.Helper()
	summary, err := client.XPending(tb.Context(), durable.StreamKey(statusChannel), group).Result()
	if redis.HasErrorPrefix(err, "NOGROUP") {
		return -1
	}
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
	if o.Logger == nil {
		o.Logger = logcheck.New(t)
	}
	s, err := subscriber.New(connect(t, options), o)
	require.NoError(t, err)
	s.Handle(message.TypeProcessingStatus, h)
	return start(t, s), &e
}

func TestDurable_New_refusesHalfOptions(t *testing.T) {
	t.Parallel()
	_, err := subscriber.New(connect(t, at("x")), subscriber.Options{Durable: subscriber.DurableOptions{Latest: true}})
	require.ErrorContains(t, err, "Group")
	o := inGroup()
	o.Channels = []string{"a{b}"}
	_, err = subscriber.New(connect(t, at("x")), o)
	require.ErrorContains(t, err, "a{b}")
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

		require.Zero(t, two.Stats().LeftToHolder)
		broken.cut(true)
		died := time.Now()
		b.Publish(statusChannel, string(status(t, "legacy")))
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
		require.EqualValues(t, 1, two.Stats().LeftToHolder)
		require.Len(t, e.Gaps(), 1, "the legacy message that nobody handled")
		require.Equal(t, subscriber.CauseTakeover, e.Gaps()[0].Cause)
		require.False(t, e.Gaps()[0].From.After(died))
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

// childVariable holds the address of the Redis that this test binary reads as
// a member of the group, instead of testing.
const childVariable = "FOGIS_SUBSCRIBER_TEST_CHILD"

func TestMain(m *testing.M) {
	if addr := os.Getenv(childVariable); addr != "" {
		s, err := subscriber.New(redis.NewClient(plain(at(addr))), inGroup())
		if err == nil {
			s.Handle(message.TypeProcessingStatus, func(_ context.Context, e *message.Envelope) error {
				fmt.Println(e.ID)
				if e.ID == numberedID(3) {
					select {} // until it is killed
				}
				return nil
			})
			err = s.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestDurable_processKilledInsideAHandler(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	appendAll(t, client, 1, 5, 0)
	exe, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), exe)
	child.Env = append(os.Environ(), childVariable+"="+server.Addr())
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for _, id := range numbered(1, 3) {
		require.True(t, lines.Scan())
		require.Equal(t, id, lines.Text())
	}
	eventually(t, "the first two are acknowledged", func() bool { return pending(t, client) == 3 })

	var got recorder
	r, e := member(t, at(server.Addr()), inGroup(), got.handle)
	eventually(t, "subscribed", func() bool { return r.Status().State == subscriber.StateSubscribed })
	require.Empty(t, got.IDs())
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	eventually(t, "taken over", func() bool { return len(got.IDs()) == 3 })
	require.Equal(t, numbered(3, 5), got.IDs())
	require.NoError(t, r.stop())
	require.Empty(t, e.Gaps())
	require.Zero(t, pending(t, client))
}

func TestDurable_twoInstancesNeverHandleAtOnce(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	var running, overlaps atomic.Int32
	var got recorder
	h := func(ctx context.Context, e *message.Envelope) error {
		if running.Add(1) > 1 {
			overlaps.Add(1)
		}
		defer running.Add(-1)
		time.Sleep(time.Millisecond)
		return got.handle(ctx, e)
	}
	one, _ := member(t, at(server.Addr()), inGroup(), h)
	two, _ := member(t, at(server.Addr()), inGroup(), h)
	for round := range 6 {
		appendAll(t, client, round*20+1, round*20+20, 0)
		if round%2 == 1 { // the holder stops in the middle
			if one.Status().Streams[0].Holder {
				one, two = two, one
			}
			require.NoError(t, two.stop())
			two, _ = member(t, at(server.Addr()), inGroup(), h)
		}
	}
	eventually(t, "all handled", func() bool { return len(got.IDs()) >= 120 })
	require.Equal(t, numbered(1, 120), got.IDs())
	require.Zero(t, overlaps.Load())
	require.NoError(t, one.stop())
	require.NoError(t, two.stop())
	require.Empty(t, letters(t, client))
}

func TestDurable_clientKillsWithHundredPending(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	appendAll(t, client, 1, 100, 0)
	var got recorder
	open := make(chan struct{})
	got.do = func(ctx context.Context, _ string) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r, _ := member(t, at(server.Addr()), inGroup(), got.handle)
	eventually(t, "all pending", func() bool { return pending(t, client) == 100 })
	for range 10 {
		require.NoError(t, client.ClientKillByFilter(t.Context(), "SKIPME", "yes").Err())
		time.Sleep(20 * time.Millisecond)
	}
	close(open)
	eventually(t, "all handled", func() bool { return len(got.IDs()) >= 100 })
	eventually(t, "acknowledged", func() bool { return pending(t, client) == 0 })
	require.Equal(t, numbered(1, 100), got.IDs())
	require.NoError(t, r.stop())
	require.Empty(t, letters(t, client))
}

// Batches of small messages are large. Neither connections that are killed in
// the middle of one nor a stop loses, repeats or reorders what they hold.
func TestDurable_largeBatches_connectionsKilledAndStopped(t *testing.T) {
	t.Parallel()
	const n = 1000 // retained by default
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	appendAll(t, client, 1, n, 0)
	var first, second recorder
	read, reached := make(chan struct{}), make(chan struct{})
	first.do = func(ctx context.Context, id string) error {
		switch id {
		case numberedID(1):
			select {
			case <-read:
			case <-ctx.Done():
			}
		case numberedID(300):
			return client.ClientKillByFilter(ctx, "SKIPME", "yes").Err()
		case numberedID(400):
			close(reached)
		}
		return nil
	}
	o := inGroup()
	o.QueueMessages = 50
	one, _ := member(t, at(server.Addr()), o, first.handle)
	eventually(t, "all read, far ahead of the lane", func() bool { return pending(t, client) == n })
	close(read)
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("not handled after the connections were killed")
	}
	require.NoError(t, one.stop())
	require.Less(t, len(first.IDs()), n, "the rest went back")
	two, _ := member(t, at(server.Addr()), inGroup(), second.handle)
	eventually(t, "all handled", func() bool { return len(first.IDs())+len(second.IDs()) >= n })
	eventually(t, "acknowledged", func() bool { return pending(t, client) == 0 })
	require.NoError(t, two.stop())
	require.Equal(t, numbered(1, n), append(first.IDs(), second.IDs()...))
	require.Empty(t, letters(t, client))
}

func TestDurable_stopLeavesWhatTheDrainCannotHandle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 4, 0)
		var first, second recorder
		first.do = func(ctx context.Context, id string) error {
			if id == numberedID(2) {
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), subscriber.ErrDrainTimeout)
				return ctx.Err()
			}
			return nil
		}
		one, e := member(t, b.options(), inGroup(), first.handle)
		synctest.Wait()
		began := time.Now()
		require.NoError(t, one.stop(), "nothing is lost: the group has the rest")
		require.Equal(t, 7*time.Second, time.Since(began))
		require.EqualValues(t, 3, one.Stats().Returned)
		require.Empty(t, e.Errors())

		two, _ := member(t, b.options(), inGroup(), second.handle)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, numbered(2, 4), second.IDs())
		require.NoError(t, two.stop())
		require.Zero(t, pending(t, client))
	})
}

func TestDurable_stopDuringRetriesGivesTheEntryBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 3, 0)
		for range 8 { // more often than a process that dies may
			var got recorder
			got.do = func(context.Context, string) error { return errToken }
			r, e := member(t, b.options(), inGroup(), got.handle)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			began := time.Now()
			require.NoError(t, r.stop())
			require.Zero(t, time.Since(began))
			require.NotContains(t, got.IDs(), numberedID(2), "none overtakes it")
			require.Empty(t, e.Errors())
		}
		require.EqualValues(t, 3, pending(t, client))
		require.Empty(t, letters(t, client))
	})
}

func TestDurable_messageThatEndsItsProcessesIsBuried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		appendAll(t, client, 1, 2, 0)
		for range 1 + durable.MaxTries { // holders that die with it
			reader, err := durable.NewReader(client, statusChannel, group, durable.ReaderOptions{})
			require.NoError(t, err)
			lease, err := reader.Acquire(t.Context())
			require.NoError(t, err)
			entries, err := lease.Read(t.Context())
			require.NoError(t, err)
			if entries[0].Redelivered {
				_, err = lease.Try(t.Context(), entries[0])
				require.NoError(t, err)
			}
			require.NoError(t, lease.Release(t.Context()))
		}
		var got recorder
		r, e := member(t, b.options(), inGroup(), got.handle)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, numbered(2, 2), got.IDs())
		require.Len(t, letters(t, client), 1)
		require.Len(t, e.Errors(), 1)
		require.NoError(t, r.stop())
	})
}

func TestDurable_vanishedStreamIsAGap(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	var got recorder
	r, e := member(t, at(server.Addr()), inGroup(), got.handle)
	appendAll(t, client, 1, 2, 0)
	eventually(t, "handled", func() bool { return len(got.IDs()) == 2 && pending(t, client) == 0 })
	require.NoError(t, client.Del(t.Context(), durable.StreamKey(statusChannel)).Err())
	eventually(t, "gap", func() bool { return len(e.Gaps()) == 1 })
	gap := e.Gaps()[0]
	require.Equal(t, subscriber.CauseVanished, gap.Cause)
	require.Equal(t, statusChannel, gap.Stream.Channel)
	require.False(t, gap.From.IsZero())
	require.Contains(t, gap.String(), "stream vanished")
	appendAll(t, client, 3, 3, 0)
	eventually(t, "handled", func() bool { return len(got.IDs()) == 3 })
	require.NoError(t, r.stop())
}

// Everything that knew of the messages is gone: Redis was emptied, and the
// process that would have handled them is another one.
func TestDurable_flushedWhileNobodyRanIsAGap(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := streamClient(t, server.Options())
	var got recorder
	r, e := member(t, at(server.Addr()), inGroup(), got.handle)
	appendAll(t, client, 1, 2, 0)
	eventually(t, "handled", func() bool { return len(got.IDs()) == 2 && pending(t, client) == 0 })
	require.NoError(t, r.stop())
	first := e.NewGroups()
	require.Len(t, first, 1)

	lost := time.Now()
	appendAll(t, client, 3, 5, 0)
	require.NoError(t, client.FlushAll(t.Context()).Err())
	r, e = member(t, at(server.Addr()), inGroup(), got.handle)
	eventually(t, "gap", func() bool { return len(e.NewGroups()) == 1 })
	gap := e.NewGroups()[0]
	require.True(t, gap.From.IsZero(), "since when, nobody knows")
	require.True(t, gap.To.After(lost))
	require.Equal(t, statusChannel, gap.Stream.Channel)
	require.Contains(t, gap.String(), "new group")
	require.NotContains(t, gap.String(), "0001-01-01")
	appendAll(t, client, 6, 6, 0)
	eventually(t, "handled", func() bool { return len(got.IDs()) == 3 })
	require.NoError(t, r.stop())
}

func TestDurable_missingRightEndsRun(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	require.NoError(t, server.Client(t).Do(t.Context(), "ACL", "SETUSER", "plain", "on", ">hemligt", "allchannels", "+@all", "-eval", "-evalsha").Err())
	options := at(server.Addr())
	options.Username, options.Password = "plain", "hemligt"
	o := inGroup()
	o.Logger = logcheck.New(t)
	s, err := subscriber.New(connect(t, options), o)
	require.NoError(t, err)
	var got recorder
	s.Handle(message.TypeProcessingStatus, got.handle)
	err = s.Run(t.Context())
	require.ErrorContains(t, err, "NOPERM")
	require.ErrorContains(t, err, statusChannel)
}

package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// statusInterval is the pace of the latency rows.
const statusInterval = time.Millisecond

// stopwatch takes the time of each message from before it is published to
// within its handler. Messages keep their order, so they need no mark.
type stopwatch struct {
	tally *tally
	sent  []time.Time // of the running slice
	first int         // how many were taken before it
	taken []float64   // in µs
}

func newStopwatch() *stopwatch { return &stopwatch{tally: newTally()} }

// arrived is called by the one reader.
func (s *stopwatch) arrived() {
	sent := s.sent[len(s.taken)-s.first]
	s.taken = append(s.taken, float64(time.Since(sent))/float64(time.Microsecond))
	s.tally.one()
}

// paced is a side that makes a message and publishes it, once each interval.
// The clock starts between the two.
func (s *stopwatch) paced(next func(t *testing.T) []byte, publish func(t *testing.T, body []byte)) contender {
	return contender{
		prepare: func(_ *testing.T, n int) {
			s.sent, s.first = make([]time.Time, n), len(s.taken)
			s.tally.expect(n)
		},
		work: func(t *testing.T, n int) {
			t.Helper()
			ticker := time.NewTicker(statusInterval)
			defer ticker.Stop()
			for i := range n {
				<-ticker.C
				body := next(t)
				s.sent[i] = time.Now()
				publish(t, body)
			}
			s.tally.wait(t)
		},
	}
}

// statusHandler is the SDK's side of reading statuses from channel.
func statusHandler(t *testing.T, server *realredis.Server, watch *stopwatch, channel string) *fogispubsub.Client {
	t.Helper()
	client := newClient(t, server, fogispubsub.Options{Subscriber: subscriber.Options{
		ChannelNames: map[message.Type]string{message.TypeProcessingStatus: channel},
	}})
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error {
		watch.arrived()
		return nil
	})
	run(t, client)
	return client
}

// bareLoop is the other side: it gives each body to read.
func bareLoop(t *testing.T, server *realredis.Server, watch *stopwatch, channel string, read func(body string) error) {
	t.Helper()
	listener := newReader(t, server, channel, nil) // its gate stays open
	listener.loop(t, server, func(body string) error {
		err := read(body)
		watch.arrived()
		return err
	})
}

func unread(string) error { return nil }

func publishTo(conn *redis.Client, channel string) func(*testing.T, []byte) {
	return func(t *testing.T, body []byte) {
		require.NoError(t, conn.Publish(t.Context(), channel, body).Err())
	}
}

// latencyReceive compares the handler with a loop that reads nothing,
// latencyRead with one that reads the message.
func latencyReceive(t *testing.T, server *realredis.Server) *result {
	return latencyTo(t, server, unread, 4000)
}

func latencyRead(t *testing.T, server *realredis.Server) *result {
	return latencyTo(t, server, new(digest).statusByHand, 1000)
}

// latencyTo feeds the handler and a loop by a hand-written PUBLISH of fresh
// messages.
func latencyTo(t *testing.T, server *realredis.Server, read func(body string) error, n int) *result {
	sdk, hand := newStopwatch(), newStopwatch()
	client := statusHandler(t, server, sdk, sdkChannel)
	bareLoop(t, server, hand, handChannel, read)
	conn := newHand(t, handOptions(server))
	fresh := func() func(t *testing.T) []byte {
		n, p := uint64(0), status()
		return func(t *testing.T) []byte {
			n++
			return encoded(t, p, n)
		}
	}
	r := compareLatency(t, sdk, hand, sdk.paced(fresh(), publishTo(conn, sdkChannel)), hand.paced(fresh(), publishTo(conn, handChannel)), n)
	require.Zero(t, client.Stats().Subscriber.Gaps)
	return r
}

// latencyBoth compares both halves of the SDK with a bare PUBLISH of bytes at
// hand and a bare loop.
func latencyBoth(t *testing.T, server *realredis.Server) *result {
	sdk, hand := newStopwatch(), newStopwatch()
	client := statusHandler(t, server, sdk, message.ChannelProcessingStatus)
	bareLoop(t, server, hand, handChannel, unread)
	p := status()
	body := encoded(t, p, 1)
	none := func(*testing.T) []byte { return nil }
	same := func(*testing.T) []byte { return body }
	publish := func(t *testing.T, _ []byte) {
		_, err := client.Publish(t.Context(), p)
		require.NoError(t, err)
	}
	return compareLatency(t, sdk, hand, sdk.paced(none, publish), hand.paced(same, publishTo(newHand(t, handOptions(server)), handChannel)), 1000)
}

// compareLatency compares the median times of both sides, in slices of n
// messages, as the ratio of their inverses: above 1, the SDK is the faster one.
func compareLatency(t *testing.T, sdk, hand *stopwatch, sdkSide, handSide contender, n int) *result {
	t.Helper()
	n = slice(n, 10)
	measure(t, sdkSide, n)
	measure(t, handSide, n)
	warm := len(sdk.taken)
	r := &result{compared: true}
	for pair := range *pairs {
		before := len(sdk.taken)
		a, b := pairOf(t, sdkSide, handSide, n, 1, pair%2 == 1)
		r.add(median(hand.taken[before:])/median(sdk.taken[before:]), a, b)
	}
	for _, side := range []struct {
		name  string
		taken []float64
	}{{"SDK", sdk.taken[warm:]}, {"by hand", hand.taken[warm:]}} {
		r.fact("%s: p50 %.0f µs, p99 %.0f µs", side.name, median(side.taken), quantile(side.taken, 0.99))
	}
	return r
}

package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// statusInterval is the pace of the latency row.
const statusInterval = time.Millisecond

// stopwatch takes the time of each message from before it is published to
// within its handler. Messages keep their order, so they need no mark.
type stopwatch struct {
	tally    *tally
	sent     []time.Time
	taken    []float64 // in µs, of this slice
	all      []float64 // of the slices before
	received int
}

func newStopwatch() *stopwatch { return &stopwatch{tally: newTally()} }

// arrived is called by the one reader.
func (s *stopwatch) arrived() {
	now := time.Now()
	s.taken[s.received] = float64(now.Sub(s.sent[s.received])) / float64(time.Microsecond)
	s.received++
	s.tally.one()
}

// paced is a side that publishes one message each interval.
func (s *stopwatch) paced(publish func(t *testing.T)) contender {
	return contender{
		prepare: func(_ *testing.T, n int) {
			s.all = append(s.all, s.taken...)
			s.sent, s.taken, s.received = make([]time.Time, n), make([]float64, n), 0
			s.tally.expect(n)
		},
		work: func(t *testing.T, n int) {
			t.Helper()
			ticker := time.NewTicker(statusInterval)
			defer ticker.Stop()
			for i := range n {
				<-ticker.C
				s.sent[i] = time.Now()
				publish(t)
			}
			s.tally.wait(t)
		},
	}
}

// slices ends the recording so far and returns it, without the first slices
// of n messages, which warmed up.
func (s *stopwatch) since(count int) []float64 {
	s.all, s.taken = append(s.all, s.taken...), nil
	return s.all[count:]
}

// latency compares the median times of both sides as the ratio of their
// inverses: above 1, the SDK is the faster one.
func latency(t *testing.T, server *realredis.Server) *result {
	sdk, hand := newStopwatch(), newStopwatch()
	client := newClient(t, server, fogispubsub.Options{
		Subscriber: subscriber.Options{ChannelNames: map[message.Type]string{message.TypeProcessingStatus: message.ChannelProcessingStatus}},
	})
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error {
		sdk.arrived()
		return nil
	})
	run(t, client)
	sdkSide := sdk.paced(func(t *testing.T) {
		_, err := client.Publish(t.Context(), status())
		require.NoError(t, err)
	})

	listener := newReader(t, server, handChannel, nil) // its gate stays open
	listener.loop(t, server, func(string) error {
		hand.arrived()
		return nil
	})
	conn, body := newHand(t, handOptions(server)), encoded(t, status(), 1)
	handSide := hand.paced(func(t *testing.T) {
		require.NoError(t, conn.Publish(t.Context(), handChannel, body).Err())
	})

	n := slice(250, 10)
	measure(t, sdkSide, n)
	measure(t, handSide, n)
	sdk.since(0)
	hand.since(0)
	r := &result{compared: true}
	for pair := range *pairs {
		before := len(sdk.all)
		a, b := pairOf(t, sdkSide, handSide, n, pair%2 == 1)
		r.values = append(r.values, median(hand.since(before))/median(sdk.since(before)))
		r.sdk, r.hand = r.sdk.plus(a), r.hand.plus(b)
	}
	sdkTimes, handTimes := sdk.since(n), hand.since(n)
	r.fact("SDK p50 %.0f µs, p99 %.0f µs; bare loop p50 %.0f µs, p99 %.0f µs",
		median(sdkTimes), quantile(sdkTimes, 0.99), median(handTimes), quantile(handTimes, 0.99))
	return r
}

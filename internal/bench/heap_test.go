package bench_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// liveHeap is the size of all objects that are in use. What a sync.Pool holds
// goes with the second collection, what has a finalizer with the third.
func liveHeap() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// idleHeap is what one client with handlers for all types adds to the heap
// after it has sent and handled a snapshot and a status.
func idleHeap(t *testing.T, server *realredis.Server) *result {
	r := &result{unit: "MB"}
	for range slice(3, 1) {
		t.Run("client", func(t *testing.T) {
			before := liveHeap()
			client := newClient(t, server, fogispubsub.Options{})
			handled := newTally()
			handled.expect(2)
			countAll(client, handled)
			run(t, client)
			publishAll(t, client, status(), rawSnapshot())
			handled.wait(t)
			r.values = append(r.values, (liveHeap()-before)/1e6)
			runtime.KeepAlive(client)
		})
	}
	return r
}

// heapGrowth sends and handles 100 000 statuses after as many as fill the
// memory of handled messages.
func heapGrowth(t *testing.T, server *realredis.Server) *result {
	client := newClient(t, server, fogispubsub.Options{})
	handled := newTally()
	countAll(client, handled)
	run(t, client)
	send := func(n int) {
		handled.expect(n)
		for range n {
			publishAll(t, client, status())
		}
		handled.wait(t)
	}
	send(slice(20_000, 100))
	before := liveHeap()
	n := slice(100_000, 200)
	send(n)
	grown := liveHeap() - before
	r := &result{unit: "B/message", values: []float64{grown / float64(n)}}
	r.fact("%.0f KB of heap after %d messages, %.0f KB more after the next %d", before/1e3, slice(20_000, 100), grown/1e3, n)
	runtime.KeepAlive(client)
	return r
}

// countAll gives client a handler for every type.
func countAll(client *fogispubsub.Client, handled *tally) {
	fogispubsub.On(client, func(context.Context, message.Message[message.MatchUpdates]) error {
		handled.one()
		return nil
	})
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error {
		handled.one()
		return nil
	})
	fogispubsub.On(client, func(context.Context, message.Message[message.SystemAlert]) error {
		handled.one()
		return nil
	})
}

func publishAll(t *testing.T, client *fogispubsub.Client, payloads ...message.Payload) {
	t.Helper()
	for _, p := range payloads {
		receipt, err := client.Publish(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
	}
}

package publisher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/stretchr/testify/require"
)

// repeats returns the IDs of those messages that are repeats.
func repeats(t *testing.T, bodies [][]byte) (ids []string) {
	t.Helper()
	for _, body := range bodies {
		m, err := message.Decode(body)
		require.NoError(t, err)
		if m.Repeat {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// A process that only runs has sent nothing, and knows nothing to be the newest.
func TestPublisher_Run_onlyWhoPublishedRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		var all []*publisher.Publisher
		for range 3 {
			p := newPublisher(t, k.client(t), publisher.Options{Durable: kept})
			defer run(t, p)()
			all = append(all, p)
		}
		receipt, err := all[0].Publish(t.Context(), update("1"))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		heard := k.listener(t)
		time.Sleep(time.Minute)
		require.Equal(t, []string{receipt.ID}, repeats(t, heard()))
		require.Equal(t, uint64(1), all[0].Stats().Repeats)

		// Of two that published, who has the newest.
		newer, err := all[1].Publish(t.Context(), update("2"))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		late := k.listener(t)
		time.Sleep(time.Minute)
		require.Equal(t, []string{newer.ID}, repeats(t, late()))
		require.Equal(t, uint64(1), all[0].Stats().Repeats)
		require.Equal(t, uint64(1), all[1].Stats().Repeats)
		require.Zero(t, all[2].Stats().Repeats)
	})
}

// Two processes of a service, both with an empty outbox, each know the stream's
// newest to be the newest: one repeats for a rise.
func TestPublisher_Run_oneRepeatForARise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		earlier := newPublisher(t, k.client(t), publisher.Options{Durable: kept})
		receipt, err := earlier.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		var all []*publisher.Publisher
		for range 3 {
			p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: newOutbox(t)})
			defer run(t, p)()
			all = append(all, p)
		}
		other := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: newOutbox(t), Source: "another-service"})
		defer run(t, other)()
		time.Sleep(5 * time.Second)

		first := k.listener(t)
		time.Sleep(3 * time.Second)
		second := k.listener(t) // while the first rise is seen to
		time.Sleep(time.Minute)

		require.Equal(t, []string{receipt.ID}, repeats(t, second()), "the second rise has its own")
		require.Equal(t, []string{receipt.ID, receipt.ID}, repeats(t, first()))
		var sum uint64
		for _, p := range all {
			sum += p.Stats().Repeats
		}
		require.Equal(t, uint64(2), sum)
		require.Zero(t, other.Stats().Repeats, "it cannot know what that service sent by HTTP")
	})
}

// What another process sent by HTTP alone is not overtaken either: who has put it
// nowhere in the stream is silent, and so are those who published nothing.
func TestPublisher_Run_noProcessRepeatsWhatIsOlderThanWhatWentByHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		from := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		to := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		defer run(t, from)()
		defer run(t, to)()
		_, err := from.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.setDown(true)
		receipt, err := from.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		k.setDown(false)
		time.Sleep(5 * time.Second)
		heard := k.listener(t)
		time.Sleep(time.Minute)
		require.Empty(t, heard())
		require.Zero(t, from.Stats().Repeats+to.Stats().Repeats)
	})
}

package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// What one process left in the outbox goes by the routes of the next one, however
// its settings differ.
func TestPublisher_Run_emptiesTheOutboxAfterAChangeOfMode(t *testing.T) {
	t.Parallel()
	plain := publisher.Options{}
	for _, c := range []struct {
		name          string
		before, after publisher.Options
		refuses       bool // the fallback, before
		fallback      bool // there is one, after
		kept, heard   []string
		posted        []string
	}{
		{name: "durable to plain", before: publisher.Options{Durable: kept}, after: plain, fallback: true, posted: names(1, 3)},
		{name: "durable to plain, nothing posted", before: publisher.Options{Durable: kept}, after: plain, refuses: true, fallback: true, heard: names(1, 3)},
		{name: "durable to disabled", before: publisher.Options{Durable: kept}, after: publisher.Options{Disabled: true}, fallback: true, posted: names(1, 3)},
		{name: "durable to disabled, nothing posted", before: publisher.Options{Durable: kept}, after: publisher.Options{Disabled: true}, refuses: true, fallback: true, posted: names(1, 3)},
		{name: "plain to durable", before: plain, after: publisher.Options{Durable: kept}, refuses: true, fallback: true, kept: names(1, 3), heard: names(1, 3)},
		{name: "fallback removed", before: publisher.Options{Durable: kept}, after: publisher.Options{Durable: kept}, kept: names(1, 3), heard: names(1, 3), posted: names(1, 3)},
		{name: "fallback removed, plain", before: plain, after: plain, refuses: true, heard: names(1, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, fallback, path := newKeeper(t), &recorder{}, filepath.Join(t.TempDir(), "outbox")
				heard := k.listener(t)
				refuses := c.refuses
				fallback.take = func(context.Context) error {
					if refuses {
						return errors.New("down")
					}
					return nil
				}
				box := openOutbox(t, path)
				c.before.Outbox, c.before.Fallback = box, fallback
				k.setDown(true)
				p := newPublisher(t, k.client(t), c.before)
				for _, name := range names(1, 3) {
					_, err := p.Publish(t.Context(), update(name))
					require.NoError(t, err)
				}
				require.NoError(t, box.Close())

				k.setDown(false)
				refuses = false
				box = openOutbox(t, path)
				require.Equal(t, 3, box.Len())
				c.after.Outbox = box
				if c.fallback {
					c.after.Fallback = fallback
				}
				p = newPublisher(t, k.client(t), c.after)
				defer run(t, p)()
				time.Sleep(time.Minute)
				require.Zero(t, box.Len())
				require.Equal(t, c.posted, fallback.names(t))
				require.Equal(t, c.kept, k.kept(t))
				require.Equal(t, c.heard, homeTeams(t, heard()))
			})
		})
	}
}

func homeTeams(t testing.TB, bodies [][]byte) (names []string) {
	for _, body := range bodies {
		names = append(names, homeTeam(t, body))
	}
	return names
}

// A server that turns out to have no streams settles what was left for them.
func TestPublisher_Run_emptiesTheOutboxWhenAutoDegrades(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback, path := newKeeper(t), &recorder{}, filepath.Join(t.TempDir(), "outbox")
		box := openOutbox(t, path)
		k.setDown(true)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback})
		for _, name := range names(1, 3) {
			_, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
		}
		require.NoError(t, box.Close())
		s := newServer()
		s.set(func(s *server) { s.answer = noStreams })
		box = openOutbox(t, path)
		p = newPublisher(t, s.client(t), publisher.Options{
			Durable: publisher.DurableOptions{Mode: publisher.DurableAuto}, Outbox: box, Fallback: fallback,
		})
		defer run(t, p)()
		time.Sleep(time.Minute)
		require.True(t, p.Stats().Degraded)
		require.Zero(t, box.Len())
	})
}

// A type whose channel was taken away waits, is counted, and holds nobody up.
func TestPublisher_outbox_typeWithoutAChannel_waitsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box := newKeeper(t), newOutbox(t)
		heard := k.listener(t)
		require.NoError(t, box.Put(message.Outgoing{ID: "old", Type: "blob", Body: []byte(`{"message_id":"old"}`)}, ""))
		p := newPublisher(t, k.client(t), publisher.Options{Outbox: box})
		defer run(t, p)()
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		time.Sleep(time.Minute)
		require.Equal(t, names(1, 1), homeTeams(t, heard()))
		require.Equal(t, 1, box.Len("blob"))
		require.Equal(t, 1, p.Stats().Stranded)
	})
}

// Who listens hears each message in its turn once; what is owed to the missing
// one waits, and comes in order when it is back.
func TestPublisher_outbox_plain_tooFewReceivers_holdsNothingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box := newKeeper(t), newOutbox(t)
		first := k.listener(t)
		p := newPublisher(t, k.client(t), publisher.Options{Outbox: box, RequireReceivers: 2})
		defer run(t, p)()
		for _, name := range names(1, 4) {
			receipt, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteOutbox, receipt.Route)
		}
		time.Sleep(10 * time.Minute)
		require.Equal(t, names(1, 4), homeTeams(t, first()))
		require.Equal(t, 4, box.Len())
		second := k.listener(t)
		time.Sleep(2 * time.Minute)
		require.Equal(t, names(1, 4), homeTeams(t, second()))
		require.Equal(t, append(names(1, 4), names(1, 4)...), homeTeams(t, first()))
		require.Zero(t, box.Len())
	})
}

// What the receiver refuses for good goes aside, and the next follows.
func TestPublisher_outbox_plain_refusedForGood_goesAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, fallback := newOutbox(t), &recorder{}
		asked, bad := 0, true
		fallback.take = func(context.Context) error {
			asked++
			if bad {
				return fmt.Errorf("413: %w", message.ErrRefused)
			}
			return nil
		}
		p := newPublisher(t, nil, publisher.Options{Disabled: true, Outbox: box, Fallback: fallback})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		e := failure(t, err)
		require.ErrorIs(t, e, message.ErrRefused)
		require.True(t, e.Aside)
		bad = false
		receipt, err := p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		time.Sleep(time.Hour)
		require.Equal(t, 2, asked)
		require.Equal(t, 1, box.Stats().Aside)
		require.Zero(t, box.Len())
	})
}

// With streams it waits for the stream, and is not posted again.
func TestPublisher_outbox_durable_refusedForGood_waitsForTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
		k.setDown(true)
		asked, bad := 0, true
		fallback.take = func(context.Context) error {
			asked++
			if bad {
				return fmt.Errorf("413: %w", message.ErrRefused)
			}
			return nil
		}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback, RequireReceivers: -1})
		defer run(t, p)()
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteOutbox, receipt.Route)
		require.ErrorIs(t, receipt.FallbackErr, message.ErrRefused)
		bad = false
		receipt, err = p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.FallbackAccepted, receipt.Fallback)
		time.Sleep(time.Hour)
		require.Equal(t, 2, asked)
		require.Equal(t, names(2, 2), fallback.names(t))
		require.Contains(t, string(fallback.got[0].Body[:30]), `"after":"unknown+"`, "1 is still to come into the stream")
		k.setDown(false)
		time.Sleep(time.Minute)
		require.Equal(t, names(1, 2), k.kept(t))
		require.Zero(t, box.Len())
	})
}

// A message whose answer was lost is sent again without doubling it.
func TestRetry_lostAnswer_isNotKeptTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, MaxRetries: -1})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.lose(1)
		_, err = p.Publish(t.Context(), update("2"))
		e := failure(t, err)
		require.True(t, e.Unknown)
		time.Sleep(2 * time.Second)
		receipt, err := p.Publish(t.Context(), update("2"), publisher.Retry(err))
		require.NoError(t, err)
		require.Equal(t, e.ID, receipt.ID)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Equal(t, names(1, 2), k.kept(t))
	})
}

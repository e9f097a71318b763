package publisher_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

var _ publisher.Outbox = (*outbox.File)(nil)

func TestPublisher_outbox_keepsWhatNothingTakes_andSendsItInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box := newKeeper(t), newOutbox(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.setDown(true)
		for _, name := range names(2, 4) {
			receipt, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteOutbox, receipt.Route)
			require.Equal(t, publisher.FallbackNone, receipt.Fallback)
		}
		require.Equal(t, 3, p.Stats().Waiting)
		require.Equal(t, names(1, 1), k.kept(t))
		k.setDown(false)
		time.Sleep(2 * time.Second)
		receipt, err := p.Publish(t.Context(), update("5"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.NotEmpty(t, receipt.StreamID)
		require.Equal(t, names(1, 5), k.kept(t))
		require.Zero(t, p.Stats().Waiting)
		require.Equal(t, uint64(4), p.Stats().Drained)
	})
}

func TestPublisher_Run_emptiesTheOutboxOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, path := newKeeper(t), filepath.Join(t.TempDir(), "outbox")
		box := openOutbox(t, path)
		k.setDown(true)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box})
		for _, name := range names(1, 3) {
			_, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
		}
		require.NoError(t, box.Close())

		later := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: openOutbox(t, path)})
		defer run(t, later)()
		time.Sleep(10 * time.Second)
		require.Empty(t, k.kept(t))
		k.setDown(false)
		time.Sleep(3 * time.Second)
		require.Equal(t, names(1, 3), k.kept(t))
		require.Zero(t, later.Stats().Waiting)
	})
}

// With streams the fallback's word is not enough: an instance that was down
// gets the message from the stream.
func TestPublisher_outbox_durable_fallbackTakesOverAndTheStreamGetsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
		k.listener(t)
		k.setDown(true)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback})
		defer run(t, p)()
		for _, name := range names(1, 3) {
			receipt, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteOutbox, receipt.Route)
			require.Equal(t, publisher.FallbackAccepted, receipt.Fallback)
		}
		require.Equal(t, names(1, 3), fallback.names(t))
		k.setDown(false)
		time.Sleep(3 * time.Second)
		require.Equal(t, names(1, 3), k.kept(t))
		require.Equal(t, names(1, 3), fallback.names(t), "each once")
		require.Zero(t, p.Stats().Waiting)
	})
}

// What goes another way names the entry of the stream that it follows, in a
// later process too, so that a receiver can keep the order.
func TestPublisher_outbox_durable_postsNameWhatTheyFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback, path := newKeeper(t), &recorder{}, filepath.Join(t.TempDir(), "outbox")
		box := openOutbox(t, path)
		o := publisher.Options{Durable: kept, Outbox: box, Fallback: fallback, RequireReceivers: -1}
		p := newPublisher(t, k.client(t), o)
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		first := receipt.StreamID
		k.setDown(true)
		for _, name := range names(2, 3) {
			_, err := p.Publish(t.Context(), update(name))
			require.NoError(t, err)
		}
		require.NoError(t, box.Close())
		o.Outbox = newOutbox(t)
		_, err = newPublisher(t, k.client(t), o).Publish(t.Context(), update("another"))
		require.NoError(t, err)
		require.Equal(t, message.AfterUnknown, decoded(t, fallback.got[2].Body).After, "there may be some")
		fallback.got = fallback.got[:2]

		o.Outbox = openOutbox(t, path)
		p = newPublisher(t, k.client(t), o)
		_, err = p.Publish(t.Context(), update("4"))
		require.NoError(t, err)
		require.Equal(t, names(2, 4), fallback.names(t))
		for _, m := range fallback.got {
			require.Equal(t, first, decoded(t, m.Body).After)
		}

		k.setDown(false)
		time.Sleep(2 * time.Second)
		receipt, err = p.Publish(t.Context(), update("5"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		k.setDown(true)
		_, err = p.Publish(t.Context(), update("6"))
		require.NoError(t, err)
		require.Equal(t, receipt.StreamID, decoded(t, fallback.got[3].Body).After)
		for _, e := range k.entries(t) {
			require.Empty(t, decoded(t, e.Body).After)
		}
	})
}

func decoded(t testing.TB, body []byte) *message.Envelope {
	t.Helper()
	e, err := message.Decode(body)
	require.NoError(t, err)
	return e
}

func TestPublisher_outbox_plain_goesWhenTheFallbackTookIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
		refuses := true
		fallback.take = func(context.Context) error {
			if refuses {
				return errors.New("refused")
			}
			return nil
		}
		p := newPublisher(t, k.client(t), publisher.Options{Outbox: box, Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteOutbox, receipt.Route, "nobody listens, and the fallback refuses")
		require.Equal(t, publisher.FallbackFailed, receipt.Fallback)
		refuses = false
		receipt, err = p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		require.Equal(t, names(1, 2), fallback.names(t))
		require.Zero(t, box.Len())
	})
}

// An answer that was lost before the message went to disk must not double it,
// in this process or in the next one.
func TestPublisher_outbox_lostAnswer_isNotKeptTwice(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k, path := newKeeper(t), filepath.Join(t.TempDir(), "outbox")
			box := openOutbox(t, path)
			opts := publisher.Options{Durable: kept, Outbox: box, MaxRetries: -1}
			p := newPublisher(t, k.client(t), opts)
			_, err := p.Publish(t.Context(), update("1"))
			require.NoError(t, err)
			k.lose(2) // of the first attempt, and of that from the outbox
			receipt, err := p.Publish(t.Context(), update("2"))
			require.NoError(t, err)
			require.Equal(t, publisher.RouteOutbox, receipt.Route)
			if restart {
				require.NoError(t, box.Close())
				box = openOutbox(t, path)
				opts.Outbox = box
				p = newPublisher(t, k.client(t), opts)
			}
			for _, name := range names(3, 4) {
				time.Sleep(2 * time.Second)
				_, err = p.Publish(t.Context(), update(name))
				require.NoError(t, err)
			}
			require.Equal(t, names(1, 4), k.kept(t))
			require.Zero(t, box.Len())
		})
	}
}

func TestPublisher_outbox_full_refusesTheNewMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		k.setDown(true)
		box, err := outbox.Open(filepath.Join(t.TempDir(), "outbox"), outbox.Options{MaxBytes: 1500})
		require.NoError(t, err)
		defer box.Close()
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box})
		_, err = p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		_, err = p.Publish(t.Context(), update("2"))
		require.ErrorIs(t, failure(t, err), outbox.ErrFull)
		require.Equal(t, 1, box.Len(), "what it holds stays")
	})
}

func TestPublisher_outbox_disabled_waitsForTheFallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, fallback := newOutbox(t), &recorder{}
		var down atomic.Bool
		down.Store(true)
		fallback.take = func(context.Context) error {
			if down.Load() {
				return errors.New("down")
			}
			return nil
		}
		p := newPublisher(t, nil, publisher.Options{Disabled: true, Outbox: box, Fallback: fallback})
		defer run(t, p)()
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteOutbox, receipt.Route)
		down.Store(false)
		time.Sleep(time.Minute)
		require.Equal(t, names(1, 1), fallback.names(t))
	})
}

func TestPublisher_Run_repeatsTheNewestSnapshotForNewListeners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept})
		defer run(t, p)()
		var last publisher.Receipt
		for _, name := range names(1, 2) {
			var err error
			last, err = p.Publish(t.Context(), update(name))
			require.NoError(t, err)
		}
		time.Sleep(5 * time.Second)
		heard := k.listener(t)
		time.Sleep(12 * time.Second)
		got := heard()
		require.Len(t, got, 1)
		e, err := message.Decode(got[0])
		require.NoError(t, err)
		require.True(t, e.Repeat)
		require.False(t, e.Stream)
		require.Equal(t, last.ID, e.ID)
		again := k.listener(t)
		time.Sleep(12 * time.Second)
		require.Len(t, again(), 1, "once for each rise")
		require.Len(t, heard(), 2)
		require.Equal(t, uint64(2), p.Stats().Repeats)
		time.Sleep(time.Minute)
		require.Len(t, heard(), 2)
		require.Equal(t, names(1, 2), k.kept(t), "a repeat is not kept")
	})
}

// A snapshot that went by HTTP alone is newer than the stream's.
func TestPublisher_Run_repeatsNothingThatIsOlderThanWhatWentByHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Fallback: fallback})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		k.setDown(true)
		receipt, err := p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)
		k.setDown(false)
		time.Sleep(5 * time.Second)
		heard := k.listener(t)
		time.Sleep(time.Minute)
		require.Empty(t, heard())
		_, err = p.Publish(t.Context(), update("3"))
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		for _, body := range heard() {
			require.Equal(t, "3", homeTeam(t, body))
		}
	})
}

func TestPublisher_Run_noRepeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		o := kept
		o.NoRepeat = true
		p := newPublisher(t, k.client(t), publisher.Options{Durable: o})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		heard := k.listener(t)
		time.Sleep(time.Minute)
		require.Empty(t, heard())
	})
}

// failingOutbox is an outbox whose disk fails in one of its methods.
type failingOutbox struct {
	*outbox.File
	fails string
}

var errDisk = errors.New("disk failed")

func (o *failingOutbox) Put(m message.Outgoing, after string) error {
	if o.fails == "put" {
		return errDisk
	}
	return o.File.Put(m, after)
}

func (o *failingOutbox) Mark(m message.Queued) error {
	if o.fails == "mark" {
		return errDisk
	}
	return o.File.Mark(m)
}

func (o *failingOutbox) Remove(t message.Type, id string) error {
	if o.fails == "remove" {
		return errDisk
	}
	return o.File.Remove(t, id)
}

// Without its disk the publisher still has the fallback, and what is behind
// others never overtakes them.
func TestPublisher_outbox_diskFails_atPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, fallback := newKeeper(t), &recorder{}
		k.setDown(true)
		box := &failingOutbox{File: newOutbox(t), fails: "put"}
		p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback})
		receipt, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteFallback, receipt.Route)

		box.fails = ""
		fallback.take = func(context.Context) error { return errors.New("down") }
		receipt, err = p.Publish(t.Context(), update("2"))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteOutbox, receipt.Route)
		box.fails = "put"
		fallback.take = nil
		_, err = p.Publish(t.Context(), update("3"))
		require.ErrorIs(t, failure(t, err), errDisk)
		require.Equal(t, names(1, 1), fallback.names(t), "3 may not come before 2")
	})
}

// What cannot be marked is not sent, and what cannot be removed is not kept
// twice.
func TestPublisher_outbox_diskFails_inTheQueue(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"mark", "remove"} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeper(t)
			k.setDown(true)
			box := &failingOutbox{File: newOutbox(t)}
			p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box})
			_, err := p.Publish(t.Context(), update("1"))
			require.NoError(t, err)
			k.setDown(false)
			box.fails = method
			for range 2 {
				time.Sleep(2 * time.Second)
				_, err = p.Publish(t.Context(), update("2"), publisher.WithID("second"))
				require.NoError(t, err)
			}
			require.NotEmpty(t, box.Len())
			box.fails = ""
			time.Sleep(2 * time.Second)
			_, err = p.Publish(t.Context(), update("3"))
			require.NoError(t, err)
			require.Equal(t, names(1, 3), k.kept(t))
			require.Zero(t, box.Len())
		})
	}
}

// A caller that gives up while Redis is silent does not take the message back.
func TestPublisher_outbox_callerGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, box, fallback := newServer(), newOutbox(t), &recorder{}
		s.set(func(s *server) { s.hole = true })
		p := newPublisher(t, s.client(t), publisher.Options{Durable: kept, Outbox: box, Fallback: fallback})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		receipt, err := p.Publish(ctx, update("1"))
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 2*time.Second)
		require.NotEqual(t, publisher.RouteNone, receipt.Route)
		require.Equal(t, 1, box.Len(), "the stream does not have it")
	})
}

package publisher_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// That messages begin to wait, and that none is left, is logged once each, whoever
// empties the outbox.
func TestPublisher_outbox_logsThatMessagesWaitAndThatNoneIsLeft(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"Publish empties it": false, "Run empties it": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, log := logcheck.NewLog(t)
				k, path := newKeeper(t), filepath.Join(t.TempDir(), "outbox")
				box := openOutbox(t, path)
				p := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box, Logger: logger})
				if running {
					defer run(t, p)()
				}
				for round := range 2 {
					k.setDown(true)
					for _, name := range names(1, 3) {
						_, err := p.Publish(t.Context(), update(name))
						require.NoError(t, err)
					}
					require.Equal(t, round+1, log.Count("messages wait in the outbox"))
					require.Equal(t, round, log.Count("outbox drained"))
					k.setDown(false)
					time.Sleep(time.Minute)
					_, err := p.Publish(t.Context(), update("4"))
					require.NoError(t, err)
					require.Zero(t, box.Len())
					require.Equal(t, round+1, log.Count("outbox drained"))
				}
			})
		})
	}
}

// What an earlier process left is told of too.
func TestPublisher_outbox_logsWhatAnEarlierProcessLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		k, path := newKeeper(t), filepath.Join(t.TempDir(), "outbox")
		box := openOutbox(t, path)
		k.setDown(true)
		_, err := newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: box}).Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.NoError(t, box.Close())
		k.setDown(false)
		defer run(t, newPublisher(t, k.client(t), publisher.Options{Durable: kept, Outbox: openOutbox(t, path), Logger: logger}))()
		time.Sleep(time.Minute)
		require.Equal(t, 1, log.Count("messages wait in the outbox"))
		require.Equal(t, 1, log.Count("outbox drained"))
	})
}

// A mark that the disk refuses right after the message was recorded is logged.
func TestPublisher_outbox_diskFails_atTheFirstMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		s, box := newServer(), &failingOutbox{File: newOutbox(t), fails: "mark"}
		s.set(func(s *server) { s.answer = onPublish(":0\r\n") })
		p := newPublisher(t, s.client(t), publisher.Options{Outbox: box, Logger: logger, MaxRetries: -1})
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		require.Equal(t, 1, log.Count("outbox failed"))
	})
}

// Two publishers would send what one outbox holds twice.
func TestNew_outboxOfAnotherPublisher_isRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, path := newServer(), filepath.Join(t.TempDir(), "outbox")
		box := openOutbox(t, path)
		_, err := publisher.New(nil, publisher.Options{Outbox: box})
		require.Error(t, err, "it has no client")
		newPublisher(t, s.client(t), publisher.Options{Outbox: box})
		_, err = publisher.New(s.client(t), publisher.Options{Outbox: box})
		require.ErrorIs(t, err, outbox.ErrInUse)
		require.NoError(t, box.Close())
		newPublisher(t, s.client(t), publisher.Options{Outbox: openOutbox(t, path)})
	})
}

func TestNew_typedNil_isRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newServer().client(t)
		_, err := publisher.New(c, publisher.Options{Outbox: (*outbox.File)(nil)})
		require.ErrorContains(t, err, "a nil pointer in Options.Outbox")
		_, err = publisher.New(c, publisher.Options{Fallback: (*recorder)(nil)})
		require.ErrorContains(t, err, "a nil pointer in Options.Fallback")
	})
}

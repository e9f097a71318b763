package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// routes is a publisher with an outbox, and what the test knows of where its
// messages are.
type routes struct {
	rt       *rapid.T
	t        *testing.T
	k        *keeper
	fallback *recorder
	refuses  atomic.Bool
	path     string
	box      *outbox.File
	p        *publisher.Publisher
	stop     func() // of Run; nil while it does not run
	opts     publisher.Options
	next     int
	promised []string // names of the messages whose Publish returned nil
	all      []string
}

func (r *routes) open() {
	var err error
	r.box, err = outbox.Open(r.path, outbox.Options{})
	require.NoError(r.rt, err)
	r.opts.Outbox = r.box
	r.p = newPublisher(r.t, r.k.client(r.t), r.opts)
}

// restart ends the process: what is not on disk is forgotten.
func (r *routes) restart() {
	r.pause()
	require.NoError(r.rt, r.box.Close())
	r.open()
}

func (r *routes) pause() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

func (r *routes) publish() {
	r.next++
	name := strconv.Itoa(r.next)
	r.all = append(r.all, name)
	receipt, err := r.p.Publish(r.t.Context(), update(name))
	if err != nil {
		return
	}
	r.promised = append(r.promised, name)
	switch receipt.Route {
	case publisher.RouteStream:
		require.Contains(r.rt, r.k.kept(r.t), name)
	case publisher.RouteOutbox:
		require.Contains(r.rt, r.waiting(), name)
	case publisher.RouteFallback:
		require.Contains(r.rt, r.fallback.names(r.t), name)
	case publisher.RoutePubSub:
		require.Empty(r.rt, r.opts.Durable.Mode)
	}
}

func (r *routes) waiting() (names []string) {
	for record, err := range r.box.All() {
		require.NoError(r.rt, err)
		names = append(names, homeTeam(r.t, record.Body))
	}
	return names
}

// check is what holds between any two steps.
func (r *routes) check(heard [][]byte) {
	kept, posted, waiting := r.k.kept(r.t), r.fallback.names(r.t), r.waiting()
	published := names(0, -1)
	for _, body := range heard {
		published = append(published, homeTeam(r.t, body))
	}
	for _, name := range r.promised {
		somewhere := slices.Contains(kept, name) || slices.Contains(posted, name) || slices.Contains(waiting, name) || slices.Contains(published, name)
		require.True(r.rt, somewhere, "message %s is in no place", name)
	}
	inOrder(r.rt, "the stream", kept)
	inOrder(r.rt, "the fallback", posted)
	inOrder(r.rt, "the outbox", waiting)
}

// inOrder demands each once, in the order of publishing.
func inOrder(rt *rapid.T, where string, list []string) {
	last := 0
	for _, name := range list {
		n, err := strconv.Atoi(name)
		require.NoError(rt, err)
		require.Greater(rt, n, last, "%s has %v", where, list)
		last = n
	}
}

// Whatever becomes of Redis, its answers, the fallback and the process: a
// message that was promised is never in no place, and the stream, the fallback
// and the outbox each have a message at most once and in order. When all is well
// again the outbox empties itself, and with streams all of it is there.
func TestPublisher_outbox_routesAreAStateMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		durable := rapid.Bool().Draw(rt, "durable")
		hasFallback := rapid.Bool().Draw(rt, "has a fallback")
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			"publish", "publish", "publish", "down", "up", "lose an answer", "refuse", "accept", "restart", "run", "pause", "wait", "long wait",
		}), 1, 25).Draw(rt, "steps")
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		defer os.Remove(path)
		synctest.Test(t, func(t *testing.T) {
			r := &routes{rt: rt, t: t, k: newKeeper(t), fallback: &recorder{}, path: path, opts: publisher.Options{MaxRetries: 1}}
			r.fallback.take = func(context.Context) error {
				if r.refuses.Load() {
					return errors.New("refused")
				}
				return nil
			}
			if durable {
				r.opts.Durable = kept
			}
			if hasFallback {
				r.opts.Fallback = r.fallback
			}
			heard := r.k.listener(t)
			r.open()
			for _, step := range steps {
				switch step {
				case "publish":
					r.publish()
				case "down":
					r.k.setDown(true)
				case "up":
					r.k.setDown(false)
				case "lose an answer":
					r.k.lose(1)
				case "refuse", "accept":
					r.refuses.Store(step == "refuse")
				case "restart":
					r.restart()
				case "run":
					if r.stop == nil {
						r.stop = run(t, r.p)
					}
				case "pause":
					r.pause()
				case "wait":
					time.Sleep(time.Second)
				case "long wait":
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				r.check(heard())
			}
			r.k.setDown(false)
			r.k.lose(0)
			r.refuses.Store(false)
			if r.stop == nil {
				r.stop = run(t, r.p)
			}
			time.Sleep(2 * time.Minute)
			r.check(heard())
			require.Empty(rt, r.waiting(), "the outbox does not empty itself")
			if durable {
				for _, name := range r.promised {
					require.Contains(rt, r.k.kept(t), name)
				}
			}
			r.pause()
			require.NoError(rt, r.box.Close())
		})
	})
}

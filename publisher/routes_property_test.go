package publisher_test

import (
	"bytes"
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

	"github.com/PitchConnect/fogispubsub/message"
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
	final    atomic.Bool // refuses for good
	path     string
	box      *outbox.File
	p        *publisher.Publisher
	stop     func() // of Run; nil while it does not run
	opts     publisher.Options
	next     int
	promised []string // names of the messages whose Publish returned nil
	mayLie   []string // names of those that a route refuses for good
	mustLie  []string // names of those that the fallback refused for good, without streams
	damaged  []string
}

// Notify is the fallback's answer.
func (r *routes) Notify(ctx context.Context, m message.Outgoing) error {
	if r.final.Load() {
		r.fallback.mu.Lock()
		defer r.fallback.mu.Unlock()
		r.mayLie = append(r.mayLie, team(m.Body))
		if r.opts.Durable.Mode == publisher.DurableOff {
			r.mustLie = append(r.mustLie, team(m.Body))
		}
		return message.ErrRefused
	}
	return r.fallback.Notify(ctx, m)
}

// team is homeTeam for long messages.
func team(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(teamKey))
	name, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(name)
}

const teamKey = `"lag1namn":"`

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

// become restarts with other settings.
func (r *routes) become(mode string) {
	r.opts.Disabled, r.opts.Durable = mode == "disabled", publisher.DurableOptions{}
	if mode == "durable" {
		r.opts.Durable = kept
	}
	r.restart()
}

// damage changes the bytes of the oldest record, if one waits.
func (r *routes) damage() {
	waiting := r.waiting()
	if len(waiting) == 0 {
		return
	}
	r.pause()
	require.NoError(r.rt, r.box.Close())
	file, err := os.ReadFile(r.path)
	require.NoError(r.rt, err)
	whole := []byte(teamKey + waiting[0] + `"`)
	require.Contains(r.rt, string(file), string(whole))
	file = bytes.ReplaceAll(file, whole, bytes.Replace(whole, []byte("lag1"), []byte("lag3"), 1))
	require.NoError(r.rt, os.WriteFile(r.path, file, 0o600))
	r.damaged = append(r.damaged, waiting[0])
	r.open()
}

func (r *routes) pause() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

func (r *routes) publish(size int) {
	r.next++
	name := strconv.Itoa(r.next)
	if size > tooLong {
		r.mayLie = append(r.mayLie, name)
	}
	receipt, err := r.p.Publish(r.t.Context(), long(name, size))
	if err != nil {
		if e, ok := errors.AsType[*publisher.Error](err); ok && e.Aside {
			r.promised = append(r.promised, name)
			require.Contains(r.rt, r.aside(), name)
		}
		return
	}
	if receipt.Route == publisher.RouteNone {
		require.True(r.rt, r.opts.Disabled)
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

func (r *routes) waiting() []string { return r.records(outbox.Waiting) }
func (r *routes) aside() []string   { return r.records(outbox.SetAside) }

func (r *routes) records(state outbox.State) (names []string) {
	for record, err := range r.box.All() {
		require.NoError(r.rt, err)
		if record.State == state {
			names = append(names, team(record.Body))
		}
	}
	return names
}

// tooLong is what Redis does not take in one message.
const tooLong = 961 << 10

// check is what holds between any two steps.
func (r *routes) check(heard [][]byte) {
	kept, waiting, aside := r.k.kept(r.t), r.waiting(), r.aside()
	var posted, published []string
	for _, m := range r.fallback.got {
		posted = append(posted, team(m.Body))
	}
	for _, body := range heard {
		published = append(published, team(body))
	}
	places := slices.Concat(kept, posted, waiting, published, aside, r.damaged)
	for _, name := range r.promised {
		somewhere := slices.Contains(places, name)
		require.True(r.rt, somewhere, "message %s is in no place", name)
	}
	inOrder(r.rt, "the stream", kept)
	inOrder(r.rt, "the fallback", posted)
	inOrder(r.rt, "the outbox", waiting)
	require.Subset(r.rt, aside, r.mustLie)
	for _, name := range aside {
		require.Contains(r.rt, r.mayLie, name, "set aside though no route refuses it for good")
	}
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
// message that was promised, or set aside, is never in no place, and the stream, the fallback
// and the outbox each have a message at most once and in order. When all is well
// again the outbox empties itself, by the routes that are left after a change of the
// mode, and with streams throughout all of it is there but what lies aside. Only what
// a route refuses for good lies aside, and without streams all that the fallback does.
func TestPublisher_outbox_routesAreAStateMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		durable := rapid.Bool().Draw(rt, "durable")
		required := rapid.SampledFrom([]int{0, 2}).Draw(rt, "required listeners")
		hasFallback := rapid.Bool().Draw(rt, "has a fallback")
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			"publish", "publish", "publish", "down", "up", "lose an answer", "refuse", "accept", "restart", "run", "pause", "wait", "long wait",
			"publish too much", "refuse for good", "damage", "durable", "plain", "disabled",
		}), 1, 25).Draw(rt, "steps")
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		defer os.Remove(path)
		synctest.Test(t, func(t *testing.T) {
			r := &routes{rt: rt, t: t, k: newKeeper(t), fallback: &recorder{}, path: path, opts: publisher.Options{MaxRetries: 1, RequireReceivers: required}}
			r.k.setLimit(tooLong - 64<<10)
			switched := false
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
				r.opts.Fallback = r
			}
			heard := r.k.listener(t)
			r.open()
			for _, step := range steps {
				switch step {
				case "publish":
					r.publish(0)
				case "publish too much":
					r.publish(tooLong + 1)
				case "refuse for good":
					r.final.Store(true)
				case "damage":
					r.damage()
				case "durable", "plain", "disabled":
					r.become(step)
					switched = true
				case "down":
					r.k.setDown(true)
				case "up":
					r.k.setDown(false)
				case "lose an answer":
					r.k.lose(1)
				case "refuse", "accept":
					r.refuses.Store(step == "refuse")
					r.final.Store(false)
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
			r.final.Store(false)
			r.k.listener(t) // all who are required
			if r.opts.Disabled {
				r.become("plain")
			}
			if r.stop == nil {
				r.stop = run(t, r.p)
			}
			time.Sleep(2 * time.Minute)
			r.check(heard())
			require.Empty(rt, r.waiting(), "the outbox does not empty itself")
			if durable && !switched {
				there := slices.Concat(r.k.kept(t), r.aside(), r.damaged)
				for _, name := range r.promised {
					require.Contains(rt, there, name)
				}
			}
			r.pause()
			require.NoError(rt, r.box.Close())
		})
	})
}

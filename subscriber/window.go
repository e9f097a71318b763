package subscriber

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// window remembers which messages of one type were handled. A message is
// claimed while its handler runs and remembered only if that succeeds, so that
// a failure never turns a later copy into a duplicate.
//
// It keeps 128-bit hashes with random seeds instead of IDs: an ID is as long
// as its sender likes.
type window struct {
	size  int // negative: remembers nothing
	age   time.Duration
	seeds [2]maphash.Seed

	mu      sync.Mutex
	claimed []claim // by the handlers that run: few, and mostly one
	// young and old tell of messages that were handled. When young is full it becomes old, and what was old is forgotten: deleting
	// single keys would let a map grow to several times its contents.
	young, old map[windowKey]handled
	began      time.Time
	// early are those that were handled before what may come before them.
	early []windowKey
}

type windowKey [2]uint64

// handled is what is known of a message that was.
type handled struct {
	at time.Duration // since window.began
	// sum is that of its content, 0 when it came from the stream. It cannot be
	// forged into the place of an entry: the seed is random.
	sum uint64
}

// streamMark begins what is in the stream too.
var streamMark = message.Outgoing{Body: []byte("{")}.WithStream().Body

// sum is the hash of a message's bytes without the mark in front of them, which
// says by which way it came. It is never 0.
func (w *window) sum(body []byte) uint64 {
	rest, found := bytes.CutPrefix(body, streamMark)
	if !found {
		rest = bytes.TrimPrefix(message.Outgoing{Body: body}.WithoutStream().Body, []byte("{"))
	}
	return maphash.Bytes(w.seeds[0], rest) | 1
}

// claim is a message that is being handled.
type claim struct {
	key   windowKey
	ended chan struct{} // closed when it ends; nil when nobody waits for that
}

func newWindow(size int, age time.Duration) *window {
	return &window{
		size: size, age: age,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		young: map[windowKey]handled{}, old: map[windowKey]handled{}, began: time.Now(),
	}
}

// key returns the key of a message, and false for one that can have no
// duplicate.
func (w *window) key(h *message.Header) (windowKey, bool) {
	if w.size < 0 || h.IDGenerated || h.ID == "" {
		return windowKey{}, false
	}
	var k windowKey
	for i := range k {
		k[i] = maphash.String(w.seeds[i], h.ID)
		if h.Part != (message.Part{}) { // the parts of a snapshot share its ID
			k[i] ^= maphash.Comparable(w.seeds[i], h.Part)
		}
	}
	return k, true
}

// isHandled tells whether the message was handled within the window.
func (w *window) isHandled(k windowKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.lookup(k)
	return ok
}

func (w *window) lookup(k windowKey) (h handled, ok bool) {
	h, ok = w.young[k]
	if !ok {
		h, ok = w.old[k]
	}
	return h, ok && time.Since(w.began)-h.at < w.age
}

// settles tells whether an entry of the stream is settled by what was handled
// under its ID before: only if that was an entry, or held the same. Whoever may
// publish could else take away what is to come from the stream.
func (w *window) settles(k windowKey, body []byte) bool {
	w.mu.Lock()
	h, ok := w.lookup(k)
	w.mu.Unlock()
	return !ok || h.sum == 0 || h.sum == w.sum(body)
}

// forget has a message count as not handled.
func (w *window) forget(k windowKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.young, k)
	delete(w.old, k)
}

// claim claims the message for the caller, who then must call settle. When it
// was handled before, duplicate is true. When another goroutine handles it,
// wait is closed as soon as that is settled, and claim must be called again.
func (w *window) claim(k windowKey) (wait <-chan struct{}, duplicate bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.lookup(k); ok {
		return nil, true
	}
	if at := w.find(k); at >= 0 {
		c := &w.claimed[at]
		if c.ended == nil {
			c.ended = make(chan struct{})
		}
		return c.ended, false
	}
	w.claimed = append(w.claimed, claim{key: k})
	return nil, false
}

func (w *window) find(k windowKey) int {
	return slices.IndexFunc(w.claimed, func(c claim) bool { return c.key == k })
}

// settle ends a claim; handled messages are remembered from now on, with their
// sum.
func (w *window) settle(k windowKey, done bool, sum uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.find(k); at >= 0 {
		if ended := w.claimed[at].ended; ended != nil {
			close(ended)
		}
		w.claimed = slices.Delete(w.claimed, at, at+1)
	}
	if !done {
		return
	}
	if len(w.young) >= w.size {
		w.young, w.old = w.old, w.young
		clear(w.young)
	}
	w.young[k] = handled{time.Since(w.began), sum}
}

// maxEarly bounds window.early: of more, the first count as handled in order.
const maxEarly = 1000

// handledEarly notes that a message was handled, perhaps before others that it
// follows.
func (w *window) handledEarly(k windowKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.early) == maxEarly {
		w.early = slices.Delete(w.early, 0, 1)
	}
	w.early = append(w.early, k)
}

// passed notes that an entry of the stream was handled or known again. If others
// were handled early they are forgotten, so that they are handled again in their
// turn: the newest must be the last.
func (w *window) passed(k windowKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.early) == 0 {
		return
	}
	if at := slices.Index(w.early, k); at >= 0 { // its turn has come
		w.early = slices.Delete(w.early, at, at+1)
		return
	}
	for _, k := range w.early {
		delete(w.young, k)
		delete(w.old, k)
	}
	w.early = nil
}

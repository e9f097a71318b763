package subscriber

import (
	"hash/maphash"
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
	claimed map[windowKey]chan struct{} // closed when the claim ends; nil when nobody waits for it
	// young and old tell when a message was handled, as time since began. When
	// young is full it becomes old, and what was old is forgotten: deleting
	// single keys would let a map grow to several times its contents.
	young, old map[windowKey]time.Duration
	began      time.Time
}

type windowKey [2]uint64

func newWindow(size int, age time.Duration) *window {
	return &window{
		size: size, age: age,
		seeds:   [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		claimed: map[windowKey]chan struct{}{},
		young:   map[windowKey]time.Duration{}, old: map[windowKey]time.Duration{}, began: time.Now(),
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
func (w *window) isHandled(k windowKey, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lookup(k, now)
}

func (w *window) lookup(k windowKey, now time.Time) bool {
	at, ok := w.young[k]
	if !ok {
		at, ok = w.old[k]
	}
	return ok && now.Sub(w.began)-at < w.age
}

// claim claims the message for the caller, who then must call settle. When it
// was handled before, duplicate is true. When another goroutine handles it,
// wait is closed as soon as that is settled, and claim must be called again.
func (w *window) claim(k windowKey, now time.Time) (wait <-chan struct{}, duplicate bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lookup(k, now) {
		return nil, true
	}
	if busy, ok := w.claimed[k]; ok {
		if busy == nil {
			busy = make(chan struct{})
			w.claimed[k] = busy
		}
		return busy, false
	}
	w.claimed[k] = nil
	return nil, false
}

// settle ends a claim; handled messages are remembered from now on.
func (w *window) settle(k windowKey, handled bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if busy := w.claimed[k]; busy != nil {
		close(busy)
	}
	delete(w.claimed, k)
	if !handled {
		return
	}
	if len(w.young) >= w.size {
		w.young, w.old = w.old, w.young
		clear(w.young)
	}
	w.young[k] = now.Sub(w.began)
}

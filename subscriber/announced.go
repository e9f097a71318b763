package subscriber

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Of announced messages so many, with so many bytes, are kept whole, and of
	// so many the ID, which Decode bounds: a mebibyte in all.
	announcedKept  = 64
	announcedBytes = 16 << 20
	announcedIDs   = 4096

	// announcedWait is how long after the reader was at the stream's end, as it
	// was when the message came, the entry may still turn up.
	announcedWait = 5 * time.Second
	// announcedForget is when an instance that is not the holder forgets: the
	// holder has found out by then, or died so long ago that another one has
	// taken over.
	announcedForget = 20 * time.Second
)

// announcement is a message that came by pub/sub and is in the stream too, as it
// says itself.
type announcement struct {
	id   string
	hash uint64
	lane *lane
	d    *delivery // nil when only the ID is kept
	// passed tells that this instance did not hold the lease: the holder had to
	// see to it.
	passed bool
	at     time.Time // of its arrival
	order  uint64    // of arrival
	// due is when it is missing unless the reader has got its entry; zero before
	// the reader has come so far.
	due time.Time
}

// announced are the announcements of one channel whose entries the reader has
// not got yet.
type announced struct {
	seed maphash.Seed

	mu sync.Mutex
	// seen holds the IDs that the reader got last, as it may get an entry before
	// its announcement arrives. A place is taken by whoever hashes to it: what is
	// overwritten is looked for in the stream.
	seen    [1024]uint64
	waiting map[uint64]*announcement
	arrived uint64
	kept    int
	bytes   int64
	// over is how many came for which there was no room, between these times.
	over             int
	overFrom, overTo time.Time
}

func newAnnounced() *announced {
	return &announced{seed: maphash.MakeSeed(), waiting: map[uint64]*announcement{}}
}

func (a *announced) hash(id string) uint64 { return maphash.String(a.seed, id) | 1 }

// add notes a message, and keeps it unless passed. It returns false when nothing
// more is to be done about the message.
func (a *announced) add(l *lane, d *delivery, passed bool, now time.Time) (keeps bool) {
	h := a.hash(d.env.ID)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[h%uint64(len(a.seen))] == h || a.waiting[h] != nil {
		return false
	}
	id := d.env.ID
	if len(a.waiting) >= announcedIDs {
		if a.over == 0 {
			a.overFrom = now
		}
		a.over++
		a.overTo = now
		return false
	}
	a.arrived++
	n := &announcement{id: id, hash: h, lane: l, passed: passed, at: now, order: a.arrived}
	if !passed && a.kept < announcedKept && a.bytes+int64(d.size) <= announcedBytes {
		n.d = d
		a.kept++
		a.bytes += int64(d.size)
	} else {
		n.id = strings.Clone(n.id) // it shares the memory of the whole message
	}
	a.waiting[h] = n
	return n.d != nil
}

// saw notes an entry that the reader got. kept tells that its announcement was
// kept and is not needed any more.
func (a *announced) saw(id string) (kept bool) {
	h := a.hash(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[h%uint64(len(a.seen))] = h
	n := a.waiting[h]
	a.remove(n)
	return n != nil && n.d != nil
}

// remove takes one out, or none. a.mu is held.
func (a *announced) remove(n *announcement) {
	if n == nil || a.waiting[n.hash] != n {
		return
	}
	delete(a.waiting, n.hash)
	if n.d != nil {
		a.kept--
		a.bytes -= int64(n.d.size)
	}
}

// reached notes that the reader has got what the stream held at a time, and
// returns what it should have got by now.
func (a *announced) reached(caughtUp, now time.Time) (due []*announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.waiting {
		if n.due.IsZero() && !n.at.After(caughtUp) {
			n.due = now.Add(announcedWait)
		}
		if !n.due.IsZero() && !now.Before(n.due) {
			due = append(due, n)
		}
	}
	return inOrder(due)
}

// forget drops what is older than announcedForget, and returns what of it was
// kept: that came while this instance held the lease.
func (a *announced) forget(now time.Time) (kept []*announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.waiting {
		switch {
		case now.Sub(n.at) < announcedForget:
		case n.d != nil:
			kept = append(kept, n)
		default:
			a.remove(n)
		}
	}
	if now.Sub(a.overTo) >= announcedForget {
		a.over = 0
	}
	return inOrder(kept)
}

// all returns what this instance has to see to.
func (a *announced) all() (list []*announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.waiting {
		if !n.passed {
			list = append(list, n)
		}
	}
	return inOrder(list)
}

// settle takes out what is decided.
func (a *announced) settle(list []*announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range list {
		a.remove(n)
	}
}

// overflow returns how many had no room before the reader was at the stream's
// end, and since when, and forgets them.
func (a *announced) overflow(caughtUp time.Time) (n int, from time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over == 0 || a.overTo.After(caughtUp) {
		return 0, time.Time{}
	}
	n, a.over = a.over, 0
	return n, a.overFrom
}

func inOrder(list []*announcement) []*announcement {
	slices.SortFunc(list, func(a, b *announcement) int { return cmp.Compare(a.order, b.order) })
	return list
}

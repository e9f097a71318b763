package subscriber

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// sequence follows the numbers that publishers give their messages, on the
// channels of one session. It starts anew with each session, because what was
// lost between two sessions is reported as that gap already.
type sequence struct {
	mu sync.Mutex
	// Two generations bound the memory: when young is full it becomes old and
	// what was in old and not seen since is forgotten.
	young, old map[sequenceKey]*sequenceState
}

const (
	sequenceGeneration = 512
	sequenceNameBytes  = 256 // longer names of a source are not followed
	sequenceAhead      = 64
	// sequenceLeap is by how much a number may differ from the one before it. A
	// publisher that sent so many messages unheard in one session is less likely
	// than a forged number, which must not hide the holes that come after it.
	sequenceLeap = 1_000_000
)

type sequenceKey struct{ channel, source, epoch string }

type sequenceState struct {
	last  uint64
	from  time.Time // no earlier than this was last published
	ahead []uint64  // seen over HTTP, beyond last + 1; ascending
	// leapt is a number that was too far from last, 0 for none. Where the next
	// ones come, there the count goes on.
	leapt uint64
}

func (q *sequence) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.young, q.old = map[sequenceKey]*sequenceState{}, nil
}

// arrived notes a message read by the session and returns the numbers that
// are missing before it, with the earliest time at which they can have been
// published. from is that time for messages that follow this one. leapt tells
// that the number is beyond reason: a new count may begin with it.
func (q *sequence) arrived(channel string, h *message.Header, from time.Time) (missing []Range, since time.Time, leapt bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	state, known := q.state(channel, h)
	n := h.Seq.N
	switch {
	case state == nil:
		return nil, time.Time{}, false
	case known && apart(n, state.last) > sequenceLeap:
		if state.leapt == 0 || n <= state.leapt || n-state.leapt > sequenceLeap {
			again := n == state.leapt
			state.leapt = n
			return nil, state.from, !again
		}
		state.last, state.ahead = state.leapt, nil // the new count goes on
	case known && n <= state.last:
		return nil, time.Time{}, false
	}
	if known {
		missing, since = state.missing(n), state.from
	}
	state.last, state.from, state.leapt = n, from, 0
	state.absorb()
	return missing, since, false
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// dispatched notes a message that came over another route. Earlier ones may
// still be on their way over this one, so it shows no hole.
func (q *sequence) dispatched(channel string, h *message.Header, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	state, known := q.state(channel, h)
	n := h.Seq.N
	switch {
	case state == nil || known && (n <= state.last || n-state.last > sequenceLeap):
	case !known || n == state.last+1:
		state.last, state.from = n, now
		state.absorb()
	default:
		if at, found := slices.BinarySearch(state.ahead, n); !found && len(state.ahead) < sequenceAhead {
			state.ahead = slices.Insert(state.ahead, at, n)
		}
	}
}

// state finds or makes the state of the message's source. It is nil for a
// message that is not numbered.
func (q *sequence) state(channel string, h *message.Header) (_ *sequenceState, known bool) {
	if h.Seq.N == 0 || len(h.Source)+len(h.Seq.Epoch) > sequenceNameBytes {
		return nil, false
	}
	key := sequenceKey{channel, h.Source, h.Seq.Epoch}
	if state, ok := q.young[key]; ok {
		return state, true
	}
	state, known := q.old[key]
	if !known {
		state = &sequenceState{}
	}
	if q.young == nil || len(q.young) >= sequenceGeneration {
		q.young, q.old = map[sequenceKey]*sequenceState{}, q.young
	}
	// The header's strings may share the memory of a whole message.
	key.source, key.epoch = strings.Clone(key.source), strings.Clone(key.epoch)
	q.young[key] = state
	return state, known
}

// missing returns what lies between last and n and was not seen ahead.
func (s *sequenceState) missing(n uint64) []Range {
	var holes []Range
	first := s.last + 1
	for _, seen := range s.ahead {
		if seen >= n {
			break
		}
		if seen > first {
			holes = append(holes, Range{first, seen - 1})
		}
		first = max(first, seen+1)
	}
	if first < n {
		holes = append(holes, Range{first, n - 1})
	}
	return holes
}

// absorb moves last over the numbers that were seen ahead of it.
func (s *sequenceState) absorb() {
	for len(s.ahead) > 0 && s.ahead[0] <= s.last+1 {
		s.last = max(s.last, s.ahead[0])
		s.ahead = s.ahead[1:]
	}
}

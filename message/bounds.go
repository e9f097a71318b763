package message

import (
	"encoding/json"
	"unicode/utf8"
	"unsafe"
)

// The bounds of a message. Whatever a sender chooses has one, and reader and
// writer share them: Validate and AppendEncode refuse what Decode or As would
// refuse with default bounds.
//
//	bound       default           why
//	MaxBytes    8 MiB             a snapshot of 40 matches has some 250 KB
//	MaxDepth    500 levels        the scanner recurses once a level; at most 10 000
//	elements    50 000            matches, and changes, of a message; a snapshot has 40
//	names       256 bytes         IDs, source, versions, types, time stamps, epoch,
//	                              status, severity: they are kept longer than the message
//	view        6 × bytes         what As makes of a message, so that it takes at most
//	            + 960 KiB         10 times its bytes and 1 MiB: an official of FOGIS has
//	                              400 bytes of JSON and takes 232
//
// A message is refused whole when its view would be too large: a handler that
// got a match without some of its officials could not know that they are missing.
// What the services send is far below.
const (
	// DefaultMaxBytes and DefaultMaxDepth are the bounds of a zero [Decoder].
	DefaultMaxBytes = 8 << 20
	DefaultMaxDepth = 500

	// maxNesting bounds the depth even when a caller lifts it.
	maxNesting = 10_000
	// maxElements bounds a list of matches or changes, of which Decode keeps
	// where each begins.
	maxElements = 50_000
	// maxName bounds the names that a sender chooses.
	maxName = 256

	// What the view of a message may take.
	viewFactor = 6
	viewBase   = 960 << 10
	// What a match takes of it, with where it begins, and an official.
	matchBytes    = int(unsafe.Sizeof(Match{}) + 2*unsafe.Sizeof(span{}))
	officialBytes = int(unsafe.Sizeof(Official{}))
	// What an element of a map takes of it: Go's maps are half empty at worst.
	entryBytes = 96
	// fewElements is how long a list grows before the rest is counted.
	fewElements = 32
)

// room is what is left of the bytes that the view of a message may take. Once
// it is used up it stays so.
type room struct{ left int }

func roomFor(size int) room { return room{left: viewBase + viewFactor*size} }

// take uses n times size bytes, and reports whether there was room for them.
func (r *room) take(n, size int) bool {
	r.left -= n * size
	return !r.usedUp()
}

func (r *room) usedUp() bool { return r.left < 0 }

// err refuses the message or the part at path whose view has no room.
func (r *room) err(path string) error {
	if !r.usedUp() {
		return nil
	}
	return &refusal{path: path, why: whyDense, kind: ErrTooLarge}
}

// grow appends a zero element for the one that w stands at, and reports whether
// there was room for it. first is the capacity to begin with. A long list takes
// at once what it will need.
func grow[T any](list []T, first int, w *walker, r *room) ([]T, bool) {
	var zero T
	if r.usedUp() {
		return list, false
	}
	if len(list) == cap(list) {
		size := max(first, 2*len(list))
		if len(list) >= fewElements {
			size = len(list) + w.rest()
		}
		if !r.take(size-len(list), int(unsafe.Sizeof(zero))) {
			return list, false
		}
		list = append(make([]T, 0, size), list...)
	}
	return append(list, zero), true
}

// tally gathers what a payload that is to be sent has, to tell without reading
// it whether its view can be too large.
type tally struct{ bytes, view int }

// The most that a match, a change or an element of a list inside them takes.
const (
	mostOfMatch   = 1600 // with four officials that have a key each
	mostOfChange  = 640
	mostOfElement = 1200 // with the four for which there is room at once
)

func (t *tally) raw(raw []byte, view, elements int) {
	t.bytes += len(raw)
	t.view += view + elements*mostOfElement
}

func (t *tally) values(values map[string]json.RawMessage) {
	for key, raw := range values {
		t.bytes += len(key) + len(raw) + len(`"":,`)
	}
	t.view += entryBytes * len(values)
}

func (t *tally) fits() bool { return t.view <= viewBase+viewFactor*t.bytes }

// checkName refuses a name that is too long or no UTF-8.
func checkName(path, name string) error {
	if len(name) > maxName {
		return refuse(path, whyLong)
	}
	return checkText(path, name)
}

// isLong tells whether the text of raw is too long for a name.
func isLong(raw span) bool { return len(raw) > maxName && len(textOf(raw)) > maxName }

// clip cuts what a sender chose short, for a line of a log.
func clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

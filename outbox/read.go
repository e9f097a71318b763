package outbox

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"
	"time"
)

// Read returns the records of an outbox file that is not opened for use: it
// works while a process has the file, and changes nothing. Of a damaged file,
// as one that was set aside, it returns what is whole together with an error.
// The records that wait come first, in the order in which they were put.
func Read(path string) ([]Record, error) {
	resolved, err := resolve(path)
	if err != nil {
		return nil, &Error{Op: "read", Path: path, Err: err}
	}
	file, err := os.OpenFile(resolved, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, &Error{Op: "read", Path: path, Err: err}
	}
	defer file.Close()
	found, err := readWhole(file)
	records := make([]Record, len(found))
	for i, e := range found {
		records[i] = e.Record
	}
	if err != nil {
		err = &Error{Op: "read", Path: path, Err: err}
	}
	return records, err
}

const (
	readTries = 50
	// damageTries is how often damage must be seen to be believed.
	damageTries = 3
	readPause   = 10 * time.Millisecond
)

// readWhole reads the records of a file that others may change meanwhile: bbolt
// does not write over what its newest header leads to, so that what was read is
// consistent if the header is still the newest.
func readWhole(file *os.File) ([]*entry, error) {
	for try := 1; ; try++ {
		r, err := readOnce(file)
		info, statErr := file.Stat()
		if statErr != nil {
			return nil, statErr
		}
		after := &pages{file: file, size: info.Size()}
		_, headErr := after.readHeaders()
		switch {
		case isDamage(err) && try < damageTries: // or the file has just grown
		case isDamage(err) && !hasMark(file):
			return nil, foreign(err.Error())
		case err != nil && !isDamage(err), headErr != nil || after.head.txid == r.txid || r.txid == 0:
			return r.sorted(), err
		case try == readTries:
			return nil, errors.New("the file changes all the time; try again")
		}
		time.Sleep(readPause)
	}
}

// reading collects the records of a walk over the pages.
type reading struct {
	txid    uint64
	version string
	head    []byte // of the record that is being read
	place   string // its bucket and number
	entries []*entry
	damaged int // records
	sealed  seal
	read    bool // no error of the system
	unknown bool // it has a bucket that is not ours
}

// readOnce reads what the newer header leads to. What a damage hides there, the
// other header may still have: bbolt writes over no page of the state before the
// last change until the next one.
func readOnce(file *os.File) (*reading, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return &reading{}, err
	}
	p := &pages{file: file, size: info.Size()}
	if _, err := p.readHeaders(); err != nil {
		return &reading{}, err
	}
	r, err := readState(file, p, p.head)
	if p.other == nil || err == nil || !isDamage(err) && (r.version != "" || !r.read) {
		return r, err
	}
	// A page that both share is damaged in both: then the other header would
	// only bring back what the last change took away.
	before, beforeErr := readState(file, p, *p.other)
	if beforeErr == nil && before.version != "" && !isDamage(err) {
		// Another page lies where this program's names were.
		r, err = before, damagef("its newest state is damaged; its last change may be undone")
		r.txid = p.head.txid
		return r, err
	}
	if beforeErr == nil || isDamage(beforeErr) && len(r.entries) == 0 {
		if r.add(before) {
			err = damagef("%v; its last change may be undone", err)
		}
	}
	return r, err
}

// readState reads the records that a header leads to.
func readState(file *os.File, of *pages, head header) (*reading, error) {
	r := &reading{txid: head.txid}
	p := &pages{file: file, size: of.size, unit: of.unit, head: head, used: map[uint64]bool{}, visit: r.visit}
	p.seal = func(name []byte, sequence uint64) {
		if string(name) == formatBucket {
			r.sealed = seal(sequence)
		} else if _, _, ok := parseBucketName(name); !ok && len(p.path) == 1 {
			r.unknown = true
		}
	}
	if err := p.tree(p.head.root, bounds{}, 0); err != nil {
		p.skipped++
		if !isDamage(err) {
			return r, err
		}
	}
	r.read = true
	if r.version != "" || p.skipped == 0 {
		if err := checkVersion(r.version); err != nil && (r.version != "" || p.head.end > emptyEnd) {
			return r, err
		}
	}
	if r.unknown && p.skipped == 0 {
		return r, foreign("it holds what this version does not know")
	}
	if r.head != nil {
		r.damaged++
	}
	var found seal
	for _, e := range r.entries {
		found = found.turn(e.sum, 1)
	}
	switch missing := r.sealed.count() - found.count(); {
	case p.skipped > 0:
		return r, damagef("%d of its pages are damaged: what is whole was read", p.skipped)
	case r.damaged > 0 || found != r.sealed: // a page of before has as many, but others
		return r, damagef("%d of its records are damaged: what is whole was read", max(r.damaged, missing, 1))
	}
	return r, nil
}

// add takes what another state has and this one has not, and tells whether that
// was anything.
func (r *reading) add(before *reading) (added bool) {
	known := map[name]bool{}
	for _, e := range r.entries {
		known[e.name()] = true
	}
	for _, e := range before.entries {
		if !known[e.name()] {
			r.entries = append(r.entries, e)
			added = true
		}
	}
	return added
}

// emptyEnd is where the pages of a database end that was never used.
const emptyEnd = 4

// visit is called for each value, below the buckets of path.
func (r *reading) visit(path [][]byte, key, value []byte) {
	switch {
	case len(path) == 1 && string(path[0]) == formatBucket && string(key) == formatKey:
		r.version = string(value)
	case len(path) == 1 && len(key) == keySize && key[keySize-1] == headPart:
		if r.head != nil {
			r.damaged++
		}
		r.head, r.place = value, string(path[0])+string(key[:keySize-1])
	case len(path) == 2 && len(path[1]) == keySize && string(key) == bodyKey:
		head := r.head
		r.head = nil
		t, state, ok := parseBucketName(path[0])
		if !ok || head == nil || r.place != string(path[0])+string(path[1][:keySize-1]) {
			r.damaged++
			return
		}
		e, err := parseRecord(t, state, number(path[1]), head, value)
		if err != nil {
			r.damaged++
			return
		}
		e.Body = bytes.Clone(e.Body)
		r.entries = append(r.entries, e)
	}
}

func (r *reading) sorted() []*entry {
	slices.SortStableFunc(r.entries, func(a, b *entry) int {
		if c := cmp.Compare(order(a.State), order(b.State)); c != 0 {
			return c
		}
		return cmp.Compare(a.n, b.n)
	})
	return r.entries
}

func order(s State) int {
	if s == Waiting {
		return 0
	}
	return 1
}

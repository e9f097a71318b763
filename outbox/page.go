package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"math"
)

// bbolt trusts its file. On damaged pages it panics, reads beyond its memory
// map, which ends the process, or goes round in a circle for ever. So that
// damage is found before bbolt sees it, pages reads the file's structure with
// all bounds checked: the headers, every page that can be reached from the
// newer of them, and the list of free pages. Values are not looked at; records
// have checksums of their own.
//
// The format is that of bbolt's version 2, in this computer's byte order, as it
// has been since 2014.
type pages struct {
	file io.ReaderAt
	size int64 // of the file
	unit int64 // size of a page

	head  header
	other *header         // the older one, if it is valid
	used  map[uint64]bool // pages that were found to be in use

	// visit, if there is one, is given each value with the names of the buckets
	// around it. What is damaged is passed over then, and counted.
	visit   func(path [][]byte, key, value []byte)
	seal    func(name []byte, sequence uint64)
	path    [][]byte
	skipped int
}

// passOver tells whether a damage is only counted.
func (p *pages) passOver(err error) bool {
	if p.visit == nil || !isDamage(err) {
		return false
	}
	p.skipped++
	return true
}

const (
	pageMagic   = 0xED0CDAED
	pageVersion = 2

	pageHead    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	headerSize  = 64
	elementSize = 16
	bucketHead  = 16 // root uint64, sequence uint64

	branchPage   = 1
	leafPage     = 2
	freelistPage = 16

	leafBucket = 1 // flag of a leaf's element

	maxDepth = 64 // of the tree; 40 levels would hold 2⁴⁰ pages
)

// header is what this package uses of one of the two headers.
type header struct {
	unit     int64
	root     uint64
	freelist uint64
	end      uint64 // pages from here on were never used
	txid     uint64
}

// checkPages returns a [*damage] for a file that bbolt must not open. lame
// tells that one of the two headers is not valid, as after a loss of power in
// the middle of a write: the file is then as it was before that write.
func checkPages(file io.ReaderAt, size int64) (lame bool, err error) {
	p := &pages{file: file, size: size, used: map[uint64]bool{}}
	lame, err = p.readHeaders()
	if err != nil {
		return false, err
	}
	if err := p.tree(p.head.root, bounds{}, 0); err != nil {
		return false, err
	}
	if err := p.freelist(); err != nil {
		return false, err
	}
	// Pages that are neither in use nor free were in use before the damage.
	if uint64(len(p.used)) != p.head.end-2 {
		return false, damagef("pages are missing")
	}
	return lame, nil
}

// readHeaders finds the headers as bbolt does and picks the one that it would.
func (p *pages) readHeaders() (lame bool, err error) {
	first, firstErr := p.readHeader(0)
	if isSystemError(firstErr) {
		return false, firstErr
	}
	if firstErr != nil {
		// The size of a page is not known: the second one lies at a power of two.
		for unit := int64(1024); unit <= 1024<<14 && unit < p.size-1024; unit <<= 1 {
			second, err := p.readHeader(unit)
			if isSystemError(err) {
				return false, err
			}
			if err == nil && second.unit == unit {
				p.head, p.unit = second, unit
				return true, nil
			}
		}
		return false, firstErr
	}
	p.head, p.unit = first, first.unit
	second, err := p.readHeader(first.unit)
	switch {
	case isSystemError(err):
		return false, err
	case err != nil:
		return true, nil
	case second.unit != first.unit:
		return false, damagef("its headers contradict each other")
	case second.txid > first.txid:
		p.head, p.other = second, &first
	default:
		p.other = &second
	}
	return false, nil
}

func (p *pages) readHeader(at int64) (header, error) {
	var b [pageHead + headerSize]byte
	if err := p.read(b[:], at); err != nil {
		return header{}, err
	}
	h := b[pageHead:]
	sum := fnv.New64a()
	sum.Write(h[:56])
	ne := binary.NativeEndian
	switch {
	case ne.Uint32(h) != pageMagic:
		return header{}, damagef("no database, or its headers are damaged")
	case ne.Uint32(h[4:]) != pageVersion:
		return header{}, damagef("a database of another version of bbolt")
	case ne.Uint64(h[56:]) != sum.Sum64():
		return header{}, damagef("its headers are damaged")
	}
	unit := int64(ne.Uint32(h[8:]))
	if unit < 1024 || unit > 1024<<14 || unit&(unit-1) != 0 {
		return header{}, damagef("its pages have an impossible size")
	}
	return header{unit: unit, root: ne.Uint64(h[16:]), freelist: ne.Uint64(h[32:]), end: ne.Uint64(h[40:]), txid: ne.Uint64(h[48:])}, nil
}

// bounds are those of a page's keys: the branch above it names the first key
// and that of the page behind it; nil is none. bbolt finds a page in its branch
// by its first key, and makes a mess of both if it is another.
type bounds struct{ first, end []byte }

// holds tells whether a key may stand behind the one before it, which is nil
// for the first of a page.
func (b bounds) holds(before, key []byte) bool {
	if before == nil && b.first != nil && !bytes.Equal(b.first, key) || before != nil && bytes.Compare(before, key) >= 0 {
		return false
	}
	return len(key) > 0 && (b.end == nil || bytes.Compare(key, b.end) < 0)
}

// tree checks a page and those below it.
func (p *pages) tree(id uint64, in bounds, depth int) error {
	if depth > maxDepth {
		return damagef("page %d lies too deep", id)
	}
	b, err := p.load(id)
	if err != nil {
		return err
	}
	switch binary.NativeEndian.Uint16(b[8:]) {
	case leafPage:
		return p.leaf(id, b, in, depth)
	case branchPage:
		return p.branch(id, b, in, depth)
	}
	return damagef("page %d is of the wrong kind", id)
}

func (p *pages) branch(id uint64, b []byte, in bounds, depth int) error {
	ne := binary.NativeEndian
	count := int(ne.Uint16(b[10:]))
	if count == 0 || pageHead+count*elementSize > len(b) {
		return damagef("page %d is damaged", id)
	}
	keys, children := make([][]byte, count+1), make([]uint64, count)
	var before []byte
	for i := range count {
		at := pageHead + i*elementSize
		key, ok := part(b, int64(at)+int64(ne.Uint32(b[at:])), int64(ne.Uint32(b[at+4:])))
		if !ok || !in.holds(before, key) {
			return damagef("page %d is damaged", id)
		}
		before, keys[i], children[i] = key, key, ne.Uint64(b[at+8:])
	}
	keys[count] = in.end
	for i, child := range children {
		if err := p.tree(child, bounds{keys[i], keys[i+1]}, depth+1); err != nil && !p.passOver(err) {
			return err
		}
	}
	return nil
}

func (p *pages) leaf(id uint64, b []byte, in bounds, depth int) error {
	ne := binary.NativeEndian
	count := int(ne.Uint16(b[10:]))
	if pageHead+count*elementSize > len(b) || count == 0 && in.first != nil {
		return damagef("page %d is damaged", id)
	}
	var before []byte
	for i := range count {
		at := pageHead + i*elementSize
		from, keySize, size := int64(at)+int64(ne.Uint32(b[at+4:])), int64(ne.Uint32(b[at+8:])), int64(ne.Uint32(b[at+12:]))
		key, ok := part(b, from, keySize)
		if !ok || !in.holds(before, key) {
			return damagef("page %d is damaged", id)
		}
		before = key
		value, ok := part(b, from+keySize, size)
		if !ok {
			return damagef("page %d is damaged", id)
		}
		switch ne.Uint32(b[at:]) {
		case 0:
			if p.visit != nil {
				p.visit(p.path, key, value)
			}
			continue
		case leafBucket:
		default:
			return damagef("page %d is damaged", id)
		}
		p.path = append(p.path, key)
		if len(value) >= bucketHead && p.seal != nil {
			p.seal(key, ne.Uint64(value[8:]))
		}
		err := p.inner(id, value, depth+1)
		p.path = p.path[:len(p.path)-1]
		if err != nil && !p.passOver(err) {
			return err
		}
	}
	return nil
}

// inner checks a bucket that lies in the leaf of page id.
func (p *pages) inner(id uint64, value []byte, depth int) error {
	if len(value) < bucketHead {
		return damagef("page %d is damaged", id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return p.tree(root, bounds{}, depth)
	}
	inline := value[bucketHead:]
	if depth > maxDepth || len(inline) < pageHead || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return damagef("page %d is damaged", id)
	}
	return p.leaf(id, inline, bounds{}, depth)
}

// freelist checks the list of free pages: a page that is in use and listed as
// free would be written over.
func (p *pages) freelist() error {
	if p.head.freelist == math.MaxUint64 {
		return damagef("its free pages are not listed: a database of another program")
	}
	b, err := p.load(p.head.freelist)
	if err != nil {
		return err
	}
	ne := binary.NativeEndian
	if ne.Uint16(b[8:]) != freelistPage {
		return damagef("the list of free pages is damaged")
	}
	count, ids := uint64(ne.Uint16(b[10:])), b[pageHead:]
	if count == math.MaxUint16 && len(ids) >= 8 {
		count, ids = ne.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damagef("the list of free pages is damaged")
	}
	for i := range count {
		if err := p.use(ne.Uint64(ids[8*i:])); err != nil {
			return err
		}
	}
	return nil
}

// load reads a page with its overflow and marks it as used.
func (p *pages) load(id uint64) ([]byte, error) {
	if id > math.MaxInt64/uint64(p.unit)-1 {
		return nil, damagef("page %d lies behind the end", id)
	}
	at := int64(id) * p.unit
	var head [pageHead]byte
	if err := p.read(head[:], at); err != nil {
		return nil, err
	}
	if binary.NativeEndian.Uint64(head[:]) != id {
		return nil, damagef("page %d is damaged", id)
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if int64(more+1) > (p.size-at)/p.unit {
		return nil, damagef("page %d lies behind the end", id)
	}
	for i := range more + 1 {
		if err := p.use(id + i); err != nil {
			return nil, err
		}
	}
	b := make([]byte, int64(more+1)*p.unit)
	return b, p.read(b, at)
}

// use marks a page, which may be in use only once.
func (p *pages) use(id uint64) error {
	if id < 2 || id >= p.head.end || p.used[id] {
		return damagef("page %d is used twice or lies behind the end", id)
	}
	p.used[id] = true
	return nil
}

// read fills b. The end of the file is a damage, anything else the system's
// error.
func (p *pages) read(b []byte, at int64) error {
	_, err := p.file.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		return damagef("it ends too early")
	}
	return err
}

// part is b[from:from+size] if b has that.
func part(b []byte, from, size int64) ([]byte, bool) {
	if from > int64(len(b)) || size > int64(len(b))-from {
		return nil, false
	}
	return b[from : from+size], true
}

// isSystemError tells whether err is about reading and not about what was read.
func isSystemError(err error) bool {
	_, isDamage := errors.AsType[*damage](err)
	return err != nil && !isDamage
}

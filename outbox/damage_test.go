package outbox_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// used is the image of a file with a history: 24 records, of which some are
// large, from 40 that were put, so that it has branch pages and free pages.
func used(t testing.TB) (image []byte, records []outbox.Record) {
	path := newPath(t)
	f := open(t, path)
	for n := range 40 {
		put(t, f, []message.Type{updates, status}[n%2], n)
		if n%5 < 2 {
			m, err := f.First(all, updates, status)
			require.NoError(t, err)
			require.NoError(t, f.Remove(m.Type, m.ID))
		}
	}
	records = list(t, f)
	require.Len(t, records, 24)
	require.NoError(t, f.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	return image, records
}

// requireSetAside opens a file that cannot be used: it lies beside the new one,
// byte for byte, and the new one works.
func requireSetAside(t testing.TB, path string, image []byte, why string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, image, 0o600))
	f := openAny(t, path, outbox.Options{})
	require.NotEmpty(t, asideFile(f))
	require.Contains(t, notice(f), asideFile(f))
	require.Contains(t, notice(f), why)
	logcheck.Clean(t, "notice", notice(f))
	aside, err := os.ReadFile(asideFile(f))
	require.NoError(t, err)
	require.True(t, bytes.Equal(image, aside), "the file was changed")
	require.Empty(t, list(t, f))
	put(t, f, updates, 1)
	require.NoError(t, f.Close())
	f = openAny(t, path, outbox.Options{})
	require.Len(t, list(t, f), 1)
	require.NoError(t, f.Close())
}

func TestOpen_foreignFileIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image []byte
		why   string
	}{
		"one byte": {[]byte("x"), "ends too early"},
		"text":     {bytes.Repeat([]byte(personal), 1000), "no database"},
		"zeros":    {make([]byte, 1<<16), "no database"},
		"database": {database(t, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte(personal))
			return err
		}), "another program"},
		"other format": {database(t, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("format"))
			return err
		}), "another program"},
		"other version": {database(t, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("format"))
			if err != nil {
				return err
			}
			return b.Put([]byte("fogispubsub outbox"), []byte("3"))
		}), "another version"},
		"unknown buckets": {database(t, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("format"))
			if err != nil {
				return err
			}
			if _, err := tx.CreateBucket([]byte("sessions")); err != nil {
				return err
			}
			return b.Put([]byte("fogispubsub outbox"), []byte("1"))
		}), "does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireForeign(t, c.image, c.why)
		})
	}
}

// requireForeign opens and reads what is no outbox: nothing is written, made or
// renamed.
func requireForeign(t testing.TB, image []byte, why string) {
	t.Helper()
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, image, 0o644))
	require.NoError(t, os.Chmod(path, 0o644))
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(path, long, long))
	f, err := outbox.Open(path, outbox.Options{})
	require.Nil(t, f)
	require.Contains(t, failure(t, err).Error(), why)
	_, err = outbox.Read(path)
	require.Contains(t, failure(t, err).Error(), why)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), info.Mode())
	require.True(t, info.ModTime().Equal(long), "it was written")
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(image, now))
}

// lame is the image of an outbox whose headers are both damaged.
func lame(t testing.TB) []byte {
	image, _ := used(t)
	for _, page := range []int{0, 1} {
		image[page*os.Getpagesize()+40] ^= 1
	}
	return image
}

// database is the image of a bbolt file that something else made.
func database(t testing.TB, fill func(*bbolt.Tx) error) []byte {
	path := newPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fill))
	require.NoError(t, db.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	return image
}

func TestOpen_emptyFileIsNew(t *testing.T) {
	t.Parallel()
	for _, image := range [][]byte{{}, database(t, func(*bbolt.Tx) error { return nil })} {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, image, 0o600))
		put(t, open(t, path), updates, 1)
	}
}

func TestOpen_setsAsideEachUnderItsOwnName(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	image := lame(t)
	for range 5 {
		requireSetAside(t, path, image, "set aside")
	}
	names, err := filepath.Glob(path + ".set-aside-*")
	require.NoError(t, err)
	require.Len(t, names, 5)
}

// One damaged record costs no other one.
func TestOpen_changedRecordIsSetAsideAlone(t *testing.T) {
	t.Parallel()
	image, records := used(t)
	require.True(t, bytes.Contains(image, records[3].Body))
	// Pages that are free now may hold it too: change it everywhere.
	changed := bytes.ToUpper(records[3].Body[:30])
	image = bytes.ReplaceAll(image, records[3].Body[:30], changed)
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, image, 0o600))
	for range 2 { // the second time it is known
		f := openAny(t, path, outbox.Options{})
		require.Empty(t, asideFile(f))
		listed := list(t, f)
		require.Len(t, listed, len(records))
		damaged := listed[len(listed)-1]
		require.Equal(t, slices.Delete(slices.Clone(records), 3, 4), listed[:len(listed)-1])
		require.Equal(t, outbox.Damaged, damaged.State)
		require.Equal(t, records[3].ID, damaged.ID)
		require.Equal(t, records[3].PutAt, damaged.PutAt)
		require.Equal(t, append(changed, records[3].Body[30:]...), damaged.Body, "its bytes are kept")
		require.Contains(t, damaged.Refused, "checksum")
		require.Equal(t, len(records)-1, f.Len())
		require.Equal(t, 1, f.Stats().Aside)
		require.NoError(t, f.Close())
	}
	f := openAny(t, path, outbox.Options{})
	require.ErrorIs(t, failure(t, f.Requeue(records[3].Type, records[3].ID)), outbox.ErrDamaged)
	require.NoError(t, f.Discard(records[3].Type, records[3].ID))
	require.Zero(t, f.Stats().Aside)
	require.NoError(t, f.Close())
	require.Len(t, list(t, open(t, path)), len(records)-1)
}

func TestOpen_damagedHeaderLosesOneChangeAtMost(t *testing.T) {
	t.Parallel()
	image, records := used(t)
	var undone int
	for page := range 2 {
		damaged := bytes.Clone(image)
		damaged[page*os.Getpagesize()+20] ^= 1
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		f := openAny(t, path, outbox.Options{})
		require.Empty(t, asideFile(f))
		require.Contains(t, notice(f), "headers")
		got := list(t, f)
		if len(got) == len(records) {
			require.Equal(t, records, got)
		} else {
			require.Len(t, got, len(records)-1)
			undone++
		}
		put(t, f, updates, 100)
		put(t, f, updates, 101)
		require.NoError(t, f.Close())
		open(t, path) // both are whole again
	}
	require.Equal(t, 1, undone)

	requireSetAside(t, newPath(t), lame(t), "set aside")
}

// What a page says of itself can hide records that are whole, or make bbolt
// write over them later.
func TestOpen_pageThatLies(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	for n := range 100 {
		if n%10 != 9 {
			put(t, f, status, n)
		}
	}
	records := list(t, f)
	require.NoError(t, f.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	const branch, leaf, freelist = 1, 2, 16
	ne := binary.NativeEndian
	lower := func(page []byte) { ne.PutUint16(page[10:], ne.Uint16(page[10:])-1) }
	for name, lie := range map[string]struct {
		kind uint16
		tell func(page []byte)
	}{
		"a leaf has a record less":       {leaf, func(p []byte) { ne.PutUint16(p[10:], ne.Uint16(p[10:])-2) }},
		"a branch has a page less":       {branch, lower},
		"a page less is free":            {freelist, lower},
		"a page begins earlier":          {branch, func(p []byte) { p[16+ne.Uint32(p[16:])+7]-- }},
		"a page is longer":               {leaf, func(p []byte) { ne.PutUint32(p[12:], 1) }},
		"the list of pages is a leaf":    {freelist, func(p []byte) { ne.PutUint16(p[8:], leaf) }},
		"a page is another":              {leaf, func(p []byte) { p[0]++ }},
		"a branch leads round":           {branch, func(p []byte) { copy(p[24:32], p[:8]) }},
		"a page is in use and free":      {freelist, func(p []byte) { ne.PutUint64(p[16:], 3) }},
		"there are more pages than fit":  {freelist, func(p []byte) { ne.PutUint16(p[10:], 60_000) }},
		"a key lies outside of its page": {leaf, func(p []byte) { ne.PutUint32(p[20:], 1<<31) }},
		"a value is longer than its page": {leaf, func(p []byte) {
			ne.PutUint32(p[28:], 1<<31)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var aside int
			for at := 2 * os.Getpagesize(); at < len(image); at += os.Getpagesize() {
				// Pages that are free now look the same and harm nobody.
				if ne.Uint16(image[at+8:]) != lie.kind || ne.Uint16(image[at+10:]) < 3 {
					continue
				}
				lying := bytes.Clone(image)
				lie.tell(lying[at : at+os.Getpagesize()])
				path := newPath(t)
				require.NoError(t, os.WriteFile(path, lying, 0o600))
				f := openAny(t, path, outbox.Options{})
				if asideFile(f) != "" {
					aside++
				} else if f.Stats().Aside == 0 {
					require.Equal(t, records, list(t, f))
				} else {
					// A head and the body before it: two records have one half.
					aside++
					require.Equal(t, 2, f.Stats().Aside)
					require.Equal(t, len(records)-2, f.Len())
				}
				require.NoError(t, f.Close())
			}
			require.Positive(t, aside)
		})
	}
}

// Whatever happens to the bytes, Open comes back with a file that works, and
// what is in it is what was put.
func TestOpen_anyDamage(t *testing.T) {
	t.Parallel()
	image, records := used(t)
	byID := map[string]outbox.Record{}
	for _, r := range records {
		byID[r.ID] = r
	}
	path := newPath(t)
	var aside, whole int
	deadline := time.Now().Add(20 * time.Second)
	rapid.Check(t, func(rt *rapid.T) {
		if time.Now().After(deadline) {
			return // enough, on a slow machine
		}
		damaged := bytes.Clone(image)
		switch rapid.SampledFrom([]string{"cut", "flip", "headers", "sectors", "page heads"}).Draw(rt, "damage") {
		case "cut":
			damaged = damaged[:rapid.IntRange(1, len(damaged)-1).Draw(rt, "length")]
		case "flip":
			for _, at := range rapid.SliceOfN(rapid.IntRange(0, len(damaged)-1), 1, 50).Draw(rt, "at") {
				damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
			}
		case "headers":
			for _, at := range rapid.SliceOfN(rapid.IntRange(0, 79), 1, 4).Draw(rt, "at") {
				damaged[rapid.IntRange(0, 1).Draw(rt, "page")*os.Getpagesize()+at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
			}
		case "sectors":
			from := rapid.IntRange(0, len(damaged)/512-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, min(from+64, len(damaged)/512)).Draw(rt, "to")
			clear(damaged[from*512 : to*512])
		case "page heads":
			page := rapid.IntRange(2, len(damaged)/os.Getpagesize()-1).Draw(rt, "page")
			at := page*os.Getpagesize() + rapid.IntRange(0, 255).Draw(rt, "at")
			damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
		}
		require.NoError(rt, os.WriteFile(path, damaged, 0o600))
		f, err := outbox.Open(path, outbox.Options{Logger: silent})
		if err != nil && strings.Contains(err.Error(), "not an outbox file") {
			// Nothing in it says any more that it was one.
			now, err := os.ReadFile(path)
			require.NoError(rt, err)
			require.True(rt, bytes.Equal(damaged, now))
			return
		}
		require.NoError(rt, err)
		defer f.Close()
		got := list(t, f)
		got = slices.DeleteFunc(got, func(r outbox.Record) bool { return r.State == outbox.Damaged })
		if asideFile(f) != "" {
			aside++
			require.Empty(rt, got)
			require.NoError(rt, os.Remove(asideFile(f)))
			require.NoError(rt, err)
		} else {
			whole++
			if notice(f) == "" {
				require.Len(rt, got, len(records))
			}
			require.GreaterOrEqual(rt, len(got)+f.Stats().Aside, len(records)-1)
			for _, r := range got {
				require.Equal(rt, byID[r.ID], r)
			}
		}
		require.NoError(rt, f.Put(message.Outgoing{ID: "new", Type: updates, Body: body(9)}, ""))
		for n := f.Stats().Len; n > 0; n-- {
			m, err := f.First(all, updates, status)
			require.NoError(rt, err)
			require.NoError(rt, f.Remove(m.Type, m.ID))
			require.Equal(rt, n-1, f.Stats().Len)
		}
	})
	require.Positive(t, aside)
	require.Positive(t, whole)
}

// FuzzOpen looks for bytes on which Open, or bbolt behind it, ends the process.
func FuzzOpen(f *testing.F) {
	path := newPath(f)
	file, err := outbox.Open(path, outbox.Options{})
	require.NoError(f, err)
	for n := range 12 {
		require.NoError(f, file.Put(message.Outgoing{ID: id(n), Type: status, Body: body(n)}, ""))
		if n%3 == 0 {
			require.NoError(f, file.Remove(status, id(n/3)))
		}
	}
	require.NoError(f, file.Close())
	image, err := os.ReadFile(path)
	require.NoError(f, err)
	// Short seeds: of a long one the fuzzer would first spend a minute on
	// finding out how much of it is needed.
	f.Add([]byte{}, uint32(0))
	f.Add(image[:80], uint32(0))
	f.Add([]byte{1, 0, 3}, uint32(8))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint32(os.Getpagesize()+20))
	f.Fuzz(func(t *testing.T, patch []byte, at uint32) {
		// Patching a file whose headers are valid goes deeper than bytes alone.
		damaged := bytes.Clone(image)
		from := 2*os.Getpagesize() + int(at)%(len(damaged)-2*os.Getpagesize())
		copy(damaged[from:], patch)
		for _, b := range [][]byte{damaged, patch} {
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			_, _ = outbox.Read(path)
			f, err := outbox.Open(path, outbox.Options{Logger: silent})
			if err != nil {
				require.Contains(t, err.Error(), "outbox file")
				continue
			}
			list(t, f)
			put(t, f, updates, 9)
			require.NoError(t, f.Close())
		}
	})
}

// A record that becomes damaged while the file is open keeps no other from being
// compacted, or put back from a file that was set aside.
func TestFile_recordDamagedSinceOpen_isSetAsideByARewrite(t *testing.T) {
	t.Parallel()
	for name, rewrite := range map[string]func(t *testing.T, f *outbox.File) (more int){
		"compact": func(t *testing.T, f *outbox.File) int {
			require.NoError(t, f.Compact())
			return 0
		},
		"salvage": func(t *testing.T, f *outbox.File) int {
			path := newPath(t)
			old := open(t, path)
			put(t, old, updates, 20)
			require.NoError(t, old.Close())
			done, err := f.Salvage(path)
			require.NoError(t, err)
			require.Equal(t, 1, done.Records)
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			f := open(t, path)
			for n := range 4 {
				put(t, f, updates, n)
			}
			image, err := os.ReadFile(path)
			require.NoError(t, err)
			change, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			part := body(2)[:30]
			for at := 0; ; at++ { // also in pages that are free now
				next := bytes.Index(image[at:], part)
				if next < 0 {
					break
				}
				at += next
				_, err = change.WriteAt(bytes.ToUpper(part), int64(at))
				require.NoError(t, err)
			}
			require.NoError(t, change.Close())

			more := rewrite(t, f)
			states := map[outbox.State]int{}
			for _, r := range list(t, f) {
				states[r.State]++
				require.Equal(t, r.State == outbox.Damaged, r.ID == id(2))
			}
			require.Equal(t, map[outbox.State]int{outbox.Waiting: 3 + more, outbox.Damaged: 1}, states)
			put(t, f, updates, 9)
			require.NoError(t, f.Close())
		})
	}
}

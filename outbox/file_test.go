package outbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

func TestFile_First_isWhatWasPutFirst(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	first, err := f.First(all, updates)
	require.NoError(t, err)
	require.Zero(t, first)

	require.NoError(t, f.Put(outgoing(updates, 9), "17-3"))
	put(t, f, updates, 2)
	for range 2 {
		first, err = f.First(all, updates)
		require.NoError(t, err)
		require.Equal(t, outgoing(updates, 9), first.Outgoing)
		require.Equal(t, "17-3", first.After)
		require.False(t, first.Posted)
	}
	first.Body[0] = 'x'
	first, err = f.First(all, updates)
	require.NoError(t, err)
	require.Equal(t, body(9), first.Body, "the body is the caller's")
}

func TestFile_First_passesWhatMatchRefuses(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	unposted := func(q message.Queued) bool { return !q.Posted }
	order := []message.Type{status, updates, updates, status}
	for n, typ := range order {
		put(t, f, typ, n)
	}
	require.Equal(t, len(order), f.Len())
	require.Equal(t, 2, f.Len(status))
	for n, typ := range order {
		first, err := f.First(unposted, updates, status)
		require.NoError(t, err)
		require.Equal(t, outgoing(typ, n), first.Outgoing)
		first.Posted = true
		require.NoError(t, f.Mark(first))
	}
	first, err := f.First(unposted, updates, status)
	require.NoError(t, err)
	require.Zero(t, first)
	first, err = f.First(all, updates, status)
	require.NoError(t, err)
	require.True(t, first.Posted)
	require.Equal(t, outgoing(status, 0), first.Outgoing, "all are there still")
}

func TestFile_First_ofSeveralQueuesKeepsTheOrderOfPutting(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	order := []message.Type{status, updates, "own", updates, status}
	for n, typ := range order {
		put(t, f, typ, n)
	}
	require.NoError(t, f.Close())
	f = open(t, path)
	for n, typ := range order {
		first, err := f.First(all, "own", updates, "none", status)
		require.NoError(t, err)
		require.Equal(t, outgoing(typ, n), first.Outgoing)
		require.NoError(t, f.Remove(typ, first.ID))
	}
	first, err := f.First(all)
	require.NoError(t, err)
	require.Zero(t, first)
}

func TestFile_Remove_takesARecordWhereverItLies(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	put(t, f, updates, 1)
	put(t, f, updates, 2)
	put(t, f, status, 3)
	require.NoError(t, f.Remove(updates, id(2)))
	require.NoError(t, f.Remove(updates, id(2)))
	require.NoError(t, f.Remove(updates, id(3)), "of another queue")
	require.NoError(t, f.Remove("own", id(3)))
	records := list(t, f)
	require.Len(t, records, 2)
	require.Equal(t, id(1), records[0].ID)
}

func TestFile_marksOutliveTheFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	put(t, f, updates, 1)
	put(t, f, updates, 9)
	require.NoError(t, f.Mark(marks(updates, 9, "1700000000000-12", true)))
	require.NoError(t, f.Mark(marks(updates, 1, "1-1", false)))
	require.NoError(t, f.Mark(marks(updates, 1, "", false)))
	size := f.Stats()
	require.ErrorIs(t, failure(t, f.Mark(marks(updates, 3, "", true))), fs.ErrNotExist)
	require.ErrorIs(t, failure(t, f.Mark(marks(status, 1, "", true))), fs.ErrNotExist)
	require.NoError(t, f.Close())

	f = open(t, path)
	require.Equal(t, size, f.Stats())
	records := list(t, f)
	require.Len(t, records, 2)
	require.Equal(t, outgoing(updates, 1), records[0].Outgoing)
	require.False(t, records[0].Posted)
	require.Empty(t, records[0].After)
	require.Equal(t, outgoing(updates, 9), records[1].Outgoing)
	require.True(t, records[1].Posted)
	require.Equal(t, "1700000000000-12", records[1].After)
}

func TestFile_marksThatStandAlreadyWriteNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	put(t, f, updates, 1)
	require.NoError(t, f.Mark(marks(updates, 1, "1-1", true)))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Mark(marks(updates, 1, "1-1", true)))
	require.NoError(t, f.Put(outgoing(updates, 1), "2-2"))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}

func TestFile_Put_refusesWhatCouldNotBeFoundAgain(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	long := strings.Repeat("x", 20_000)
	for name, put := range map[string]func() error{
		"no ID":      func() error { return f.Put(message.Outgoing{Type: updates}, "") },
		"no type":    func() error { return f.Put(message.Outgoing{ID: "a"}, "") },
		"long ID":    func() error { return f.Put(message.Outgoing{ID: long, Type: updates}, "") },
		"long type":  func() error { return f.Put(message.Outgoing{ID: "a", Type: message.Type(long)}, "") },
		"long after": func() error { return f.Put(message.Outgoing{ID: "a", Type: updates}, long) },
		"mark after": func() error {
			return f.Mark(message.Queued{Outgoing: message.Outgoing{ID: "a", Type: updates}, After: long})
		},
	} {
		require.ErrorIs(t, failure(t, put()), message.ErrInvalid, name)
	}
	require.Empty(t, list(t, f))
	require.NoError(t, f.Put(message.Outgoing{ID: "a", Type: updates}, ""), "an empty body is one")
	require.Len(t, list(t, f), 1)
}

func TestFile_Put_sameIDIsOneRecord(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	put(t, f, updates, 1)
	again := outgoing(updates, 1)
	again.Body = []byte("another")
	require.NoError(t, f.Put(again, "9-9"))
	records := list(t, f)
	require.Len(t, records, 1)
	require.Equal(t, body(1), records[0].Body)
	put(t, f, status, 1)
	require.Len(t, list(t, f), 2, "another queue is another matter")
}

func TestFile_Put_fullRefusesTheNewAndKeepsTheOld(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{MaxBytes: 10_000})
	var n int
	var err error
	for ; err == nil; n++ {
		err = f.Put(message.Outgoing{ID: id(n), Type: updates, Body: bytes.Repeat([]byte{'a'}, 1000)}, "")
	}
	require.ErrorIs(t, failure(t, err), outbox.ErrFull)
	require.Equal(t, 10, n)
	require.Equal(t, 9, f.Stats().Len)
	require.LessOrEqual(t, f.Stats().Bytes, int64(10_000))
	require.NoError(t, f.Put(message.Outgoing{ID: "small", Type: status, Body: []byte("a")}, ""))
	require.NoError(t, f.Remove(updates, id(0)))
	require.NoError(t, f.Put(message.Outgoing{ID: "new", Type: updates, Body: bytes.Repeat([]byte{'a'}, 900)}, ""))
	require.NoError(t, f.Close())

	// A lower bound takes nothing away.
	f = openAny(t, path, outbox.Options{MaxBytes: 100})
	require.Len(t, list(t, f), 10)
	require.ErrorIs(t, f.Put(message.Outgoing{ID: "x", Type: updates}, ""), outbox.ErrFull)
	require.NoError(t, f.Remove(updates, id(1)))
	require.NoError(t, f.Close())

	f = openAny(t, path, outbox.Options{MaxBytes: -1})
	require.NoError(t, f.Put(message.Outgoing{ID: "x", Type: updates, Body: make([]byte, 1<<20)}, ""))
}

func TestFile_Stats_ofEachQueueAndOfAll(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		f, err := outbox.Open(path, outbox.Options{})
		require.NoError(t, err)
		defer func() { require.NoError(t, f.Close()) }()
		require.Zero(t, f.Stats())
		require.Empty(t, f.Types())
		start := time.Now()
		put(t, f, updates, 1)
		time.Sleep(time.Minute)
		put(t, f, status, 2)
		time.Sleep(time.Minute)
		put(t, f, updates, 3)
		require.Equal(t, []message.Type{updates, status}, f.Types())
		require.Equal(t, 2, f.Stats(updates).Len)
		require.WithinDuration(t, start, f.Stats(updates).Oldest, 0)
		require.WithinDuration(t, start.Add(time.Minute), f.Stats(status).Oldest, 0)
		require.Equal(t, f.Stats(), f.Stats(updates, status))
		require.Equal(t, f.Stats(updates).Bytes+f.Stats(status).Bytes, f.Stats().Bytes)
		require.Greater(t, f.Stats(status).Bytes, int64(len(body(2))))
		require.Zero(t, f.Stats("own"))

		require.NoError(t, f.Remove(updates, id(1)))
		require.WithinDuration(t, start.Add(time.Minute), f.Stats().Oldest, 0)
		require.WithinDuration(t, start.Add(2*time.Minute), f.Stats(updates).Oldest, 0)
		require.NoError(t, f.Remove(updates, id(3)))
		require.NoError(t, f.Remove(status, id(2)))
		require.Zero(t, f.Stats())
		require.Empty(t, f.Types())
	})
}

func TestFile_All_mayChangeTheFileMeanwhile(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	for n := range 30 {
		put(t, f, updates, n)
	}
	var seen []string
	for r, err := range f.All() {
		require.NoError(t, err)
		seen = append(seen, r.ID)
		require.NoError(t, f.Remove(updates, r.ID))
		// Enough for bbolt to map its file anew.
		require.NoError(t, f.Put(message.Outgoing{ID: "status " + r.ID, Type: status, Body: make([]byte, 300_000)}, ""))
	}
	require.Len(t, seen, 30)
	require.IsIncreasing(t, seen)
	require.Equal(t, 30, f.Stats(status).Len)
	for range f.All() {
		break
	}
}

func TestFile_Close_endsEverything(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	put(t, f, updates, 1)
	before := f.Stats()
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	for name, err := range map[string]error{
		"put":      f.Put(outgoing(updates, 2), ""),
		"mark":     f.Mark(message.Queued{Outgoing: outgoing(updates, 1)}),
		"setaside": f.SetAside(updates, id(1), "why"),
		"claim":    f.Claim(),
		"remove":   f.Remove(updates, id(1)),
	} {
		require.ErrorIs(t, failure(t, err), fs.ErrClosed, name)
		require.Equal(t, name, failure(t, err).Op)
	}
	_, err := f.First(all, updates)
	require.ErrorIs(t, failure(t, err), fs.ErrClosed)
	for _, err := range f.All() {
		require.ErrorIs(t, failure(t, err), fs.ErrClosed)
	}
	require.Equal(t, before, f.Stats())
	require.Len(t, list(t, open(t, path)), 1)
}

func TestFile_concurrentUse(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	const each = 15
	types := []message.Type{updates, status, "own"}
	var wg sync.WaitGroup
	for _, typ := range types {
		wg.Go(func() {
			for n := range each {
				if err := f.Put(outgoing(typ, n), ""); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for n := 0; n < each && t.Context().Err() == nil; {
				m, err := f.First(all, typ)
				if err != nil {
					t.Error(err)
					return
				}
				if m.ID == "" {
					continue
				}
				if m.ID != id(n) || !bytes.Equal(m.Body, body(n)) {
					t.Errorf("got %s, want %s", m.ID, id(n))
				}
				m.Posted = true
				if err := errors.Join(f.Mark(m), f.Remove(typ, m.ID)); err != nil {
					t.Error(err)
				}
				n++
			}
		})
	}
	wg.Go(func() {
		for range each {
			for _, err := range f.All() {
				if err != nil {
					t.Error(err)
				}
			}
			f.Stats()
		}
	})
	wg.Wait()
	require.Zero(t, f.Stats())
}

func TestFile_Close_whileInUse(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	var wg sync.WaitGroup
	put := make([]int, 4)
	started := make(chan struct{}, 4)
	for w := range put {
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := f.Put(outgoing(message.Type(fmt.Sprint(w)), n), ""); err != nil {
					if !errors.Is(err, fs.ErrClosed) {
						t.Error(err)
					}
					put[w] = n
					return
				}
				if n == 2 {
					started <- struct{}{}
				}
				if _, err := f.First(all, updates); err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			}
		})
	}
	for range put {
		<-started
	}
	require.NoError(t, f.Close())
	wg.Wait()
	f = open(t, path)
	for w, n := range put {
		require.Equal(t, n, f.Stats(message.Type(fmt.Sprint(w))).Len)
	}
}

func TestRecord_printsNoContent(t *testing.T) {
	t.Parallel()
	f := open(t, newPath(t))
	put(t, f, updates, 1)
	r := list(t, f)[0]
	logcheck.CleanValue(t, "record", r)
	require.Equal(t, "match_updates "+id(1), fmt.Sprint(r))
	var text bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&text, nil), slog.NewTextHandler(&text, nil)} {
		slog.New(h).Info("record", "r", r)
	}
	logcheck.Clean(t, "log", text.String())
	require.True(t, json.Valid(text.Bytes()[:bytes.IndexByte(text.Bytes(), '\n')]))
}

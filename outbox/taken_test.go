package outbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

// requireUnusable tries every change.
func requireUnusable(t *testing.T, f *outbox.File, why string) {
	t.Helper()
	_, firstErr := f.First(all, updates)
	for name, err := range map[string]error{
		"put":      f.Put(outgoing(updates, 50), ""),
		"remove":   f.Remove(updates, id(1)),
		"mark":     f.Mark(message.Queued{Outgoing: outgoing(updates, 1), Posted: true}),
		"setaside": f.SetAside(updates, id(1), "why"),
		"requeue":  f.Requeue(updates, id(1)),
		"discard":  f.Discard(updates, id(1)),
		"first":    firstErr,
		"compact":  f.Compact(),
	} {
		require.Contains(t, failure(t, err).Error(), why, name)
		require.Equal(t, name, failure(t, err).Op)
	}
	require.Contains(t, notice(f), why)
}

func TestFile_thatWasRemovedOrReplaced_takesNothing(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(path string) error{
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			f := open(t, path)
			put(t, f, updates, 1)
			require.NoError(t, take(path))
			requireUnusable(t, f, "removed or replaced")
			if name == "renamed" { // and is back
				require.NoError(t, os.Rename(path+".old", path))
				put(t, f, updates, 2)
				require.Equal(t, 2, f.Len())
			}
		})
	}
}

// The process lives, whatever its memory map leads to.
func TestFile_thatWasCut_takesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{})
	put(t, f, updates, 1)
	put(t, f, updates, 9)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 0))
	requireUnusable(t, f, "cut to 0 bytes")
	require.NoError(t, os.Truncate(path, info.Size()))
	requireUnusable(t, f, "cut to 0 bytes")
}

// The length is right, and what the pages say is not.
func TestFile_thatWasWrittenOver_takesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{})
	for n := range 20 {
		put(t, f, updates, n)
	}
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(image[2*os.Getpagesize():])
	require.NoError(t, os.WriteFile(path, image, 0o600))
	require.Error(t, f.Put(outgoing(updates, 50), ""))
	require.Error(t, f.Put(outgoing(updates, 51), ""))
	require.Contains(t, notice(f), "cannot")
}

func TestFile_First_setsADamagedRecordAsideAndGoesOn(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{})
	for n := range 3 {
		put(t, f, updates, 9+10*n)
	}
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	whole := body(9)
	for at := 0; at+len(whole) <= len(image); at++ {
		if string(image[at:at+len(whole)]) == string(whole) {
			_, err = file.WriteAt([]byte("XX"), int64(at)+50)
			require.NoError(t, err)
		}
	}
	require.NoError(t, file.Close())
	first, err := f.First(all, updates)
	require.NoError(t, err)
	require.Equal(t, outgoing(updates, 19), first.Outgoing)
	require.Equal(t, 1, f.Stats().Aside)
	require.Contains(t, notice(f), "damaged records are set aside")
	require.NoError(t, f.Close())
	f = openAny(t, path, outbox.Options{})
	require.Equal(t, 2, f.Len())
	require.Equal(t, 1, f.Stats().Aside)
}

func TestFile_Claim_isOfOneOnly(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	require.NoError(t, f.Claim())
	require.ErrorIs(t, failure(t, f.Claim()), outbox.ErrInUse)
	require.NoError(t, f.Close())
	require.NoError(t, open(t, path).Claim())
}

func TestFile_SetAside_letsTheNextFollow(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openAny(t, path, outbox.Options{MaxBytes: 700_000})
	for n := range 4 {
		put(t, f, updates, n)
	}
	require.NoError(t, f.Mark(message.Queued{Outgoing: outgoing(updates, 0), After: "1-1", Posted: true, Heard: true}))
	require.NoError(t, f.SetAside(updates, id(0), "refused: 413"))
	require.NoError(t, f.SetAside(updates, id(0), "again"), "it is not in the queue")
	require.NoError(t, f.SetAside(updates, id(2), "refused: 400"))
	require.NoError(t, f.Close())
	f = openAny(t, path, outbox.Options{MaxBytes: 700_000})
	require.Equal(t, 2, f.Len(updates))
	first, err := f.First(all, updates)
	require.NoError(t, err)
	require.Equal(t, id(1), first.ID)
	require.Contains(t, notice(f), "refused for good are set aside in the outbox: 2")

	require.NoError(t, f.Requeue(updates, id(0)))
	records := list(t, f)
	require.Len(t, records, 4)
	require.Equal(t, id(0), records[2].ID, "at the end")
	require.Equal(t, outgoing(updates, 0), records[2].Outgoing)
	require.Empty(t, records[2].After+records[2].Refused)
	require.False(t, records[2].Posted || records[2].Heard)
	require.Equal(t, "refused: 400", records[3].Refused)
	require.NoError(t, f.Discard(updates, id(2)))
	require.Zero(t, f.Stats().Aside)
}

func TestFile_Put_isRefusedWhileTooMuchIsSetAside(t *testing.T) {
	t.Parallel()
	f := openAny(t, newPath(t), outbox.Options{MaxBytes: 300_000})
	for n := range 2 {
		put(t, f, updates, 9)
		require.NoError(t, f.SetAside(updates, id(9), "no"))
		_ = n
	}
	put(t, f, updates, 19)
	require.NoError(t, f.SetAside(updates, id(19), "no"), "it needs no room")
	err := f.Put(outgoing(updates, 1), "")
	require.ErrorIs(t, failure(t, err), outbox.ErrFull)
	require.Contains(t, err.Error(), "requeue or discard")
	require.NoError(t, f.Requeue(updates, id(19)), "that is the cure")
	put(t, f, updates, 1)
}

// What was full once is as small and as quick as a new one when it is empty.
func TestFile_emptiedIsMadeAnew(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	for n := range 400 {
		require.NoError(t, f.Put(message.Outgoing{ID: id(n), Type: updates, Body: append(make([]byte, 20_000), personal...)}, ""))
	}
	for n := range 400 {
		require.NoError(t, f.Remove(updates, id(n)))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(64<<10))
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(image), "Alva")
	put(t, f, status, 1)
	require.NoError(t, f.Remove(status, id(1)))
	image, err = os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(image), "Alva", "nor those of a small file")
}

func TestFile_Compact_keepsAllAndNothingElse(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	for n := range 20 {
		put(t, f, []message.Type{updates, status}[n%2], n)
	}
	require.NoError(t, f.SetAside(updates, id(4), "no"))
	require.NoError(t, f.Mark(message.Queued{Outgoing: outgoing(updates, 6), After: "1-1", Posted: true}))
	require.NoError(t, f.Remove(updates, id(8)))
	before, stats := list(t, f), f.Stats()
	require.NoError(t, f.Compact())
	require.Equal(t, before, list(t, f))
	require.Equal(t, stats, f.Stats())
	require.NoError(t, f.Close())
	f = openAny(t, path, outbox.Options{})
	require.Equal(t, before, list(t, f))
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(image), string(body(8)))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 2, fmt.Sprint(entries))
}

package outbox_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

func TestOpen_fileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	requireMode := func() {
		t.Helper()
		for _, name := range []string{path, path + ".lock"} {
			info, err := os.Stat(name)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode(), name)
		}
	}
	requireMode()
	require.NoError(t, f.Close())
	require.NoError(t, os.Chmod(path, 0o644))
	open(t, path)
	requireMode()
}

func TestOpen_pathThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")))
	for path, cure := range map[string]string{
		"":                                 "name a file",
		dir:                                "not a regular file; name a file",
		filepath.Join(dir, "no", "o.db"):   "make the directory",
		filepath.Join(dir, "dangling"):     "leads nowhere",
		filepath.Join(dir, "a\x00b"):       "invalid argument",
		filepath.Join(dir, "dangling", ""): "leads nowhere",
	} {
		f, err := outbox.Open(path, outbox.Options{})
		require.Nil(t, f)
		require.Contains(t, failure(t, err).Error(), cure)
		require.Contains(t, err.Error(), "outbox: open "+path)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing was made: %v", entries)
}

// Only who has the lock looks at the file: of several that start at once on a
// damaged one, nobody sets the new one aside.
func TestOpen_atOnceOnADamagedFile(t *testing.T) {
	t.Parallel()
	image := lame(t)
	for range 20 {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, image, 0o600))
		files := make([]*outbox.File, 6)
		var wg sync.WaitGroup
		for i := range files {
			wg.Go(func() {
				for files[i] == nil {
					f, err := outbox.Open(path, outbox.Options{Logger: silent})
					if err != nil && !errors.Is(err, outbox.ErrInUse) {
						t.Error(err)
						return
					}
					if files[i] = f; f != nil {
						if err := errors.Join(f.Put(outgoing(updates, i), ""), f.Close()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		aside, err := filepath.Glob(path + ".set-aside-*")
		require.NoError(t, err)
		require.Len(t, aside, 1)
		require.Len(t, list(t, openAny(t, path, outbox.Options{})), len(files))
	}
}

func TestOpen_symbolicLinkIsItsFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	link := filepath.Join(t.TempDir(), "link.db")
	f := open(t, path)
	put(t, f, updates, 1)
	require.NoError(t, os.Symlink(path, link))
	_, err := outbox.Open(link, outbox.Options{})
	require.ErrorIs(t, err, outbox.ErrInUse)
	require.NoError(t, f.Close())
	f = open(t, link)
	require.Equal(t, path, f.Path())
	require.Equal(t, 1, f.Stats().Len)
}

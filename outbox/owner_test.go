//go:build unix

package outbox_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

func TestOpen_emptyFileOfOthersModeIsClosedToThem(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	require.NoError(t, os.Chmod(path, 0o644))
	open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestOpen_fileOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	image, _ := used(t)
	for _, content := range [][]byte{nil, image, lame(t)} {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Chown(path, 65534, 65534))
		_, err := outbox.Open(path, outbox.Options{})
		require.Contains(t, failure(t, err).Error(), "belongs to user 65534")
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, now))
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestOpen_damagedFileIsClosedToOthersBeforeItIsSetAside(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, lame(t), 0o644))
	require.NoError(t, os.Chmod(path, 0o644))
	f := openAny(t, path, outbox.Options{})
	info, err := os.Stat(asideFile(f))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestOpen_linkInPlaceOfTheHoldersNameIsReplaced(t *testing.T) {
	t.Parallel()
	path, other := newPath(t), filepath.Join(t.TempDir(), "other")
	for _, link := range []func(string, string) error{os.Link, os.Symlink} {
		require.NoError(t, os.WriteFile(other, []byte("precious"), 0o600))
		require.NoError(t, link(other, path+".lock"))
		f := open(t, path)
		require.NoError(t, f.Close())
		kept, err := os.ReadFile(other)
		require.NoError(t, err)
		require.Equal(t, "precious", string(kept))
	}
}

func TestOpen_withoutTheHoldersNameItIsInUseAllTheSame(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	put(t, f, updates, 1)
	require.NoError(t, os.Remove(path+".lock"))
	requireInUse(t, path, 0)
	require.Empty(t, asideFile(f))
	put(t, f, updates, 2)
}

// A listing is for looking only, also at a file that a process has.
func TestRead_touchesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	for n := range 30 {
		put(t, f, updates, n)
	}
	require.NoError(t, f.SetAside(updates, id(3), "no"))
	require.NoError(t, f.Remove(updates, id(5)))
	want := list(t, f)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(path, long, long))
	require.NoError(t, os.Chmod(path, 0o640))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)

	records, err := outbox.Read(path)
	require.NoError(t, err)
	require.Equal(t, want, records)

	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(long))
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	now, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, now, len(names))
}

// Each reading is one state of the file: records one after the other.
func TestRead_whileRecordsComeAndGo(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	put(t, f, updates, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; n < 200; n++ {
			if f.Put(outgoing(updates, n), "") != nil || n > 5 && f.Remove(updates, id(n-5)) != nil {
				t.Error("not written")
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		records, err := outbox.Read(path)
		if err != nil {
			require.ErrorContains(t, err, "changes all the time")
			continue
		}
		require.NotEmpty(t, records)
		require.LessOrEqual(t, len(records), 7)
	}
}

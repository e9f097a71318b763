package outbox_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"

	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

// format1.db.gz was written by the first version of this package: six records,
// of which the first is removed, the third posted and the fifth has a place in
// the stream.
func TestOpen_format1KeepsItsRecords(t *testing.T) {
	t.Parallel()
	if os.Getpagesize() != 4096 {
		t.Skip("the file has pages of 4 KB, as the computer has that wrote it")
	}
	packed, err := os.ReadFile("testdata/format1.db.gz")
	require.NoError(t, err)
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	image, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, image, 0o600))
	read, err := outbox.Read(path)
	require.NoError(t, err)
	require.Len(t, read, 5)
	for range 2 { // the second time it is of the new format
		f := open(t, path)
		records := list(t, f)
		require.ElementsMatch(t, read, records)
		require.Equal(t, outgoing(updates, 2), records[0].Outgoing)
		require.True(t, records[0].Posted)
		require.Equal(t, outgoing(updates, 4), records[1].Outgoing)
		require.Equal(t, "1700000000000-12", records[1].After)
		require.NoError(t, f.Close())
	}
	f := open(t, path)
	require.NoError(t, f.SetAside(updates, id(2), "refused"))
	require.Equal(t, 4, f.Len())
}

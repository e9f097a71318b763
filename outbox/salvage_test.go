package outbox_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
)

// Each page of a file is damaged in turn. What is whole comes back in order and
// once, the rest is told.
func TestFile_Salvage_eachPageDamaged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := open(t, path)
	for n := range 60 {
		if n%10 == 9 {
			continue // the large ones have pages of their own
		}
		put(t, f, []message.Type{updates, status}[n%2], n)
		if n%4 == 0 {
			first, err := f.First(all, updates, status)
			require.NoError(t, err)
			require.NoError(t, f.Remove(first.Type, first.ID))
		}
	}
	require.NoError(t, f.SetAside(updates, id(30), "no"))
	require.NoError(t, f.SetAside(status, id(31), "no"))
	earlier, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Mark(marks(updates, 40, "1-1", true)))
	require.NoError(t, f.SetAside(updates, id(42), "no"))
	require.NoError(t, f.Requeue(updates, id(30)))
	require.NoError(t, f.Remove(status, id(51)))
	records, err := outbox.Read(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	order := map[string]int{}
	for i, r := range records {
		order[r.ID] = i
	}

	unit := os.Getpagesize()
	ne := binary.NativeEndian
	newest := image[16:]
	if second := image[unit+16:]; ne.Uint64(second[48:]) > ne.Uint64(newest[48:]) {
		newest = second
	}
	root := int(ne.Uint64(newest[16:])) * unit
	box := newPath(t)
	f = open(t, box)
	require.NoError(t, f.Put(outgoing(status, 53), ""), "it is in both")
	require.NoError(t, f.Put(outgoing(status, 1000), ""))
	require.NoError(t, f.Close())
	boxImage, err := os.ReadFile(box)
	require.NoError(t, err)
	for name, spoil := range map[string]func(page []byte, at int){
		"zeros": func(page []byte, _ int) { clear(page) },
		"the next page with this one's number": func(page []byte, at int) {
			copy(page, image[(at+unit)%len(image):][:unit])
			ne.PutUint64(page, uint64(at/unit))
		},
		"as it was before": func(page []byte, at int) {
			copy(page, earlier[min(at, len(earlier)-unit):][:unit])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			aside := path + ".set-aside-20310506T170000.000Z"
			var lost int
			for at := 0; at < len(image); at += unit {
				damaged := bytes.Clone(image)
				spoil(damaged[at:at+unit], at)
				require.NoError(t, os.WriteFile(aside, damaged, 0o600))
				require.NoError(t, os.WriteFile(path, boxImage, 0o600))
				f, err := outbox.Open(path, outbox.Options{Logger: silent})
				require.NoError(t, err)
				done, err := f.Salvage(aside)
				require.NoError(t, err, "page %d", at/unit)
				require.NoFileExists(t, aside)
				got := list(t, f)
				require.Equal(t, done.Records+2, len(got))
				if done.Damage != nil {
					logcheck.Clean(t, "damage", done.Damage.Error())
				}
				seen := map[string]bool{}
				last := map[message.Type]int{}
				for _, r := range got {
					require.False(t, seen[r.ID], "page %d: %s is there twice", at/unit, r.ID)
					seen[r.ID] = true
					var n int
					_, err := fmt.Sscanf(r.ID, "00000000-0000-4000-8000-%d", &n)
					require.NoError(t, err)
					require.Equal(t, body(n), r.Body)
					i, known := order[r.ID]
					if r.State != outbox.Waiting || !known || r.ID == id(30) || r.ID == id(53) {
						continue
					}
					require.LessOrEqual(t, last[r.Type], i, "page %d: %s is out of order", at/unit, r.ID)
					last[r.Type] = i
				}
				missing := slices.DeleteFunc(slices.Clone(records), func(r outbox.Record) bool { return seen[r.ID] })
				if len(missing) > 0 {
					require.Error(t, done.Damage, "page %d", at/unit)
					lost++
				}
				if at == root {
					require.Empty(t, missing, "the state before the last change has them")
					require.ErrorContains(t, done.Damage, "last change may be undone")
				}
				require.NoError(t, f.Close())
				require.NoError(t, os.Remove(done.Name))
			}
			require.Positive(t, lost)
		})
	}
}

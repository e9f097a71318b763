package outbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A file is a list for each type, whatever is done and however often it is
// closed in between.
func TestFile_isAListForEachType(t *testing.T) {
	t.Parallel()
	types := []message.Type{updates, status, "own"}
	base := t.TempDir()
	var files int
	rapid.Check(t, func(rt *rapid.T) {
		files++
		path := filepath.Join(base, fmt.Sprint(files))
		f, err := outbox.Open(path, outbox.Options{MaxBytes: 100_000})
		require.NoError(rt, err)
		defer func() { _ = f.Close(); _ = os.Remove(path) }()
		model := map[message.Type][]outbox.Record{}
		var bytes int64
		anyType := rapid.SampledFrom(types)
		anyRecord := func(rt *rapid.T) *outbox.Record {
			queue := model[anyType.Draw(rt, "type")]
			if len(queue) == 0 {
				rt.Skip("empty")
			}
			return &queue[rapid.IntRange(0, len(queue)-1).Draw(rt, "place")]
		}
		var n int
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				n++
				r := outbox.Record{State: outbox.Waiting}
				r.ID, r.Type = id(n), anyType.Draw(rt, "type")
				r.Body = make([]byte, rapid.SampledFrom([]int{0, 100, 1000, 5000, 30_000}).Draw(rt, "size"))
				r.After = rapid.SampledFrom([]string{"", "1-1", "1700000000000-0"}).Draw(rt, "after")
				for i := range r.Body {
					r.Body[i] = byte(n + i)
				}
				size := int64(17 + len(r.ID) + len(r.After) + len(r.Body))
				err := f.Put(r.Outgoing, r.After)
				if bytes+size > 100_000 {
					require.ErrorIs(rt, err, outbox.ErrFull)
					return
				}
				require.NoError(rt, err)
				model[r.Type] = append(model[r.Type], r)
				bytes += size
			},
			"put again": func(rt *rapid.T) {
				r := anyRecord(rt)
				require.NoError(rt, f.Put(message.Outgoing{ID: r.ID, Type: r.Type, Body: []byte("other")}, ""))
			},
			"mark": func(rt *rapid.T) {
				r := anyRecord(rt)
				marked := r.Queued
				marked.After = rapid.SampledFrom([]string{"", "2-2", "1700000000001-17"}).Draw(rt, "after")
				marked.Posted, marked.Heard = rapid.Bool().Draw(rt, "posted"), rapid.Bool().Draw(rt, "heard")
				require.NoError(rt, f.Mark(marked))
				bytes += int64(len(marked.After) - len(r.After))
				r.Queued = marked
			},
			"remove": func(rt *rapid.T) {
				r := *anyRecord(rt)
				queue := model[r.Type]
				require.NoError(rt, f.Remove(r.Type, r.ID))
				model[r.Type] = slices.DeleteFunc(slices.Clone(queue), func(q outbox.Record) bool { return q.ID == r.ID })
				bytes -= int64(17 + len(r.ID) + len(r.After) + len(r.Body))
			},
			"reopen": func(rt *rapid.T) {
				require.NoError(rt, f.Close())
				f, err = outbox.Open(path, outbox.Options{MaxBytes: 100_000})
				require.NoError(rt, err)
				require.Empty(rt, notice(f))
			},
			"": func(rt *rapid.T) {
				require.Equal(rt, bytes, f.Stats().Bytes)
				listed := map[message.Type][]outbox.Record{}
				for r, err := range f.All() {
					require.NoError(rt, err)
					require.NotZero(rt, r.PutAt)
					r.PutAt = time.Time{}
					listed[r.Type] = append(listed[r.Type], r)
				}
				for _, typ := range types {
					require.Equal(rt, len(model[typ]), f.Stats(typ).Len)
					require.Len(rt, listed[typ], len(model[typ]))
					first, err := f.First(all, typ)
					require.NoError(rt, err)
					if len(model[typ]) == 0 {
						require.Zero(rt, first)
						continue
					}
					require.Equal(rt, model[typ], listed[typ])
					first.PutAt = time.Time{}
					require.Equal(rt, model[typ][0].Queued, first)
				}
			},
		})
	})
}

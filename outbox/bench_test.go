package outbox_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// BenchmarkPut compares Put with what a service would write on bbolt alone for
// the same bytes: an Update with the next number of a bucket as the key. Two
// syncs of the disk are the cost of both; compare medians of several runs.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{500, 75_000, 250_000} {
		body := make([]byte, size)
		b.Run(fmt.Sprintf("%d/bbolt", size), func(b *testing.B) {
			db, err := bbolt.Open(newPath(b), 0o600, nil)
			require.NoError(b, err)
			defer db.Close()
			b.SetBytes(int64(size))
			for b.Loop() {
				err := db.Update(func(tx *bbolt.Tx) error {
					bucket, err := tx.CreateBucketIfNotExists([]byte(updates))
					if err != nil {
						return err
					}
					n, err := bucket.NextSequence()
					if err != nil {
						return err
					}
					return bucket.Put(binary.BigEndian.AppendUint64(nil, n), body)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/outbox", size), func(b *testing.B) {
			f := openAny(b, newPath(b), outbox.Options{MaxBytes: -1})
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := f.Put(message.Outgoing{ID: message.NewID(), Type: updates, Body: body}, "1700000000000-0"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen reads a full file of status messages: the cost of a start.
func BenchmarkOpen(b *testing.B) {
	path := newPath(b)
	f := openAny(b, path, outbox.Options{})
	for n := range 200 {
		require.NoError(b, f.Put(message.Outgoing{ID: id(n), Type: updates, Body: make([]byte, 300_000)}, ""))
	}
	require.NoError(b, f.Close())
	b.SetBytes(200 * 300_000)
	for b.Loop() {
		f, err := outbox.Open(path, outbox.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

package outbox_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// BenchmarkPut compares Put with what a service would write on bbolt alone for
// the same bytes: an Update with the next number of a bucket as the key. The
// disk's syncs are the cost of both, and they vary more than the two differ, so
// the two take turns; ratio is that of the rates.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{500, 75_000, 250_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			body := make([]byte, size)
			db, err := bbolt.Open(newPath(b), 0o600, nil)
			require.NoError(b, err)
			defer db.Close()
			bare := func() error {
				return db.Update(func(tx *bbolt.Tx) error {
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
			}
			f := openAny(b, newPath(b), outbox.Options{MaxBytes: -1})
			ours := func() error {
				return f.Put(message.Outgoing{ID: message.NewID(), Type: updates, Body: body}, "1700000000000-0")
			}
			var times [2][]time.Duration
			for b.Loop() {
				for i, put := range []func() error{bare, ours} {
					start := time.Now()
					if err := put(); err != nil {
						b.Fatal(err)
					}
					times[i] = append(times[i], time.Since(start))
				}
			}
			bareTime, ourTime := middle(times[0]), middle(times[1])
			b.ReportMetric(bareTime, "bbolt-ns")
			b.ReportMetric(ourTime, "outbox-ns")
			b.ReportMetric(bareTime/ourTime, "ratio")
		})
	}
}

// BenchmarkOpen opens a file that is nearly full: the cost of a start.
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

// middle is the mean, in nanoseconds, without the fastest and the slowest tenth:
// bbolt writes one to four records of this size at a time, by turns, so that a
// median jumps.
func middle(times []time.Duration) float64 {
	slices.Sort(times)
	tenth := len(times) / 10
	times = times[tenth : len(times)-tenth]
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	return float64(sum) / float64(len(times))
}

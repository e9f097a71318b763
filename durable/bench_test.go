package durable_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// beside runs both in slices of n operations, one after the other and in
// turning order, and reports the median of their ratios of rates: above 1 ours
// is faster. b.N is the number of pairs.
func beside(b *testing.B, n int, prepare func(), ours, raw func(n int)) {
	b.Helper()
	timed := func(f func(int)) time.Duration {
		prepare()
		began := time.Now()
		f(n)
		return time.Since(began)
	}
	timed(ours) // scripts loaded, connections made
	timed(raw)
	ratios := make([]float64, 0, b.N)
	var total time.Duration
	b.ResetTimer()
	for i := range b.N {
		var o, r time.Duration
		if i%2 == 0 {
			o = timed(ours)
			r = timed(raw)
		} else {
			r = timed(raw)
			o = timed(ours)
		}
		total += o
		ratios = append(ratios, r.Seconds()/o.Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(ratios[len(ratios)*3/4], "ratio75")
	b.ReportMetric(float64(total.Microseconds())/float64(b.N*n), "µs/message")
	b.ReportMetric(0, "ns/op")
}

// sized is a message of about so many bytes.
func sized(bytes int) message.Outgoing {
	m := outgoing(1)
	m.Body = fmt.Appendf(nil, `{"message_id":"id-0001","payload":%q}`, strings.Repeat("x", bytes))
	return m
}

func BenchmarkWriter_Append(b *testing.B) {
	for _, size := range []int{600, 75_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			conn := connect(b, realredis.Start(b).Addr())
			w := newWriter(b, conn, durable.WriterOptions{})
			m := sized(size)
			slice := min(2000, 40_000_000/size)
			beside(b, slice, func() {
				require.NoError(b, conn.Del(b.Context(), durable.StreamKey(channel)).Err())
			}, func(n int) {
				for range n {
					_, err := w.Append(b.Context(), channel, m, "")
					require.NoError(b, err)
				}
			}, func(n int) {
				for range n {
					var add *redis.StringCmd
					var heard *redis.IntCmd
					_, err := conn.TxPipelined(b.Context(), func(p redis.Pipeliner) error {
						add = p.XAdd(b.Context(), &redis.XAddArgs{
							Stream: durable.StreamKey(channel),
							Values: []any{"id", m.ID, "type", string(m.Type), "data", m.Body},
						})
						heard = p.Publish(b.Context(), channel, m.Body)
						return nil
					})
					require.NoError(b, err)
					_, _ = add.Val(), heard.Val()
				}
			})
		})
	}
}

// BenchmarkLease_ReadAndAck settles each batch before the next is read ("in
// turn"), as the raw side does, or while it is read ("meanwhile"), as a lane
// does that is fed by a reading goroutine.
func BenchmarkLease_ReadAndAck(b *testing.B) {
	for _, way := range []string{"in turn", "meanwhile"} {
		b.Run(way, func(b *testing.B) { benchmarkReadAndAck(b, way == "meanwhile") })
	}
}

func benchmarkReadAndAck(b *testing.B, meanwhile bool) {
	conn := connect(b, realredis.Start(b).Addr())
	const slice = 5000
	m := sized(600)
	key := durable.StreamKey(channel)
	l := acquire(b, newReader(b, conn, durable.ReaderOptions{}))
	_, err := l.Read(b.Context())
	require.NoError(b, err)
	require.NoError(b, conn.XGroupCreateMkStream(b.Context(), key, "raw", "0").Err())
	fill := func() {
		// What was meant for the other group goes.
		require.NoError(b, conn.XTrimMaxLen(b.Context(), key, 0).Err())
		p := conn.Pipeline()
		for range slice {
			p.XAdd(b.Context(), &redis.XAddArgs{Stream: key, Values: []any{"id", m.ID, "type", string(m.Type), "data", m.Body}})
		}
		_, err := p.Exec(b.Context())
		require.NoError(b, err)
	}
	beside(b, slice, fill, func(n int) {
		read := make(chan []durable.Entry, 1)
		settled := make(chan struct{})
		go func() {
			defer close(settled)
			for batch := range read {
				_ = l.Ack(b.Context(), batch...)
			}
		}()
		for n > 0 {
			batch, err := l.Read(b.Context())
			require.NoError(b, err)
			if meanwhile {
				read <- batch
			} else {
				require.NoError(b, l.Ack(b.Context(), batch...))
			}
			n -= len(batch)
		}
		close(read)
		<-settled
	}, func(n int) {
		for n > 0 {
			streams, err := conn.XReadGroup(b.Context(), &redis.XReadGroupArgs{
				Group: "raw", Consumer: "main", Streams: []string{key, ">"}, Count: 100, Block: time.Second,
			}).Result()
			require.NoError(b, err)
			batch := streams[0].Messages
			ids := make([]string, len(batch))
			for i := range batch {
				ids[i] = batch[i].ID
			}
			require.NoError(b, conn.XAck(b.Context(), key, "raw", ids...).Err())
			n -= len(batch)
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{600, 250_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			conn := connect(b, realredis.Start(b).Addr())
			w := newWriter(b, conn, durable.WriterOptions{MaxLen: -1, MaxBytes: -1})
			n := min(20_000, 50_000_000/size)
			for range n {
				_, err := w.Append(b.Context(), channel, sized(size), "")
				require.NoError(b, err)
			}
			key := durable.StreamKey(channel)
			beside(b, n, func() {}, func(n int) {
				seen := 0
				for e, err := range durable.Replay(b.Context(), conn, channel, durable.Position{}) {
					require.NoError(b, err)
					seen += min(len(e.Body), 1)
				}
				require.Equal(b, n, seen)
			}, func(n int) {
				start, seen := "-", 0
				for {
					batch, err := conn.XRangeN(b.Context(), key, start, "+", 100).Result()
					require.NoError(b, err)
					for _, m := range batch {
						seen += min(len(m.Values["data"].(string)), 1)
					}
					if len(batch) < 100 {
						break
					}
					start = "(" + batch[len(batch)-1].ID
				}
				require.Equal(b, n, seen)
			})
		})
	}
}

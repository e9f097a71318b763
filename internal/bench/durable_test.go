package bench_test

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

const benchGroup = "bench"

// durablePublish publishes into a stream of its own. Both sides begin each slice with an
// empty one, since the SDK's is bounded.
func durablePublish(t *testing.T, server *realredis.Server) *result {
	client := newClient(t, server, fogispubsub.Options{Publisher: publisher.Options{
		RequireReceivers: -1,
		Durable:          publisher.DurableOptions{Mode: publisher.DurableOn, NoRepeat: true},
		Channels:         map[message.Type]string{message.TypeProcessingStatus: sdkChannel},
	}})
	conn := newHand(t, handOptions(server))
	id, body := kept(t, status())
	empty := func(channel string) func(*testing.T, int) {
		return func(t *testing.T, _ int) {
			require.NoError(t, conn.Del(t.Context(), durable.StreamKey(channel)).Err())
		}
	}
	sdk := contender{prepare: empty(sdkChannel), work: func(t *testing.T, n int) {
		for range n {
			receipt, err := client.Publish(t.Context(), status())
			require.NoError(t, err)
			if receipt.Route != publisher.RouteStream {
				t.Fatalf("published by route %q", receipt.Route)
			}
		}
	}}
	hand := contender{prepare: empty(handChannel), work: func(t *testing.T, n int) {
		for range n {
			var added *redis.StringCmd
			_, err := conn.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
				added = tx.XAdd(t.Context(), &redis.XAddArgs{
					Stream: durable.StreamKey(handChannel),
					Values: []any{"id", id, "type", "processing_status", "data", body},
				})
				tx.Publish(t.Context(), handChannel, body)
				return nil
			})
			require.NoError(t, err)
			require.NotEmpty(t, added.Val())
		}
	}}
	return compare(t, sdk, hand, slice(1500, 10), slice(2, 1))
}

// kept is a message as it lies in a stream, with an ID of its own.
func kept(t *testing.T, p message.Payload) (id string, body []byte) {
	t.Helper()
	id = message.NewID()
	body, err := message.AppendEncode(nil, message.Header{
		ID: id, Source: source, Timestamp: message.Timestamp{Time: time.Now()}, Stream: true,
		Seq: message.Seq{Epoch: "0123456789abcdef", N: 100},
	}, p)
	require.NoError(t, err)
	return id, body
}

// consumer is one side of reading a stream in a group.
type consumer struct {
	gate    gate
	tally   *tally
	conn    *redis.Client
	channel string
}

func newConsumer(t *testing.T, server *realredis.Server, channel string) *consumer {
	t.Helper()
	c := &consumer{tally: newTally(), conn: newHand(t, handOptions(server)), channel: channel}
	t.Cleanup(c.gate.open)
	require.NoError(t, c.conn.Del(t.Context(), durable.StreamKey(channel)).Err())
	return c
}

// contender fills the stream while the reader is held back. The clock runs until
// the group has nothing pending.
func (c *consumer) contender() contender {
	key := durable.StreamKey(c.channel)
	return contender{
		prepare: func(t *testing.T, n int) {
			t.Helper()
			c.gate.shut()
			c.tally.expect(n)
			require.NoError(t, c.conn.XTrimMaxLen(t.Context(), key, 0).Err())
			pipe := c.conn.Pipeline()
			for range n {
				id, body := kept(t, status())
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{"id", id, "type", "processing_status", "data", body}})
			}
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
		},
		work: func(t *testing.T, _ int) {
			t.Helper()
			c.gate.open()
			c.tally.wait(t)
			for {
				pending, err := c.conn.XPending(t.Context(), key, benchGroup).Result()
				require.NoError(t, err)
				if pending.Count == 0 {
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		},
	}
}

// durableConsume compares a handler that does nothing with a loop that does not
// even look at what it reads.
func durableConsume(t *testing.T, server *realredis.Server) *result {
	sdk := newConsumer(t, server, sdkChannel)
	client := newClient(t, server, fogispubsub.Options{
		Redis: sdk.gate.guard,
		Subscriber: subscriber.Options{
			ChannelNames: map[message.Type]string{message.TypeProcessingStatus: sdkChannel},
			Durable:      subscriber.DurableOptions{Group: benchGroup},
		},
	})
	fogispubsub.On(client, func(context.Context, message.Message[message.ProcessingStatus]) error {
		sdk.tally.one()
		return nil
	})
	run(t, client)

	hand := newConsumer(t, server, handChannel)
	hand.loop(t, server)
	r := compare(t, sdk.contender(), hand.contender(), slice(4000, 20), slice(2, 1))
	require.Zero(t, client.Stats().Subscriber.Failed)
	return r
}

// loop is the hand-written reader.
func (c *consumer) loop(t *testing.T, server *realredis.Server) {
	t.Helper()
	key := durable.StreamKey(c.channel)
	options := handOptions(server)
	c.gate.guard(options)
	conn := newHand(t, options)
	require.NoError(t, c.conn.XGroupCreateMkStream(t.Context(), key, benchGroup, "0").Err())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			streams, err := conn.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: benchGroup, Consumer: "main", Streams: []string{key, ">"}, Count: 100, Block: 100 * time.Millisecond,
			}).Result()
			if errors.Is(err, redis.Nil) {
				continue
			}
			if err != nil {
				ended <- err
				return
			}
			ids := make([]string, 0, 100)
			for _, m := range streams[0].Messages {
				if _, ok := m.Values["data"].(string); ok {
					c.tally.one()
				}
				ids = append(ids, m.ID)
			}
			if err := conn.XAck(ctx, key, benchGroup, ids...).Err(); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	t.Cleanup(func() {
		c.gate.open()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			require.NoError(t, err)
		}
	})
}

// durableReplay compares Replay with XRANGE in batches of the same size, both
// with the SDK's decoding. The stream holds 1 000 snapshots of 40 matches.
func durableReplay(t *testing.T, server *realredis.Server) *result {
	const batch = 16 // 4 MB
	key := durable.StreamKey(sdkChannel)
	conn := newHand(t, handOptions(server))
	snapshot := message.MatchUpdates{}
	for n := range 40 {
		match, err := message.ParseMatch(rawMatch(n))
		require.NoError(t, err)
		snapshot.Matches = append(snapshot.Matches, match)
	}
	require.NoError(t, conn.Del(t.Context(), key).Err())
	for range slice(1000, 20) {
		id, body := kept(t, snapshot)
		require.NoError(t, conn.XAdd(t.Context(), &redis.XAddArgs{
			Stream: key, Values: []any{"id", id, "type", "match_updates", "data", body},
		}).Err())
	}
	defer conn.Del(context.Background(), key)

	decode := func(t *testing.T, body []byte) {
		e, err := message.Decode(body)
		require.NoError(t, err)
		require.Equal(t, message.TypeMatchUpdates, e.Type)
	}
	var peak, base uint64
	sample := func(n int) {
		if n%32 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}
	replay := func(t *testing.T, n int, look func(int)) {
		got := 0
		for e, err := range durable.Replay(t.Context(), conn, sdkChannel, durable.Position{}) {
			require.NoError(t, err)
			decode(t, e.Body)
			got++
			if look != nil {
				look(got)
			}
		}
		require.Equal(t, n, got)
	}
	hand := func(t *testing.T, n int) {
		start, got := "-", 0
		for {
			messages, err := conn.XRangeN(t.Context(), key, start, "+", batch).Result()
			require.NoError(t, err)
			for _, m := range messages {
				data, _ := m.Values["data"].(string)
				decode(t, []byte(data))
			}
			if got += len(messages); len(messages) < batch {
				break
			}
			start = "(" + messages[len(messages)-1].ID
		}
		require.Equal(t, n, got)
	}
	n := slice(1000, 20)
	r := compare(t,
		contender{work: func(t *testing.T, n int) { replay(t, n, nil) }},
		contender{work: hand}, n, 1)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base = m.HeapInuse
	replay(t, n, sample)
	r.fact("heap in use at most %.0f MB while %.0f MB are replayed, of which %.0f MB were in use before", mega(peak), mega(uint64(n))*float64(len(mustKept(t, snapshot))), mega(base))
	return r
}

func mustKept(t *testing.T, p message.Payload) []byte {
	_, body := kept(t, p)
	return body
}

func mega(n uint64) float64 { return float64(n) / 1e6 }

// outboxPut compares a put with one write of the same bytes into a bucket.
func outboxPut(t *testing.T, _ *realredis.Server) *result {
	_, body := kept(t, rawSnapshot())
	dir := t.TempDir()
	var file *outbox.File
	var db *bbolt.DB
	sdk := contender{
		prepare: func(t *testing.T, _ int) {
			if file != nil {
				require.NoError(t, file.Close())
			}
			var err error
			file, err = outbox.Open(filepath.Join(dir, message.NewID()), outbox.Options{MaxBytes: -1})
			require.NoError(t, err)
		},
		work: func(t *testing.T, n int) {
			for range n {
				require.NoError(t, file.Put(message.Outgoing{ID: message.NewID(), Type: message.TypeMatchUpdates, Body: body}, ""))
			}
		},
	}
	hand := contender{
		prepare: func(t *testing.T, _ int) {
			if db != nil {
				require.NoError(t, db.Close())
			}
			var err error
			db, err = bbolt.Open(filepath.Join(dir, message.NewID()), 0o600, nil)
			require.NoError(t, err)
		},
		work: func(t *testing.T, n int) {
			for range n {
				require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
					bucket, err := tx.CreateBucketIfNotExists([]byte("match_updates"))
					if err != nil {
						return err
					}
					n, err := bucket.NextSequence()
					if err != nil {
						return err
					}
					return bucket.Put(binary.BigEndian.AppendUint64(nil, n), body)
				}))
			}
		},
	}
	r := compare(t, sdk, hand, slice(40, 5), 1)
	require.NoError(t, errors.Join(file.Close(), db.Close()))
	return r
}

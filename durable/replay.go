package durable

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Position is a place in a stream from which to replay. Zero is the beginning
// of what is retained.
type Position struct{ start string }

// Since is the place of the first entry that the server took at t or later, by
// its own clock.
func Since(t time.Time) Position {
	return Position{strconv.FormatInt(max(t.UnixMilli(), 0), 10)}
}

// After is the place behind the entry with this stream ID, which need not exist
// any more.
func After(streamID string) Position { return Position{"(" + streamID} }

// replayBytes is what a batch of Replay may hold, by the mean of the one
// before.
const replayBytes = 4 << 20

// Replay reads the channel's stream from a position to its end, oldest first,
// without a group and without an effect on those that read with one. Ranging
// again reads again. One batch is held at a time, some MiB; an entry's Body
// stays valid. After an error, which is an [*Error] or a refused name, the
// range is over; go on with [After] the last entry.
func Replay(ctx context.Context, conn redis.UniversalClient, channel string, from Position) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		start := from.start
		if start == "" {
			start = "-"
		}
		if err := CheckChannel(channel); err != nil {
			yield(Entry{}, err)
			return
		}
		for m, err := range scan(ctx, conn, channel, StreamKey(channel), start) {
			if err != nil {
				yield(Entry{}, fail("replay", channel, "", replayRights, err))
				return
			}
			if !yield(newEntry(m), nil) {
				return
			}
		}
	}
}

// Latest returns the newest message of a channel's stream, by the order of
// publishing: a requeued dead letter is not the newest. found is false when
// there is none.
func Latest(ctx context.Context, conn redis.UniversalClient, channel string) (latest Entry, found bool, err error) {
	if err := CheckChannel(channel); err != nil {
		return Entry{}, false, err
	}
	node, err := topology.Node(ctx, conn, channel)
	for upper := "+"; err == nil; {
		var messages []redis.XMessage
		messages, err = node.XRevRangeN(ctx, StreamKey(channel), upper, "-", 1).Result()
		if err != nil {
			break
		}
		if len(messages) == 0 {
			return latest, found, nil
		}
		e := newEntry(messages[0])
		if !found || newer(e.place(), latest.place()) {
			latest, found = e, true
		}
		if e.Origin == "" {
			return latest, true, nil
		}
		upper = "(" + e.StreamID
	}
	return Entry{}, false, fail("read", channel, "", replayRights, err)
}

// scan reads a stream from start in batches of some bytes, until one is not
// full.
func scan(ctx context.Context, conn redis.UniversalClient, channel, key, start string) iter.Seq2[redis.XMessage, error] {
	return func(yield func(redis.XMessage, error) bool) {
		count := firstBatch
		for {
			if err := ctx.Err(); err != nil {
				yield(redis.XMessage{}, err)
				return
			}
			node, err := topology.Node(ctx, conn, channel)
			if err != nil {
				yield(redis.XMessage{}, err)
				return
			}
			batch, err := node.XRangeN(ctx, key, start, "+", int64(count)).Result()
			if err != nil {
				topology.Refresh(ctx, conn, err)
				yield(redis.XMessage{}, err)
				return
			}
			size := 0
			for _, m := range batch {
				data, _ := m.Values["data"].(string)
				size += len(data)
				if !yield(m, nil) {
					return
				}
			}
			if len(batch) < count {
				return
			}
			start = "(" + batch[len(batch)-1].ID
			count = nextBatch(replayBytes, maxBatch, len(batch), size, count)
		}
	}
}

package durable

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// After so many appends, or so many bytes, a stream's size is looked at.
const (
	trimAppends = 100
	trimBytes   = 4 << 20
)

// trim bounds a stream by number and memory. What an outage kept it from is
// done after the next append.
func (w *Writer) trim(ctx context.Context, node redis.UniversalClient, channel string) {
	removed, err := w.bound(ctx, node, StreamKey(channel))
	refused := false
	if err != nil {
		e := w.fail(ctx, "trim", channel, err)
		refused, err = e.Refused, e
	}
	if err == nil || refused {
		w.mu.Lock()
		if s := w.streams[channel]; s != nil {
			s.appends, s.bytes = 0, 0
		}
		w.mu.Unlock()
	}
	if w.opts.OnTrim != nil && (removed > 0 || err != nil) {
		w.opts.OnTrim(channel, removed, err)
	}
}

func (w *Writer) bound(ctx context.Context, node redis.UniversalClient, key string) (removed int64, err error) {
	// Entries differ in size, so that one cut by their mean may not do.
	for range 4 {
		length, used, err := measure(ctx, node, key)
		if err != nil {
			return removed, err
		}
		keep := length
		if w.opts.MaxLen > 0 {
			keep = min(keep, int64(w.opts.MaxLen))
		}
		large := w.opts.MaxBytes > 0 && used > w.opts.MaxBytes
		if large {
			keep = min(keep, int64(float64(length)*float64(w.opts.MaxBytes)/float64(used)))
		}
		keep = max(keep, 1)
		if keep >= length {
			return removed, nil
		}
		n, err := node.XTrimMaxLen(ctx, key, keep).Result()
		removed += n
		if err != nil || !large {
			return removed, err
		}
	}
	return removed, nil
}

// measure asks for the entries of a stream and the memory that it takes, by
// all of its nodes and not by a sample: entries differ a hundredfold.
func measure(ctx context.Context, node redis.UniversalClient, key string) (length, bytes int64, err error) {
	both := node.Pipeline()
	n, used := both.XLen(ctx, key), both.MemoryUsage(ctx, key, 0)
	if err := topology.Exec(ctx, both); err != nil {
		return 0, 0, err
	}
	if n.Err() != nil {
		return 0, 0, n.Err()
	}
	if redis.HasErrorPrefix(used.Err(), "ERR syntax") || redis.HasErrorPrefix(used.Err(), "syntax") {
		used = node.MemoryUsage(ctx, key) // miniredis knows no SAMPLES
	}
	if used.Err() == redis.Nil {
		return n.Val(), 0, nil
	}
	return n.Val(), used.Val(), used.Err()
}

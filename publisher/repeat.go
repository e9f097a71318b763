package publisher

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// repeated is the type whose newest message is repeated: a snapshot says all
// that those before it said.
const repeated = message.TypeMatchUpdates

const (
	repeatPoll  = 2 * time.Second
	repeatEvery = 10 * time.Second
)

// newest is what a lane knows of the newest message of the type repeated that this
// process put into the stream.
type newest struct {
	id string // guarded by the lane's lock
	// heard is one more than its listeners, or than those seen later if they were
	// more; zero if not known.
	heard atomic.Int64
}

func (n *newest) sent(id string, receivers int64) {
	n.id = id
	n.heard.Store(receivers + 1)
}

// repeat publishes the newest snapshot once more whenever the channel has got
// listeners since it was sent. A process that has sent none has nothing to repeat,
// unless an earlier one left an outbox.
func (p *Publisher) repeat(ctx context.Context, l *lane) {
	poll := time.NewTicker(repeatPoll)
	defer poll.Stop()
	due := false
	for {
		if p.streams.on() && (l.newest.heard.Load() > 0 || p.opts.Outbox != nil) {
			n, err := p.listeners(ctx, l.channel)
			if err != nil {
				n = 0
			}
			heard := l.newest.heard.Swap(n + 1)
			due = due || heard > 0 && n+1 > heard
		}
		if due && p.repeatNewest(ctx, l) {
			due = false
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func (p *Publisher) listeners(ctx context.Context, channel string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pingInRun)
	defer cancel()
	node, err := topology.Node(ctx, p.conn, channel)
	if err != nil {
		return 0, err
	}
	counts, err := node.PubSubNumSub(ctx, channel).Result()
	return counts[channel], err
}

// repeatNewest tells whether nothing is left to repeat. While a newer message
// than the stream's is on its way, or has gone by HTTP alone, the stream's must
// not follow it. A snapshot of another process is left to that process.
func (p *Publisher) repeatNewest(ctx context.Context, l *lane) bool {
	if _, err := l.lock(ctx); err != nil {
		return false
	}
	defer l.unlock()
	if l.behind || p.waiting(l) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultBudget)
	defer cancel()
	newest, found, err := durable.Latest(ctx, p.conn, l.channel)
	if err == nil && (!found || newest.Type != repeated || !p.isOwn(l, newest)) {
		return true
	}
	var receivers int64
	var claimed claim
	if err == nil {
		claimed, err = p.claim(ctx, l.channel)
	}
	if err == nil {
		switch claimed {
		case claimOther:
			return true
		case claimEarlier:
			return false
		}
		m := message.Outgoing{ID: newest.ID, Type: newest.Type, Body: newest.Body}.WithRepeat()
		receivers, err = p.publish(ctx, l, m.Body, false)
	}
	switch {
	case redis.IsPermissionError(err):
		p.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "newest snapshot not repeated; allow the Redis user +set on the key "+repeatKey(l.channel),
			slog.String("channel", l.channel), slog.Any("err", err))
		return true
	case err != nil:
		if !errors.Is(err, durable.ErrUnsupported) && ctx.Err() == nil {
			p.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "the newest snapshot could not be repeated",
				slog.String("channel", l.channel), slog.Any("err", err))
		}
		return false
	}
	p.mu.Lock()
	p.stats.Repeats++
	p.mu.Unlock()
	p.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "newest snapshot repeated for new listeners",
		slog.String("type", string(newest.Type)), slog.String("message_id", newest.ID), slog.String("channel", l.channel),
		slog.Int64("receivers", receivers))
	return true
}

// isOwn tells whether an entry is known to be the newest message on every route:
// this process put it there last. An earlier process that had the outbox, which is
// empty, sent nothing later than what the stream has of its source.
func (p *Publisher) isOwn(l *lane, e durable.Entry) bool {
	if l.newest.id != "" || p.opts.Outbox == nil {
		return e.ID == l.newest.id
	}
	decoded, err := message.Decode(e.Body)
	return err == nil && decoded.Source == p.opts.Source
}

// claim says who repeats when the number of listeners rises.
type claim int

const (
	claimOwn claim = iota
	// claimEarlier: this process did within repeatEvery, and will again.
	claimEarlier
	// claimOther: another process did within repeatEvery. It sees what comes later.
	claimOther
)

// repeatKey names a key that lives as long as the pause between two repeats.
func repeatKey(channel string) string { return "{" + channel + "}:repeat" }

// claim asks Redis whether to repeat, so that only one of several processes does.
func (p *Publisher) claim(ctx context.Context, channel string) (claim, error) {
	node, err := topology.Node(ctx, p.conn, channel)
	if err != nil {
		return 0, err
	}
	by, err := node.SetArgs(ctx, repeatKey(channel), p.epoch, redis.SetArgs{Mode: "NX", TTL: repeatEvery, Get: true}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return claimOwn, nil
	case err != nil:
		return 0, err
	case by == p.epoch:
		return claimEarlier, nil
	}
	return claimOther, nil
}

package publisher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// repeated is the type whose newest message is repeated: a snapshot says all
// that those before it said.
const repeated = message.TypeMatchUpdates

const (
	repeatPoll  = 2 * time.Second
	repeatEvery = 10 * time.Second
)

// repeat publishes the newest snapshot once more whenever the channel has got
// listeners. The number of them is taken as it is at first; where it could not
// be asked for, none are assumed.
func (p *Publisher) repeat(ctx context.Context, l *lane) {
	poll := time.NewTicker(repeatPoll)
	defer poll.Stop()
	known, due := false, false
	heard := int64(0)
	var last time.Time
	for {
		if p.streams.on() {
			n, err := p.listeners(ctx, l.channel)
			if err != nil {
				n = 0
			}
			due = due || known && n > heard
			heard, known = n, true
		}
		if due && time.Since(last) >= repeatEvery && p.repeatNewest(ctx, l) {
			due, last = false, time.Now()
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
// not follow it.
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
	if err == nil && (!found || newest.Type != repeated) {
		return true
	}
	var receivers int64
	if err == nil {
		m := message.Outgoing{ID: newest.ID, Type: newest.Type, Body: newest.Body}.WithRepeat()
		receivers, err = p.publish(ctx, l.channel, m.Body)
	}
	if err != nil {
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

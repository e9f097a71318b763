package publisher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
)

// age removes what is too old from the streams, also when nothing is published.
func (p *Publisher) age(ctx context.Context) {
	interval := p.streams.writer.AgeInterval()
	if interval <= 0 {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if _, open := p.breaker.openSince(); open {
			continue
		}
		for _, l := range p.lanes {
			if !p.streams.on() {
				return
			}
			_, err := p.streams.writer.Age(ctx, l.channel)
			if err != nil && ctx.Err() == nil && !errors.Is(err, durable.ErrUnsupported) {
				p.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "entries that are too old could not be removed",
					slog.String("channel", l.channel), slog.Any("err", err))
			}
		}
	}
}

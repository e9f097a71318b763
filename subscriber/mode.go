package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/PitchConnect/fogispubsub/durable"
)

// DurableState tells what has become of Options.Durable.
type DurableState string

// The states of durable mode.
const (
	DurableOff     DurableState = ""        // not asked for
	DurablePending DurableState = "pending" // under DurableOptions.Auto the server has not been asked yet
	DurableOn      DurableState = "on"
	// DurableUnsupported: under DurableOptions.Auto the server has no streams,
	// and messages are received as without Options.Durable.
	DurableUnsupported DurableState = "unsupported"
)

// choose asks under DurableOptions.Auto whether the server has streams, for as
// long as it takes. Nothing is subscribed before, so that no message has to wait
// for the answer.
func (r *run) choose(ctx context.Context) error {
	if len(r.followers) == 0 || !r.opts.Durable.Auto || r.s.durable.Load() {
		r.chosen.Store(true)
		return nil
	}
	f := r.followers[r.keepers[0].channels[0]]
	waits := fullJitter(reconnectDelay, reconnectDelayMax)
	for {
		err := f.reader.Check(ctx)
		failure, _ := errors.AsType[*durable.Error](err)
		switch {
		case err == nil:
			r.s.durable.Store(true)
			r.chosen.Store(true)
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, durable.ErrUnsupported):
			r.s.logs.logger.LogAttrs(ctx, slog.LevelWarn, "durable mode is not possible, messages that are published while nobody listens are lost",
				slog.Any("err", err))
			r.plain.Store(true)
			r.chosen.Store(true)
			return nil
		case failure != nil && failure.Refused, r.opts.NoReconnect:
			return fmt.Errorf("subscriber: %w", err)
		}
		f.noteFault(err)
		sleep(ctx, waits.NextBackOff(), nil)
	}
}

// follower reads the channel's stream; nil in plain mode.
func (r *run) follower(channel string) *follower {
	if r.plain.Load() {
		return nil
	}
	return r.followers[channel]
}

func (r *run) durableState() DurableState {
	switch {
	case len(r.followers) == 0:
		return DurableOff
	case !r.chosen.Load():
		return DurablePending
	case r.plain.Load():
		return DurableUnsupported
	}
	return DurableOn
}

package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// DurableMode says whether messages are kept in streams.
type DurableMode string

// The modes.
const (
	// DurableOff publishes only.
	DurableOff DurableMode = ""
	// DurableAuto keeps messages in streams unless the server turns out to have
	// none, before a message was ever kept: then it publishes only, and says so
	// in the log, in each receipt's route and in Stats.
	DurableAuto DurableMode = "auto"
	// DurableOn keeps messages in streams; a server that has none is an error.
	DurableOn DurableMode = "on"
)

// DurableOptions make a [Publisher] append each message to the stream of its
// channel, in one transaction with publishing it; see package durable. The zero
// value is off. Channel names may hold no braces.
type DurableOptions struct {
	Mode DurableMode

	// MaxAge, MaxLen and MaxBytes bound each stream, as
	// [durable.WriterOptions] says.
	MaxAge   time.Duration
	MaxLen   int
	MaxBytes int64

	// NoRepeat ends the legacy repeat. By default Run looks every two seconds
	// how many listeners match_updates has; when there are more than the newest
	// snapshot of this process had, it is published once more, under its ID, by
	// one process at most every ten seconds. So a service without streams that was down
	// when a snapshot came gets the state when it is back. Listeners of this
	// SDK know a repeat; the Python calendar skips matches that it has.
	NoRepeat bool
}

// streams is what a Publisher knows of keeping messages.
type streams struct {
	mode   DurableMode
	writer *durable.Writer // nil when off
	// worked tells that a message was kept, degraded that the server has no
	// streams: one of them is ever set.
	worked, degraded atomic.Bool
}

func newStreams(conn redis.UniversalClient, o Options) (*streams, error) {
	s := &streams{mode: o.Durable.Mode}
	switch s.mode {
	case DurableOff:
		if o.Durable != (DurableOptions{}) {
			return s, errors.New("Options.Durable has no Mode; set DurableAuto or DurableOn, or leave the others zero")
		}
		return s, nil
	case DurableAuto, DurableOn:
	default:
		return s, fmt.Errorf("Options.Durable.Mode: unknown mode %q; use DurableAuto or DurableOn", s.mode)
	}
	var faults []error
	for _, t := range slices.Sorted(maps.Keys(o.Channels)) {
		if channel := o.Channels[t]; channel != "" {
			faults = append(faults, durable.CheckChannel(channel))
		}
	}
	if o.Disabled || len(faults) > 0 && errors.Join(faults...) != nil || isNil(conn) {
		return s, errors.Join(faults...)
	}
	var err error
	s.writer, err = durable.NewWriter(conn, durable.WriterOptions{
		MaxAge: o.Durable.MaxAge, MaxLen: o.Durable.MaxLen, MaxBytes: o.Durable.MaxBytes,
		OnTrim: func(channel string, removed int64, err error) { logTrim(o.Logger, channel, removed, err) },
	})
	return s, err
}

// on tells whether messages are to be kept.
func (s *streams) on() bool { return s.writer != nil && !s.degraded.Load() }

// keep makes one attempt to append a message and publish it.
func (p *Publisher) keep(ctx context.Context, l *lane, m *parcel) (durable.Appended, error) {
	if m.mark == "" {
		// A later attempt must know where the first one can have written.
		mark, err := p.streams.writer.Mark(ctx, l.channel)
		if err != nil {
			if e, ok := errors.AsType[*durable.Error](err); ok {
				e.Unknown = false // it asked only
			}
			return durable.Appended{}, err
		}
		m.mark, l.seen = mark, mark
		if m.queued {
			if err := p.opts.Outbox.Mark(m.record()); err != nil {
				m.mark = ""
				return durable.Appended{}, &outboxError{err}
			}
		}
	}
	after := ""
	if m.tried {
		after = m.mark
	}
	kept, err := p.streams.writer.Append(ctx, l.channel, m.WithStream(), after)
	if err == nil {
		l.seen = kept.StreamID
	}
	return kept, err
}

// degrade leaves the streams for good when the server turns out to have none.
func (p *Publisher) degrade(ctx context.Context, l *lane, err error) bool {
	s := p.streams
	if s.mode != DurableAuto || s.worked.Load() || !errors.Is(err, durable.ErrUnsupported) {
		return false
	}
	if s.degraded.CompareAndSwap(false, true) {
		p.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "Redis has no streams, messages are published without being kept",
			slog.String("channel", l.channel), slog.Any("err", err))
	}
	return true
}

// classifyAppend tells what a failed attempt to keep a message means.
func classifyAppend(err error) outcome {
	if _, ok := err.(*outboxError); ok {
		return refused // asking Redis again is of no use
	}
	e, ok := errors.AsType[*durable.Error](err)
	switch {
	case !ok:
		return refused
	case e.Unknown:
		return unknown
	}
	kind := classify(e.Err)
	if kind == unknown { // the package knows better
		kind = outage
		if e.Refused {
			kind = refused
		}
	}
	return kind
}

func logTrim(logger *slog.Logger, channel string, removed int64, err error) {
	if err != nil {
		logger.Warn("the stream could not be trimmed", slog.String("channel", channel), slog.Any("err", err))
		return
	}
	logger.Debug("the oldest messages were trimmed from the stream", slog.String("channel", channel), slog.Int64("removed", removed))
}

// parcel is a message on its way, in whichever form.
type parcel struct {
	message.Outgoing
	// mark is a place in the stream that every attempt lies behind, "" before
	// the first one; tried tells that the stream may have the message.
	mark   string
	tried  bool
	queued bool // it is in the outbox
	// posted, refused and heard are those of [message.Queued].
	posted  bool
	refused string
	heard   bool
}

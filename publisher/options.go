package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Defaults of [Options].
const (
	DefaultSource     = "fogispubsub"
	DefaultBudget     = 5 * time.Second
	DefaultMaxRetries = 3
	DefaultRetryDelay = time.Second
)

// Options holds the settings of a [Publisher]. The zero value is ready to use.
type Options struct {
	// Source names the publishing service in every envelope; "" is
	// [DefaultSource].
	Source string

	// Channels gives the channel of a type in place of its default, and that
	// of types which have none.
	Channels map[message.Type]string

	// RequireReceivers is how many listeners Redis must have handed a
	// match_updates message to; fewer count as not delivered. Zero is 1,
	// negative turns the check off. Other types are never checked.
	RequireReceivers int

	// MaxMessageBytes bounds one encoded message: a larger one is refused with
	// [message.ErrInvalid], because a subscriber with default options would
	// not read it. Zero is [message.DefaultMaxBytes]; negative is no bound.
	MaxMessageBytes int

	// Budget bounds the whole Redis part of one Publish: connecting, every
	// attempt and the delays between them. Zero is [DefaultBudget]; negative is
	// no bound but the caller's context and the client's own time-outs. A type
	// with a fallback gets at most half of the time that the caller's context
	// leaves, so that the fallback has its turn.
	Budget time.Duration

	// MaxRetries is how often a PUBLISH that failed is sent again, RetryDelay
	// the pause before each time. Zero is [DefaultMaxRetries] and
	// [DefaultRetryDelay]; negative is no retry and no pause. A retry that
	// could not begin within the budget is not waited for. Attempts that met a
	// server whose place another one was taking, of a Cluster or by a failover,
	// follow after 50 ms, and for a second do not count.
	MaxRetries int
	RetryDelay time.Duration

	// NoRetryOnTimeout sends a message whose answer was lost to the next route
	// instead of to Redis again.
	NoRetryOnTimeout bool

	// Durable has messages kept in streams; see [DurableOptions]. Zero is off.
	Durable DurableOptions

	// Fallback takes the messages that Redis did not; nil is none. With Durable
	// it also gets a copy of each match_updates message that the stream has but
	// fewer than RequireReceivers listeners heard.
	Fallback Fallback
	// FallbackTypes are the types that may go there; nil is match_updates.
	FallbackTypes []message.Type

	// Outbox records the messages that Redis did not take at once, before
	// anything else is tried, and those behind them; nil is none. It is not
	// closed by the Publisher.
	Outbox Outbox

	// Disabled leaves Redis out: messages go straight to the fallback, or
	// nowhere ([RouteNone]) for a type without one.
	Disabled bool

	// Logger gets a line for each change of route, never a message's content.
	// nil is [slog.Default].
	Logger *slog.Logger
}

// Fallback is another way to the receivers.
type Fallback interface {
	// Notify returns nil only if the receiver accepted all of m; it may keep
	// m.Body. It is called for one message of a type at a time, and the next of
	// that type waits until it returns. It must return when ctx ends, and within a
	// bound of its own, because ctx may have no deadline: only the fallback knows how
	// slow its receiver may be. Its bound and Options.Budget together are the longest
	// that a Publish takes. While Run runs, no Publish waits for the copy of a message
	// that the stream has; the ctx of a copy ends when a newer message replaces it. An
	// error that wraps [message.ErrRefused] is final: the same message is not posted
	// again. An error must not quote the message.
	Notify(ctx context.Context, m message.Outgoing) error
}

// A PublishOption changes one call of [Publisher.Publish].
type PublishOption interface {
	apply(publishOptions) publishOptions
}

type publishOptions struct {
	id, mark string
	unknown  bool // an earlier attempt may have delivered it
}

// failed is an error of a message that nothing was done with by this call, so that a
// [Retry] of it is one of the earlier attempt.
func (o publishOptions) failed(e Error) *Error {
	if e.ID == "" {
		e.ID = o.id
	}
	e.Unknown, e.mark = o.unknown, o.mark
	return &e
}

type withID string

func (id withID) apply(publishOptions) publishOptions {
	return publishOptions{id: string(id)}
}

// WithID sends the message under this ID instead of a fresh one, so that
// receivers that have handled it know it again. A stream may get it a second
// time: after an error use [Retry]. "" is a fresh ID. The last WithID or Retry
// counts.
func WithID(id string) PublishOption { return withID(id) }

type retry struct{ err *Error }

func (r retry) apply(o publishOptions) publishOptions {
	if r.err == nil || r.err.ID == "" {
		return o
	}
	return publishOptions{id: r.err.ID, mark: r.err.mark, unknown: r.err.Unknown}
}

// Retry sends the message that failed with err again: under its ID, and into its
// stream only if no earlier attempt put it there. Give the same payload. Any err
// but an [*Error] changes nothing.
func Retry(err error) PublishOption {
	e, _ := errors.AsType[*Error](err)
	return retry{e}
}

// withDefaults replaces every zero by what it stands for, and negatives by
// what they switch off.
func (o Options) withDefaults() Options {
	if o.Source == "" {
		o.Source = DefaultSource
	}
	o.RequireReceivers = orDefault(o.RequireReceivers, 1)
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = message.DefaultMaxBytes
	}
	o.Budget = orDefault(o.Budget, DefaultBudget)
	o.MaxRetries = orDefault(o.MaxRetries, DefaultMaxRetries)
	o.RetryDelay = orDefault(o.RetryDelay, DefaultRetryDelay)
	if o.FallbackTypes == nil {
		o.FallbackTypes = []message.Type{message.TypeMatchUpdates}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	channels := make(map[message.Type]string)
	for _, t := range message.Types() {
		channels[t] = t.DefaultChannel()
	}
	maps.Copy(channels, o.Channels)
	o.Channels = channels
	return o
}

// orDefault is def for zero and zero for a negative, which means off.
func orDefault[N int | time.Duration](n, def N) N {
	if n == 0 {
		return def
	}
	return max(n, 0)
}

// validate reports every fault of options that have their defaults.
func (o Options) validate() error {
	var faults []error
	for _, t := range slices.Sorted(maps.Keys(o.Channels)) {
		if o.Channels[t] == "" {
			faults = append(faults, fmt.Errorf("Options.Channels: type %q has an empty channel; name one or leave the type out", t))
		}
	}
	if o.Fallback != nil {
		for _, t := range o.FallbackTypes {
			if o.Channels[t] == "" {
				faults = append(faults, fmt.Errorf("Options.FallbackTypes: type %q has no channel; add it to Options.Channels", t))
			}
		}
	}
	return errors.Join(faults...)
}

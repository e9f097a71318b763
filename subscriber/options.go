package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// Options are the settings of a Subscriber. The zero value is ready to use.
type Options struct {
	// Logger gets what an operator should know, never a message's contents.
	// Lines of one kind are limited to 20 at once and then one in 10 s with
	// the number held back. Nil means slog.Default().
	Logger *slog.Logger

	// ChannelNames names the channel of a type. A type that is not in it uses
	// its default channel, never both. Types that share a channel share a
	// session; a message of any other type that comes there is not handled.
	ChannelNames map[message.Type]string
	// Channels are read beside those of the types. They share one session, on
	// a Cluster at the node of the first one; their messages go to the lanes of
	// their types.
	Channels []string

	// PingInterval is the time between PINGs; the connection is given up when
	// nothing at all arrives for twice as long. Zero means 5 s.
	PingInterval time.Duration
	// ProbeInterval is how long a session may be without a message before it
	// must prove by a message to itself that Redis still delivers. Zero means
	// 30 s, negative never.
	ProbeInterval time.Duration
	// HandshakeTimeout bounds one attempt to connect and subscribe. Zero means
	// 5 s.
	HandshakeTimeout time.Duration
	// NoReconnect makes Run return the error of the first session that ends.
	NoReconnect bool

	// Concurrency is how many messages of one type are handled at a time.
	// Zero means 1; with more, their order is given up.
	Concurrency int
	// QueueMessages and QueueBytes bound what waits in a lane; one message
	// always fits. A full lane stops its session from reading. Zero means
	// 1 000 and 32 MiB.
	QueueMessages int
	QueueBytes    int64
	// MaxMessageBytes bounds one message; a larger one is counted as invalid.
	// Zero means message.DefaultMaxBytes.
	MaxMessageBytes int

	// MaxRetries is how often a message is given to its handler again after
	// an error. Zero means 3, negative never. The lane waits meanwhile.
	MaxRetries int
	// RetryDelay is the longest wait before the first retry, doubled for each
	// further one up to RetryDelayMax; the wait itself is random, up to that.
	// Zero means 200 ms and 5 s.
	RetryDelay    time.Duration
	RetryDelayMax time.Duration

	// DrainTimeout bounds how long Run finishes queued messages after its
	// context has ended. Run returns at most 2.5 s later. Zero means 7 s, so
	// that Run ends within the 10 s after which Docker kills; give the container
	// a longer stop_grace_period before you raise it. Negative means not at all.
	DrainTimeout time.Duration
	// DispatchTimeout bounds a Dispatch. Zero means 25 s, which is below the
	// 30 s after which the services give up a request.
	DispatchTimeout time.Duration

	// DedupeIDs and DedupeAge say, for each type, how many message IDs are
	// remembered at least after they were handled, and for how long at most.
	// Up to twice as many are. Zero means 10 000 and 24 h; negative DedupeIDs
	// means that no duplicate is recognised.
	DedupeIDs int
	DedupeAge time.Duration

	// Durable has streams read; see [DurableOptions]. Zero is off.
	Durable DurableOptions

	// Poll has match updates fetched another way while Redis is away or
	// disabled; see [PollOptions]. Zero is off.
	Poll PollOptions

	// Disabled makes Run open no connection. Dispatch and Poll work.
	Disabled bool

	// OnGap and OnResumed are called for what [Gap] and [Resumed] describe, on
	// the session's goroutine: it reads nothing until they return, so they
	// must not block. [Subscriber.Subscribed] waits for all sessions together.
	OnGap     func(Gap)
	OnResumed func(Resumed)
	// OnError is called for each message that was given up, also for those that
	// came by Dispatch. The lane waits until it returns; its context is that of
	// the handler. Undecodable messages are counted and logged, but not given
	// to it.
	OnError func(context.Context, *HandlerError)
}

// Defaults of [Options]; the other times are in the table of DESIGN.md too.
const (
	pingInterval     = 5 * time.Second
	probeInterval    = 30 * time.Second
	handshakeTimeout = 5 * time.Second
	retryDelay       = 200 * time.Millisecond
	retryDelayMax    = 5 * time.Second
	dispatchTimeout  = 25 * time.Second
	pollInterval     = 5 * time.Minute
	pollAfter        = time.Minute
	dedupeAge        = 24 * time.Hour
)

// withDefaults fills in the defaults, and reports every fault in the order of
// the fields.
func (o Options) withDefaults(conn redis.UniversalClient) (Options, error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("subscriber: "+format, args...))
	}
	if !o.Disabled {
		if err := errors.Join(topology.Check(conn), topology.CheckOptions(conn)); topology.IsNil(conn) {
			fault("no Redis client; give one or set Options.Disabled")
		} else if err != nil {
			fault("%w", err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, t := range sortedTypes(o.ChannelNames) {
		if o.ChannelNames[t] == "" {
			fault("Options.ChannelNames: the channel of %q is empty; leave the type out to use its default", t)
		}
	}
	for i, channel := range o.Channels {
		if channel == "" {
			fault("Options.Channels[%d] is empty", i)
		}
	}
	duration := func(name string, value *time.Duration, standard time.Duration) {
		if *value < 0 {
			fault("Options.%s is negative; use zero for %v", name, standard)
		}
		if *value == 0 {
			*value = standard
		}
	}
	duration("PingInterval", &o.PingInterval, pingInterval)
	if o.ProbeInterval == 0 {
		o.ProbeInterval = probeInterval
	}
	duration("HandshakeTimeout", &o.HandshakeTimeout, handshakeTimeout)
	if o.Concurrency < 0 {
		fault("Options.Concurrency is negative; use zero for 1")
	}
	o.Concurrency = max(o.Concurrency, 1)
	if o.QueueMessages < 0 || o.QueueBytes < 0 {
		fault("Options.QueueMessages or QueueBytes is negative; use zero for 1000 and 32 MiB")
	}
	if o.QueueMessages == 0 {
		o.QueueMessages = 1000
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 32 << 20
	}
	if o.MaxMessageBytes < 0 {
		fault("Options.MaxMessageBytes is negative; use zero for %d", message.DefaultMaxBytes)
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = 3
	}
	duration("RetryDelay", &o.RetryDelay, retryDelay)
	duration("RetryDelayMax", &o.RetryDelayMax, retryDelayMax)
	if o.DrainTimeout == 0 {
		o.DrainTimeout = drainTimeout
	}
	duration("DispatchTimeout", &o.DispatchTimeout, dispatchTimeout)
	channels := slices.Clone(o.Channels)
	for _, t := range sortedTypes(o.ChannelNames) {
		channels = append(channels, o.ChannelNames[t])
	}
	o.Durable = o.Durable.withDefaults(channels, fault)
	duration("Poll.Interval", &o.Poll.Interval, pollInterval)
	if o.Poll.After == 0 {
		o.Poll.After = pollAfter
	}
	if o.DedupeIDs == 0 {
		o.DedupeIDs = 10_000
	}
	duration("DedupeAge", &o.DedupeAge, dedupeAge)
	return o, errors.Join(faults...)
}

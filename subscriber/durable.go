package subscriber

import (
	"errors"
	"fmt"
	"time"

	"github.com/PitchConnect/fogispubsub/durable"
)

// entryRetryMax is the longest wait between two attempts of a stream's entry.
const entryRetryMax = time.Minute

// retryFor is the default of DurableOptions.RetryFor.
const retryFor = time.Hour

// DurableOptions make a Subscriber read the streams of its channels beside the
// channels. The zero value is off.
//
// One instance of a group holds the lease of a channel and handles it; see
// package durable. Its lane calls the handler for one entry after another; an
// entry whose handler fails is retried in place, so that none overtakes it,
// while Status is degraded. It becomes a dead letter after RetryFor, at once
// for [Permanent] and a panic, and on first sight when it cannot be read;
// Options.OnError is then told, unless it could not be read.
//
// The handler's context also ends when the lease is lost, with the cause
// [durable.ErrLeaseLost]; another instance then handles the entry. A handler
// that ignores that for three seconds may overlap with the other one.
//
// Of what comes by pub/sub, a message that its publisher has put into the
// stream is left to the stream; [CauseAnnounced] tells that it is not there.
// Others, of publishers without streams, are handled by the holder alone, under
// Options.MaxRetries, and are in no gap of the stream: the time without a holder
// shows as [CauseTakeover] when one was heard in it. Dispatch handles on every
// instance what is not in the stream.
//
// When Run ends, entries that the drain did not reach go back to the group;
// Run does not count them as left. One whose handler fails then goes back at
// once. Before the first read Run returns what Redis refuses, such as NOPERM.
//
// Channel names may hold no braces. With a Concurrency above 1 the order is
// given up here too.
type DurableOptions struct {
	// Group names the instances that share the work, as the service's name
	// does; each message is handled by one of them. "" is off.
	Group string
	// Auto has the Subscriber go on as without Options.Durable, with a warning
	// and DurableUnsupported in Status, when the server has no streams, and only
	// then; without it Run returns the error. The server is asked before the
	// first subscription. Once it had streams, it must have them in every later
	// Run.
	Auto bool
	// Latest has a new group begin with what is published after it was made;
	// otherwise it begins with the oldest entry that is retained.
	Latest bool
	// RetryFor is for how long an entry is given to its handler again after an
	// error, while its lane waits; then it becomes a dead letter. Zero means
	// 1 h, negative not at all.
	RetryFor time.Duration
	// Instance names this process in the dead letters that it makes, as its
	// host does; "" is not named.
	Instance string
	// MaxDead and MaxDeadBytes bound the dead letters of a channel. Zero is
	// durable.DefaultMaxDead and DefaultMaxDeadBytes, negative is no bound.
	MaxDead      int
	MaxDeadBytes int64
	// MaxDeadAge is how long a dead letter is kept. Zero is
	// durable.DefaultMaxDeadAge, negative is no bound.
	MaxDeadAge time.Duration
}

func (o DurableOptions) on() bool { return o.Group != "" }

func (o DurableOptions) reader() durable.ReaderOptions {
	return durable.ReaderOptions{Latest: o.Latest, Instance: o.Instance, MaxDead: o.MaxDead, MaxDeadBytes: o.MaxDeadBytes, MaxDeadAge: o.MaxDeadAge}
}

// withDefaults fills in the defaults and reports faults, those of the channel
// names too.
func (o DurableOptions) withDefaults(channels []string, fault func(format string, args ...any)) DurableOptions {
	if !o.on() {
		if o != (DurableOptions{}) {
			fault("Options.Durable has no Group; name it, as by the service's name, or leave the others zero")
		}
		return o
	}
	for _, channel := range channels {
		if err := durable.CheckChannel(channel); channel != "" && err != nil {
			fault("Options.Durable: %w", err)
		}
	}
	if o.RetryFor == 0 {
		o.RetryFor = retryFor
	}
	return o
}

// StreamStatus is what is known of the stream of one channel.
type StreamStatus struct {
	// Name is that of the channel's types, joined by +; the channel itself for
	// one of Options.Channels.
	Name    string `json:"name"`
	Channel string `json:"channel"`
	Group   string `json:"group"`
	// Holder tells that this instance handles the channel for its group, since
	// Since. Another one does, or Redis cannot be asked, when it is false.
	Holder bool      `json:"holder"`
	Since  time.Time `json:"since,omitzero"`
	// Waiting is how many entries were read and are not acknowledged.
	Waiting int `json:"waiting"`
	// LastStreamID is the entry that was last handled or buried, "" before the
	// first one.
	LastStreamID string `json:"last_stream_id,omitempty"`
	// Retrying tells that a handler has failed and its lane waits to call it
	// again. The Subscriber is degraded meanwhile.
	Retrying bool `json:"retrying"`
	// LastError is what went wrong in the last ten seconds, and so degrades the
	// Subscriber, or "".
	LastError string `json:"last_error,omitempty"`
}

// faultTime is for how long an error degrades the status when nothing tells
// that it is over: failed attempts follow each other more closely.
const faultTime = 10 * time.Second

var (
	// errLeft marks an entry that goes back to the group.
	errLeft = errors.New("left to the group's next holder")

	errTooOften = fmt.Errorf("it was in its handler when %d holders of the lease ended: it seems to end every process that handles it", durable.MaxTries)
)

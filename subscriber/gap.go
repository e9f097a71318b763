package subscriber

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// Gap is an interval in which messages may have been lost. A message that was
// published on one of Channels and never arrived was published between From
// and To, by this machine's clock.
//
// There is one Gap for an outage, however many attempts it took to return. It
// is given to Options.OnGap when To is known: at the return, before Resumed
// and before the first message after it, or when Run ends while the session
// is down. That a session is down shows at once in [Subscriber.Status]. Time
// before the first subscription of a Run, and after its end, is no gap.
//
// With Options.Durable the gap of a session concerns only what was published
// without a stream: the rest comes from there.
type Gap struct {
	// Session names the session as SessionStatus.Name does.
	Session string
	// Type is the session's type, "" for the session of Options.Channels.
	Type     message.Type
	Epoch    int // which session of this name ended; the first is 1
	Channels []string
	Cause    Cause
	// From is when the newest PING was sent whose answer was read; before the
	// first answer, when SUBSCRIBE was sent. Redis answers in order, so all it
	// took before then was read.
	From time.Time
	// To is when the last channel was confirmed again.
	To time.Time
	// Stalled is how long the session waited for a full lane since From. Long
	// waits make Redis close the connection (client-output-buffer-limit).
	Stalled time.Duration
	// Source, SourceEpoch and Missing say for CauseSequence whose messages
	// are missing, and which.
	Source      string
	SourceEpoch string
	Missing     []Range
	// Stream says for the causes of a stream what is missing there. From and To
	// are then by the server's clock, From zero when it is open, and Epoch is
	// zero.
	Stream durable.Gap
	// Err is what ended the session, nil for CauseSequence, CauseTakeover and
	// the causes of a stream.
	Err error
}

// String tells on one line what is known about the gap.
func (g Gap) String() string {
	var b strings.Builder
	const layout = "2006-01-02T15:04:05.000Z07:00"
	fmt.Fprintf(&b, "%s: %s, ", g.Session, g.Cause)
	if !g.From.IsZero() {
		fmt.Fprintf(&b, "from %s ", g.From.Format(layout))
	}
	fmt.Fprintf(&b, "to %s", g.To.Format(layout))
	if g.Cause == CauseSequence {
		fmt.Fprintf(&b, ", missing of %q on %s", clip(g.Source), strings.Join(g.Channels, ", "))
		for _, r := range g.Missing {
			fmt.Fprintf(&b, " %d-%d", r.First, r.Last)
		}
	}
	if g.Stream.Channel != "" {
		fmt.Fprintf(&b, " (%v)", g.Stream)
	}
	if g.Err != nil {
		fmt.Fprintf(&b, " (%v)", g.Err)
	}
	return b.String()
}

// Range is the numbers First to Last, both included.
type Range struct{ First, Last uint64 }

// Cause says why there is a gap.
type Cause string

// The causes of a gap.
const (
	// CauseConnection: the connection was closed or failed.
	CauseConnection Cause = "connection lost"
	// CauseTimeout: nothing came for two ping intervals.
	CauseTimeout Cause = "ping timeout"
	// CauseNotDelivering: Redis answered PINGs but did not deliver a probe, or
	// publishers reach another server now, as after a failover.
	CauseNotDelivering Cause = "not delivering"
	// CauseRefused: Redis answered with an error.
	CauseRefused Cause = "refused"
	// CauseRestart: Restart was called.
	CauseRestart Cause = "restart"
	// CauseSequence: the publisher's numbering has a hole. No connection
	// ended; a failover of Redis loses messages in this way. Missing is empty
	// when a number was so far from the one before it that it may be forged; if
	// others follow it, the count goes on there.
	CauseSequence Cause = "sequence"
)

// The causes of a gap in a stream, under Options.Durable: those of package
// durable.
const (
	CauseTrimmed        = Cause(durable.CauseTrimmed)
	CausePendingTrimmed = Cause(durable.CausePendingTrimmed)
	CauseVanished       = Cause(durable.CauseVanished)
	CauseNewGroup       = Cause(durable.CauseNewGroup)
	CauseDeadTrimmed    = Cause(durable.CauseDeadTrimmed)
	CausePurged         = Cause(durable.CausePurged)
	CausePendingLost    = Cause(durable.CausePendingLost)
)

// CauseTakeover: this instance has become its group's holder under
// Options.Durable, and heard before that a message which is not in the stream.
// It left that to the holder before it, which may have been dead. Gap.Stream
// names the messages that should be in the stream, see [CauseAnnounced].
const CauseTakeover Cause = "takeover"

// CauseAnnounced: messages came by pub/sub whose publisher had put them into
// the stream, and the stream does not have them, under Options.Durable: the
// publisher's Redis is another one, or Redis has lost them. From is when the
// first of them came, and Gap.Stream names them. They are handled now, out of
// their turn; match updates are not if newer ones have come since, nor is what
// there was no room to keep, beyond 64 messages or 16 MiB.
const CauseAnnounced Cause = "announced but not in the stream"

// Resumed tells that every channel of a session is confirmed.
type Resumed struct {
	Session  string
	Type     message.Type // "" for the session of Options.Channels
	Epoch    int          // 1 for the first time in this Run, which follows no Gap
	Channels []string
	At       time.Time
	Attempts int // connections tried since the session before
}

var (
	errRestart         = errors.New("restart was asked for")
	errNotDelivering   = errors.New("a probe did not come back")
	errElsewhere       = errors.New("publishers reach another server than this subscription does")
	errDispatchTimeout = errors.New("no outcome within Options.DispatchTimeout")
	errHandshake       = errors.New("no subscription within the handshake timeout")
	errSessionOver     = errors.New("the session is over")
	errCallbackExit    = errors.New("a callback ended its goroutine")
	errUnsubscribed    = errors.New("redis ended a subscription")
	errNoServer        = errors.New("no server is known for it")
)

// causeOf classifies the error that ended a session.
func causeOf(err error) Cause {
	var timeout net.Error
	var reply redis.Error
	switch {
	case errors.Is(err, errRestart):
		return CauseRestart
	case errors.Is(err, errNotDelivering), errors.Is(err, errElsewhere):
		return CauseNotDelivering
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return CauseTimeout
	case errors.As(err, &reply), errors.Is(err, errUnsubscribed):
		return CauseRefused
	default:
		return CauseConnection
	}
}

// withoutContents replaces what go-redis says of an answer that it cannot
// read: that quotes the answer, which may be a message.
func withoutContents(err error) error {
	var network net.Error
	var reply redis.Error
	text := err.Error()
	switch {
	case errors.As(err, &network), errors.As(err, &reply), strings.HasPrefix(text, "tls: "), strings.HasPrefix(text, "x509: "):
		return err
	}
	for _, harmless := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, redis.ErrClosed,
		context.Canceled, context.DeadlineExceeded, errSessionOver, errNoServer, topology.ErrNotMaster, topology.ErrNoMaster,
	} {
		if errors.Is(err, harmless) {
			return err
		}
	}
	return fmt.Errorf("an answer that cannot be read (%T): is this a Redis server?", err)
}

// refusal tells whether Redis will go on answering err until an operator
// changes a right or a password.
func refusal(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") ||
		redis.HasErrorPrefix(err, "NOAUTH") ||
		redis.HasErrorPrefix(err, "WRONGPASS")
}

package publisher

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// keepBuffer is the largest buffer that a lane keeps for its next message. A
// snapshot of 40 matches has some 250 KB.
const keepBuffer = 1 << 20

// lane is the way of one channel: who holds its lock publishes, and all other
// fields are the holder's.
type lane struct {
	channel string
	// types are those of the channel, sorted; postable those of them that have
	// a fallback.
	types, postable []message.Type
	// token is the lock: a channel and not a mutex, because it is held over
	// network I/O and a waiter must be able to give up.
	token chan struct{}

	sent   uint64 // messages numbered so far
	budget budget
	buf    []byte // for the next message; nil when the last one may still be read
	route  changeLog
	// faults is the outbox's failures, queue whether messages wait there.
	faults, queue changeLog
	// seen is a place in the stream that what was not sent yet will lie behind,
	// "" when the stream was not reached yet.
	seen  string
	used  atomic.Bool // a message was sent to Redis
	asked time.Time   // when its connection was last known to lead to a master
	// newest is the newest message that this process put into the stream.
	newest newest
	// copies are those of the stream's messages that go by the fallback too.
	copies *copies
	// behind tells that the newest message of the lane is not in the stream.
	behind bool
}

func newLane(channel string, route Route) *lane {
	return &lane{channel: channel, token: make(chan struct{}, 1), copies: newCopies(), route: changeLog{last: string(route)}}
}

// lock waits until the messages before this one have found their routes.
// Waiters get it in the order of their coming. It tells whether it had to wait.
func (l *lane) lock(ctx context.Context) (waited bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	select {
	case l.token <- struct{}{}:
		return false, nil
	default:
	}
	select {
	case l.token <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

func (l *lane) unlock() { <-l.token }

// encode writes the next message into the lane's buffer. An invalid one, or
// one of more than limit bytes if that is not negative, uses up no number.
func (l *lane) encode(h message.Header, p message.Payload, limit int) ([]byte, error) {
	h.Seq.N = l.sent + 1
	body, err := message.AppendEncode(l.buf[:0], h, p)
	if err != nil {
		return nil, err
	}
	if limit >= 0 && len(body) > limit {
		return nil, fmt.Errorf("%w: %d bytes, of at most %d; send less in one message, or raise Options.MaxMessageBytes here and at every subscriber",
			message.ErrTooLarge, len(body), limit)
	}
	l.sent++
	l.buf = nil
	return body, nil
}

// reuse takes back the buffer of a message that nobody reads any more.
func (l *lane) reuse(body []byte) {
	if cap(body) <= keepBuffer {
		l.buf = body
	}
}

// maxLines is how many changes of one kind a lane logs in a logPeriod.
const (
	maxLines  = 10
	logPeriod = time.Minute
)

// changeLog decides which changes of a state are logged: the route, or what is
// wrong with the outbox.
type changeLog struct {
	last  string // as logged last
	since time.Time
	lines int
}

// changed tells whether to log that the state is now this one. A change that was
// kept silent is told later, if it is still true then.
func (c *changeLog) changed(state string, now time.Time) bool {
	if state == c.last {
		return false
	}
	if now.Sub(c.since) >= logPeriod {
		c.since, c.lines = now, 0
	}
	if c.lines == maxLines {
		return false
	}
	c.lines++
	c.last = state
	return true
}

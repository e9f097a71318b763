package durable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Times of a lease. The holder gives it up well before the server does, and a
// read that blocks there ends in between.
const (
	leaseTime  = 10 * time.Second // at the server
	leaseRenew = 3 * time.Second
	leaseLost  = 7 * time.Second // without a renewal, by our clock
	leasePoll  = 250 * time.Millisecond

	// attemptTime bounds one command, so that a renewal has a second chance.
	attemptTime = 2 * time.Second
)

// MaxTries is how often an entry that was redelivered may enter its handler; a
// [Lease.Try] beyond it asks for [Lease.Bury].
const MaxTries = 5

// Defaults of [ReaderOptions].
const (
	DefaultMaxDead      = 1000
	DefaultMaxDeadBytes = 32 << 20
	DefaultMaxDeadAge   = 30 * 24 * time.Hour
)

// ReaderOptions holds the settings of a [Reader]. The zero value is ready to
// use.
type ReaderOptions struct {
	// Latest has a new group begin with what is appended after it was made;
	// otherwise it begins with the oldest entry that is retained.
	Latest bool

	// Instance names this process in the dead letters that it makes, as its
	// host does; "" is not named.
	Instance string

	// MaxDead and MaxDeadBytes bound a channel's dead letters; the oldest go,
	// and are reported as a [Gap]. Zero is [DefaultMaxDead] and
	// [DefaultMaxDeadBytes], negative is no bound. One always stays.
	MaxDead      int
	MaxDeadBytes int64
	// MaxDeadAge is how long a dead letter is kept, by the server's clock. Those
	// that are older go while a lease is held, and are reported as a [Gap]. Zero
	// is [DefaultMaxDeadAge], negative is no bound.
	MaxDeadAge time.Duration

	// OnGap is told what may be lost, before the reader goes on behind it. A
	// gap may be told twice if the process dies in between. nil is not called.
	OnGap func(Gap)

	// OnRetry is called for each failure that is followed by another attempt.
	// nil is not called. The callbacks are called by the goroutine that called the
	// Reader or Lease, OnRetry also by that which renews the lease, and must
	// not block.
	OnRetry func(error)

	// OnOther is told, by Acquire, each time that it finds another holder.
	OnOther func()

	// Dialer opens the connections for reading; nil is that of the client's
	// options. It must respect its context: closing the connection is how a
	// blocked read ends.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Reader reads a channel's stream for one group. It may be used by several
// goroutines, opens nothing before [Reader.Acquire] and so has no Close. Use
// one Reader for all leases that a process takes one after another: it
// remembers how far the group has come.
type Reader struct {
	conn    redis.UniversalClient
	channel string
	group   string
	opts    ReaderOptions

	mu    sync.Mutex // guards what follows
	known bool       // the group was there
	told  bool       // that it is to be made
	floor string     // all that was delivered up to this ID is settled; "" is not known
	idle  time.Time  // when the group of another holder had nothing left to do
	// tried holds the entries that were tried here and not settled since. This
	// process lives, so that they did not end it.
	tried map[string]bool
}

// maxTried bounds Reader.tried: what another instance settled stays there.
const maxTried = 1000

// NewReader returns a Reader of the channel's stream for the group. It does not
// connect. conn carries all short commands; it must be a go-redis Client or
// ClusterClient with the same settings as for [NewWriter]. From its options
// each lease opens one more connection, to wait on.
func NewReader(conn redis.UniversalClient, channel, group string, opts ReaderOptions) (*Reader, error) {
	faults := []error{checkClient(conn), CheckChannel(channel)}
	if group == "" {
		faults = append(faults, errors.New("durable: the group has no name"))
	}
	if err := topology.CheckOptions(conn); conn != nil && err != nil {
		faults = append(faults, fmt.Errorf("durable: %w", err))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	opts.MaxDead = orDefault(opts.MaxDead, DefaultMaxDead)
	opts.MaxDeadBytes = orDefault(opts.MaxDeadBytes, DefaultMaxDeadBytes)
	opts.MaxDeadAge = orDefault(opts.MaxDeadAge, DefaultMaxDeadAge)
	return &Reader{conn: conn, channel: channel, group: group, opts: opts}, nil
}

func (r *Reader) fail(ctx context.Context, op string, err error) *Error {
	topology.Refresh(ctx, r.conn, err)
	return fail(op, r.channel, r.group, readerRights, err)
}

func (r *Reader) retry(err error) {
	if r.opts.OnRetry != nil {
		r.opts.OnRetry(err)
	}
}

func (r *Reader) report(g Gap) {
	if r.opts.OnGap != nil {
		g.Channel, g.Group = r.channel, r.group
		r.opts.OnGap(g)
	}
}

// reportOnce reports that the group is made, before it is: the process may die
// between. While Redis will not make it, the gap is the same one.
func (r *Reader) reportOnce(g Gap) {
	r.mu.Lock()
	told := r.told
	r.told = true
	r.mu.Unlock()
	if !told {
		r.report(g)
	}
}

// position is how far the group has come, as far as this process knows.
func (r *Reader) position() (floor string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.floor, r.known
}

// reached notes that the group is there, and how far it has come.
func (r *Reader) reached(floor string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.told = true, false
	if floor != "" {
		r.floor = floor
	}
}

// trying notes that an entry is tried, and tells whether it was before.
func (r *Reader) trying(id string) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	again = r.tried[id]
	if r.tried == nil || len(r.tried) >= maxTried {
		r.tried = map[string]bool{}
	}
	r.tried[id] = true
	return again
}

// forget notes that entries are settled, or their tries taken back.
func (r *Reader) forget(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tried) == 0 {
		return
	}
	for _, id := range ids {
		delete(r.tried, id)
	}
}

// drained notes that the group had nothing left to do at a time.
func (r *Reader) drained(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = at
}

// Settled tells whether the group is known to have settled every entry up to
// the one with an ID, or all that there was at some time since then. It does
// not ask Redis; what it knows of another instance's group is as old as
// Acquire's last look. Of an ID that is none only the latter can be known.
func (r *Reader) Settled(id string, since time.Time) bool {
	_, _, isID := parseID(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	return isID && r.floor != "" && !newer(id, r.floor) || r.idle.After(since)
}

// saw notes that the group is there and how far its holder has come.
func (r *Reader) saw(handled string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = true
	if newer(handled, r.floor) {
		r.floor = handled
	}
}

package durable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Lease is the right to handle a channel for a group; one instance has it at a
// time. Read is for one goroutine; everything else may be called from any,
// meanwhile too.
//
// The lease is renewed until it is released. One that could not be renewed for
// seven seconds, or that turns out to be somebody else's, is lost: its context
// ends, and nothing can be settled any more. A handler that goes on for more
// than three seconds then may overlap with that of the next holder.
type Lease struct {
	r     *Reader
	token string

	ctx    context.Context
	cancel context.CancelCauseFunc
	expiry *time.Timer // ends the lease when no renewal puts it off

	release sync.Once
	stop    chan struct{} // closed by Release
	kept    chan struct{} // closed when the renewing goroutine has ended

	mu      sync.Mutex // guards what follows
	waiting waiting
	handled string // the newest that is known to be handled, as Redis has it
	forNext string // what was counted, for the next holder

	reading // of the goroutine that calls Read
}

func newLease(ctx context.Context, r *Reader, token string, sent time.Time) *Lease {
	l := &Lease{
		r: r, token: token,
		stop: make(chan struct{}), kept: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.expiry = time.AfterFunc(leaseLost-time.Since(sent), func() {
		l.lose(fmt.Errorf("%w: not renewed for %s", ErrLeaseLost, leaseLost))
	})
	go l.keep(sent)
	return l
}

// Context is for handlers. It ends when the lease is lost, with the cause
// [ErrLeaseLost], or released.
func (l *Lease) Context() context.Context { return l.ctx }

func (l *Lease) lose(cause error) { l.cancel(cause) }

// keep renews the lease.
func (l *Lease) keep(sent time.Time) {
	defer close(l.kept)
	var pauses backoff
	wait := leaseRenew - time.Since(sent)
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return
		case <-l.ctx.Done():
			timer.Stop()
			return
		}
		sent = time.Now()
		err := done(l.number(l.ctx, renewScript, []string{leaseKey(l.r.channel, l.r.group)}, l.token, leaseTime.Milliseconds()))
		if err == nil {
			pauses = backoff{}
			l.expiry.Reset(leaseLost - time.Since(sent))
			wait = leaseRenew - time.Since(sent)
			continue
		}
		e := l.r.fail(l.ctx, "renew", err)
		if errors.Is(e, ErrLeaseLost) {
			l.lose(e.Err)
			return
		}
		if l.ctx.Err() == nil {
			l.r.retry(e)
		}
		wait = pauses.next(time.Second)
	}
}

// Release gives the lease up and returns when its goroutine has ended. Handlers
// must have ended before. What is not settled stays for the next holder, who
// may take the lease at once. An error tells that Redis could not be told: the
// lease then ends by itself within ten seconds. Releasing again, or what is
// lost, does nothing.
func (l *Lease) Release(ctx context.Context) (err error) {
	l.release.Do(func() {
		close(l.stop)
		<-l.kept
		l.expiry.Stop()
		lost := l.ctx.Err() != nil
		l.cancel(nil)
		if lost {
			return
		}
		// A second attempt for a connection of the pool that was dead already.
		for range 2 {
			if err = done(l.number(ctx, releaseScript, l.keys(), l.token, l.countNote())); err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil && !redis.HasErrorPrefix(err, noLease) {
			err = l.r.fail(ctx, "release", err)
			return
		}
		err = nil
	})
	return err
}

// number runs a script that begins with underLease and answers with an integer;
// args begin with the token.
func (l *Lease) number(ctx context.Context, s script, keys []string, args ...any) (n int64, err error) {
	err = l.ask(ctx, func(ctx context.Context, node redis.UniversalClient) error {
		n, err = s.number(ctx, node, keys, args...).Result()
		return err
	})
	return n, err
}

// texts runs a script as number does, for a list of texts.
func (l *Lease) texts(ctx context.Context, s script, keys []string, args ...any) (list []string, err error) {
	err = l.ask(ctx, func(ctx context.Context, node redis.UniversalClient) error {
		list, err = s.texts(ctx, node, keys, args...).Result()
		return err
	})
	return list, err
}

// ask makes one attempt at the channel's node.
func (l *Lease) ask(ctx context.Context, do func(context.Context, redis.UniversalClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	node, err := topology.Node(ctx, l.r.conn, l.r.channel)
	if err != nil {
		return err
	}
	return do(ctx, node)
}

// over tells why nothing more can be done, if so.
func (l *Lease) over(ctx context.Context, op string) error {
	if l.ctx.Err() != nil {
		cause := context.Cause(l.ctx)
		if !errors.Is(cause, ErrLeaseLost) {
			cause = fmt.Errorf("%w: it was released", ErrLeaseLost)
		}
		return &Error{Op: op, Channel: l.r.channel, Group: l.r.group, Err: cause}
	}
	return ctx.Err()
}

// delivered notes entries that are given to the caller.
func (l *Lease) delivered(entries []Entry) {
	if len(entries) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting.add(entries)
}

// settled notes that entries are done with.
func (l *Lease) settled(ids ...string) {
	l.mu.Lock()
	floor := l.waiting.settle(ids)
	l.mu.Unlock()
	l.r.forget(ids...)
	if floor != "" {
		l.r.reached(floor)
	}
}

// newest is the newest entry that was delivered under this lease or before it.
func (l *Lease) newest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if newer(l.waiting.newest, l.taken) {
		return l.waiting.newest
	}
	return l.taken
}

// fresh takes out of a batch what is outstanding.
func (l *Lease) fresh(batch []redis.XMessage) (fresh []redis.XMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(batch) == 0 || newer(batch[0].ID, l.waiting.newest) {
		return batch
	}
	for _, m := range batch {
		if !l.waiting.has(m.ID) {
			fresh = append(fresh, m)
		}
	}
	return fresh
}

var renewScript = newScript(underLease + `
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// releaseScript leaves word for those who saw the holder: they need not wait
// until it must have noticed.
var releaseScript = newSmallScript(underLease + `
redis.call('HSET', KEYS[3], 'released', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], 'counted', ARGV[2]) end
return redis.call('DEL', KEYS[1])
`)

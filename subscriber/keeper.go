package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// Waits between failed attempts, and how many returns may follow at once on
// the end of a session that had been up: any wait there is time in which
// messages are lost.
const (
	reconnectDelay    = 100 * time.Millisecond
	reconnectDelayMax = 5 * time.Second
	returnBurst       = 100
	returnPeriod      = 100 * time.Millisecond
)

// keeper keeps a session open, for as long as its Run.
type keeper struct {
	run      *run
	name     string
	typ      message.Type
	channels []string
	seq      sequence
	returns  bucket
	wake     chan struct{} // ends a wait between attempts

	mu       sync.Mutex
	status   SessionStatus
	session  *session // the current attempt; nil between two
	outage   *Gap     // open since the last session that was up
	attempts int      // since then
	changed  chan struct{}
}

func newKeeper(r *run, name string, t message.Type, channels ...string) *keeper {
	k := &keeper{
		run: r, name: name, typ: t, channels: channels,
		returns: bucket{burst: returnBurst, period: returnPeriod},
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
	k.status = SessionStatus{Type: t, Channels: channels, State: StateConnecting, Since: time.Now(), Probe: ProbePending}
	if r.opts.ProbeInterval < 0 {
		k.status.Probe = ProbeOff
	}
	return k
}

// keep opens one session after another until ctx ends, which is no error.
func (k *keeper) keep(ctx context.Context) error {
	defer k.stop()
	waits := fullJitter(reconnectDelay, reconnectDelayMax)
	for {
		began := time.Now()
		up, err := k.open(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.mu.Lock()
		never := k.status.Epoch == 0
		k.mu.Unlock()
		if errors.Is(err, errRestart) {
			continue
		}
		if never && refusal(err) || k.run.opts.NoReconnect {
			return fmt.Errorf("subscriber: %w%s", err, cure(err))
		}
		if up {
			now := time.Now()
			if now.Sub(began) > reconnectDelayMax {
				waits.Reset()
			}
			if _, ok := k.returns.take(now); ok {
				continue
			}
		}
		sleep(ctx, waits.NextBackOff(), k.wake)
	}
}

// cure is what an operator can do about a refusal.
func cure(err error) string {
	switch {
	case redis.HasErrorPrefix(err, "NOPERM"):
		return " (allow the Redis user this channel and the SUBSCRIBE command: ACL SETUSER <user> &<channel> +subscribe)"
	case refusal(err):
		return " (check the Redis user name and password)"
	}
	return ""
}

// open runs one session to its end.
func (k *keeper) open(ctx context.Context) (up bool, err error) {
	s := newSession(ctx, k)
	k.mu.Lock()
	k.session = s
	k.attempts++
	k.mu.Unlock()
	err = s.run()
	topology.Refresh(ctx, k.run.s.conn, err) // another server may have the channel now
	now := time.Now()

	k.mu.Lock()
	k.session = nil
	k.status.Confirmed = nil
	if ctx.Err() == nil {
		k.status.LastError = err.Error()
	}
	attempts, epoch := k.attempts, k.status.Epoch
	if s.up {
		k.attempts = 0
		k.outage = &Gap{
			Session: k.name, Type: k.typ, Epoch: epoch, Channels: slices.Clone(k.channels),
			Cause: causeOf(err), From: s.knownTo(err), Stalled: time.Duration(s.stalledFor.Load() - s.stalledAtFrom), Err: err,
		}
		if ctx.Err() != nil { // Run ends, and with it the promise
			k.outage = nil
		}
		k.set(StateDegraded, now)
	}
	k.mu.Unlock()

	if ctx.Err() != nil {
		return s.up, err
	}
	logs := &k.run.s.logs
	if s.up {
		logs.line(ctx, logs.lost, slog.LevelWarn, "subscription lost",
			slog.String("session", k.name), slog.Int("epoch", epoch), slog.Any("err", err))
	} else {
		logs.line(ctx, logs.attempt, slog.LevelWarn, "subscribing failed and will be tried again",
			slog.String("session", k.name), slog.Int("attempt", attempts), slog.Any("err", err))
	}
	return s.up, err
}

// confirmed notes that every channel of s is confirmed, and reports the gap
// that this ends. It returns false when s has been cancelled meanwhile.
func (k *keeper) confirmed(s *session) bool {
	now := time.Now()
	k.mu.Lock()
	if s.ctx.Err() != nil {
		k.mu.Unlock()
		return false
	}
	s.up = true
	k.status.Epoch++
	outage, attempts, epoch := k.outage, k.attempts, k.status.Epoch
	k.outage = nil
	k.mu.Unlock()

	k.seq.reset()
	if epoch > 1 {
		k.run.s.counts.reconnects.Add(1)
	}
	if outage != nil {
		outage.To = now
		k.run.reportGap(*outage)
	}
	k.mu.Lock()
	k.set(StateSubscribed, now)
	k.mu.Unlock()
	logs := &k.run.s.logs
	logs.line(s.ctx, logs.resumed, slog.LevelInfo, "subscribed", slog.String("session", k.name),
		slog.String("channel", strings.Join(k.channels, ",")), slog.Int("epoch", epoch), slog.Int("attempt", attempts))
	if f := k.run.opts.OnResumed; f != nil {
		k.run.callback("OnResumed", func() {
			f(Resumed{Session: k.name, Type: k.typ, Epoch: epoch, Channels: slices.Clone(k.channels), At: now, Attempts: attempts})
		})
	}

	return true
}

// set changes the state and tells who waits for that. k.mu is held.
func (k *keeper) set(state State, now time.Time) {
	k.status.State, k.status.Since = state, now
	if state == StateSubscribed {
		k.status.LastError = ""
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// stop reports an outage that no return ends any more.
func (k *keeper) stop() {
	now := time.Now()
	k.mu.Lock()
	outage := k.outage
	k.outage = nil
	k.set(StateStopped, now)
	k.mu.Unlock()
	if outage != nil {
		outage.To = now
		k.run.reportGap(*outage)
	}
}

// restart ends the current session or wait, and returns its epoch.
func (k *keeper) restart() (epoch int) {
	k.mu.Lock()
	epoch = k.status.Epoch
	if k.session != nil {
		k.session.cancel(errRestart)
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return epoch
}

// upSince tells whether a later session than epoch is up, and which channel is
// closed at the next change.
func (k *keeper) upSince(epoch int) (changed <-chan struct{}, up bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed, k.status.State == StateSubscribed && k.status.Epoch > epoch
}

// downSince tells since when the session is not up, or that it is, and which
// channel is closed at the next change.
func (k *keeper) downSince() (changed <-chan struct{}, since time.Time, up bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed, k.status.Since, k.status.State == StateSubscribed
}

// update changes the status.
func (k *keeper) update(f func(*SessionStatus)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.status)
}

package publisher

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// redisPart is what became of a message at Redis.
type redisPart struct {
	delivered bool
	receivers int64
	streamID  string
	attempts  int
	unknown   int     // attempts whose answer was lost
	tooFew    bool    // Redis answered, but named too few listeners
	refusal   error   // why Redis will never take this message; nil if it may
	failures  []error // in order, at most one per attempt; none when delivered at once
}

// outcome is what a failed command means.
type outcome int

const (
	// outage: the message did not get to Redis, or Redis cannot work now.
	outage outcome = iota
	// unknown: the answer was lost; listeners may have the message.
	unknown
	// refused: a living server answered no, and will do so again.
	refused
	// final: it refuses this message, and would take a shorter one.
	final
)

// While another server takes the place of the one that was asked, attempts
// follow each other so closely, and so many of them do not count as retries.
const (
	moveDelay = 50 * time.Millisecond
	maxMoves  = 20
)

// toRedis brings a message to Redis within the budget, with so many retries.
func (p *Publisher) toRedis(ctx, budget context.Context, l *lane, m *parcel, retries int) (r redisPart) {
	if p.opts.Disabled {
		return r
	}
	period, ok := p.breaker.admit(ctx, p.hasFallback(m.Type) || p.opts.Outbox != nil)
	if !ok {
		r.failures = []error{p.skipped()}
		return r
	}
	l.used.Store(true)
	start, moves := time.Now(), 0
	var answered error // the last one that the server gave
	for {
		// A queued message is asked for again, whatever retries says.
		last := r.attempts-moves >= retries && (m.queued || p.opts.Outbox == nil) || p.opts.NoRetryOnTimeout
		began := time.Now()
		n, streamID, kind, err := p.send(attemptOf(budget, p.opts.RetryDelay, r.attempts == 0, last), l, m)
		r.attempts++
		if err == nil {
			p.trust.judge(ctx, l.channel, nil)
			r.receivers, r.streamID = n, streamID
			r.tooFew = m.Type == message.TypeMatchUpdates && n < int64(p.opts.RequireReceivers)
			r.delivered = streamID != "" || !r.tooFew
			if r.tooFew {
				topology.Reload(ctx, p.conn) // they may be counted elsewhere
			}
			if !r.delivered {
				r.failures = append(r.failures, fmt.Errorf("%w: %d of the required %d are subscribed to %q (is the receiving service running?)",
					ErrTooFewReceivers, n, p.opts.RequireReceivers, l.channel))
			}
			return r
		}
		l.asked = time.Time{}
		if p.isTooLong(budget, l, m, err) {
			kind, err = final, tooLong(m, err)
			r.refusal = err
		}
		p.trust.judge(ctx, l.channel, err)
		r.failures = append(r.failures, err)
		if kind == unknown {
			r.unknown++
		}
		if _, ok := errors.AsType[redis.Error](err); ok {
			answered = err
		}
		if kind == refused || kind == final {
			return r
		}
		if moves < maxMoves && topology.IsMoving(err) && pause(budget, moveDelay) {
			moves++
			continue
		}
		again := r.attempts-moves <= retries && !(kind == unknown && p.opts.NoRetryOnTimeout) && !errors.Is(err, redis.ErrClosed)
		if !again || !p.waitRetry(budget, time.Since(began)) {
			// That the caller gave up, or had little time, says nothing about Redis.
			if ended(ctx) == nil && !(isLate(err) && p.isShort(budget, start)) {
				if isLate(err) && answered != nil {
					// A time-out says less than what the server answered before.
					err = fmt.Errorf("%w, then %w", answered, err)
				}
				p.breaker.trip(period, l.channel, err)
			}
			return r
		}
	}
}

// isTooLong reports whether the server refuses a message for its length alone.
func (p *Publisher) isTooLong(ctx context.Context, l *lane, m *parcel, err error) bool {
	node, lost := topology.Node(ctx, p.conn, l.channel)
	return lost == nil && topology.IsTooLong(ctx, node, len(m.Body), err)
}

// tooLong tells which message is refused, and the cure.
func tooLong(m *parcel, err error) error {
	return fmt.Errorf("%w for this Redis server: %d bytes: %w (send less in one message, or raise proto-max-bulk-len and client-query-buffer-limit of the server above that)",
		message.ErrTooLarge, len(m.Body), err)
}

// isShort tells whether a budget that began at start is shorter than the
// publisher's own, by the caller's deadline.
func (p *Publisher) isShort(budget context.Context, start time.Time) bool {
	end, ok := budget.Deadline()
	return ok && (p.opts.Budget == 0 || end.Sub(start) < p.opts.Budget-2*p.opts.Budget/sharedPart)
}

// send makes one attempt.
func (p *Publisher) send(ctx context.Context, l *lane, m *parcel) (receivers int64, streamID string, kind outcome, err error) {
	if p.streams.on() {
		kept, err := p.keep(ctx, l, m)
		if err == nil {
			p.streams.worked.Store(true)
			l.behind = false
			if m.Type == repeated {
				l.newest.sent(m.ID, kept.Receivers)
			}
			return kept.Receivers, kept.StreamID, 0, nil
		}
		if !p.degrade(ctx, l, err) {
			kind = classifyAppend(err)
			m.tried = m.tried || kind == unknown
			p.dropDead(ctx, l, kind)
			return 0, "", kind, err
		}
	}
	receivers, err = p.publish(ctx, l, m.WithoutStream().Body, m.Type == message.TypeMatchUpdates)
	if err != nil {
		topology.Refresh(ctx, p.conn, err)
		kind = classify(err)
		if receivers > 0 {
			kind = unknown // they listen at a replica
		}
		err = explain(err, kind, l.channel)
		p.dropDead(ctx, l, kind)
	}
	return receivers, "", kind, err
}

// dropDead closes the idle connections after an attempt whose answer was lost: one
// that died without a sign does not die alone. The next attempt opens one.
func (p *Publisher) dropDead(ctx context.Context, l *lane, kind outcome) {
	if kind != unknown {
		return
	}
	if node, err := topology.Node(ctx, p.conn, l.channel); err == nil {
		topology.DropIdle(node)
	}
}

// publish only publishes: on a cluster where subscribers of this SDK listen, so
// that they are counted. On a replica PUBLISH is no error and reaches nobody at the
// master: so the server's role is asked for in the same round trip, once a second,
// and when too few listen.
func (p *Publisher) publish(ctx context.Context, l *lane, body []byte, counted bool) (receivers int64, err error) {
	node, err := topology.Node(ctx, p.conn, l.channel)
	if err != nil {
		return 0, err
	}
	if now := time.Now(); p.trust.due(l.asked, now) {
		if receivers, err = topology.Publish(ctx, node, l.channel, body); err == nil {
			l.asked = now
		}
		return receivers, err
	}
	receivers, err = node.Publish(ctx, l.channel, body).Result()
	if err == nil && counted && receivers < int64(p.opts.RequireReceivers) && topology.IsReplica(topology.Probe(ctx, node)) {
		err = topology.ErrNotMaster
	}
	return receivers, err
}

// waitRetry pauses before the next attempt. It tells at once when the budget
// ends before the pause would.
// The time that the failed attempt took counts as part of the pause.
func (p *Publisher) waitRetry(ctx context.Context, took time.Duration) bool {
	if ended(ctx) != nil {
		return false
	}
	delay := max(p.opts.RetryDelay-took, 0)
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= delay {
		return false
	}
	return delay == 0 || pause(ctx, delay)
}

// skipped tells why the open breaker left Redis out.
func (p *Publisher) skipped() error {
	since, cause := p.breaker.why()
	return fmt.Errorf("not asked, because it has not worked since %s: %w", since.UTC().Format(time.RFC3339), cause)
}

// classify tells what a command's error means. Whatever does not prove that the
// message stayed here is unknown.
func classify(err error) outcome {
	var answer redis.Error
	if errors.As(err, &answer) {
		switch {
		case redis.IsLoadingError(err), redis.IsMasterDownError(err), redis.IsMaxClientsError(err), redis.IsNoReplicasError(err),
			topology.IsMoving(err), redis.HasErrorPrefix(err, "BUSY "), redis.HasErrorPrefix(err, "MISCONF"):
			return outage
		}
		return refused
	}
	// go-redis returns a context's error itself only while it waits for a
	// connection; on a connection a deadline shows as the socket's time-out.
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, topology.ErrNotMaster) || errors.Is(err, errPanic) || err == context.DeadlineExceeded || err == context.Canceled {
		return outage
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" || isUntrusted(err) {
		return outage
	}
	return unknown
}

// isUntrusted tells whether TLS ended before anything was sent, because of the
// server's certificate or because it speaks no TLS.
func isUntrusted(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return certificate || record
}

// explain adds the likely cure to a failure, and takes out what may quote the
// message.
func explain(err error, kind outcome, channel string) error {
	var answer redis.Error
	switch {
	case redis.IsPermissionError(err):
		return fmt.Errorf("%w (allow this user PUBLISH and the channel %q in the server's ACL)", err, channel)
	case redis.IsAuthError(err):
		return fmt.Errorf("%w (give the client the server's user and password)", err)
	case redis.IsLoadingError(err):
		return fmt.Errorf("%w (the server is starting and will take messages soon)", err)
	case redis.HasErrorPrefix(err, "MISCONF"):
		return fmt.Errorf("%w (free the disk that Redis writes its snapshots to, or switch these off)", err)
	case errors.As(err, &answer):
		// Redis quotes the arguments of a command that it does not know.
		if text, _, found := strings.Cut(err.Error(), ", with args"); found {
			return errors.New(text)
		}
		return err
	case err == context.Canceled, errors.Is(err, topology.ErrNotMaster):
		return err
	case errors.Is(err, redis.ErrClosed):
		return fmt.Errorf("%w (the Redis client was closed before its publisher)", err)
	case err == context.DeadlineExceeded:
		return fmt.Errorf("no connection in time: %w (is Redis reachable at this address, with TLS if the URL is rediss://?)", err)
	case isUntrusted(err):
		return fmt.Errorf("%w (fogis-pubsub check tells the cure)", err)
	case kind == outage:
		return fmt.Errorf("%w (is Redis running at this address?)", err)
	case isNetworkError(err):
		return fmt.Errorf("no answer: %w", err)
	}
	// What go-redis says of an answer that it cannot read quotes the answer.
	return fmt.Errorf("no readable answer, %T (is this a Redis server?)", err)
}

// isNetworkError tells whether an error is about the connection and not about
// what came over it.
func isNetworkError(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	text := err.Error()
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ")
}

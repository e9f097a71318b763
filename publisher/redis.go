package publisher

import (
	"context"
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
	period, ok := p.breaker.admit(ctx)
	if !ok {
		r.failures = []error{p.skipped()}
		return r
	}
	moves := 0
	for {
		r.attempts++
		n, streamID, kind, err := p.send(budget, l, m)
		if err == nil {
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
		r.failures = append(r.failures, err)
		if kind == unknown {
			r.unknown++
		}
		if kind == refused {
			return r
		}
		if moves < maxMoves && topology.IsMoving(err) && pause(budget, moveDelay) {
			moves++
			continue
		}
		again := r.attempts-moves <= retries && !(kind == unknown && p.opts.NoRetryOnTimeout) && !errors.Is(err, redis.ErrClosed)
		if !again || !p.waitRetry(budget) {
			// That the caller gave up says nothing about Redis.
			if ended(ctx) == nil {
				p.breaker.trip(period, l.channel, err)
			}
			return r
		}
	}
}

// send makes one attempt.
func (p *Publisher) send(ctx context.Context, l *lane, m *parcel) (receivers int64, streamID string, kind outcome, err error) {
	if p.streams.on() {
		kept, err := p.keep(ctx, l, m)
		if err == nil {
			p.streams.worked.Store(true)
			l.behind = false
			return kept.Receivers, kept.StreamID, 0, nil
		}
		if !p.degrade(ctx, l, err) {
			kind = classifyAppend(err)
			m.tried = m.tried || kind == unknown
			return 0, "", kind, err
		}
	}
	receivers, err = p.publish(ctx, l.channel, m.WithoutStream().Body)
	if err != nil {
		topology.Refresh(ctx, p.conn, err)
		kind = classify(err)
		err = explain(err, kind, l.channel)
	}
	return receivers, "", kind, err
}

// publish only publishes: on a cluster where subscribers of this SDK listen, so
// that they are counted.
func (p *Publisher) publish(ctx context.Context, channel string, body []byte) (receivers int64, err error) {
	node, err := topology.Node(ctx, p.conn, channel)
	if err != nil {
		return 0, err
	}
	return node.Publish(ctx, channel, body).Result()
}

// waitRetry pauses before the next attempt. It tells at once when the budget
// ends before the pause would.
func (p *Publisher) waitRetry(ctx context.Context) bool {
	if ended(ctx) != nil {
		return false
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= p.opts.RetryDelay {
		return false
	}
	return p.opts.RetryDelay == 0 || pause(ctx, p.opts.RetryDelay)
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
			topology.IsMoving(err):
			return outage
		}
		return refused
	}
	// go-redis returns a context's error itself only while it waits for a
	// connection; on a connection a deadline shows as the socket's time-out.
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, topology.ErrNotMaster) || err == context.DeadlineExceeded || err == context.Canceled {
		return outage
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return outage
	}
	return unknown
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
		return fmt.Errorf("no connection in time: %w (is Redis reachable at this address?)", err)
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

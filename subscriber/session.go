package subscriber

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// probePrefix begins the channels on which sessions send to themselves.
const probePrefix = "fogis:probe:"

// session is one TCP connection with its subscriptions. The PubSub of go-redis
// is used up to its first failure: it would reconnect without saying so, which
// is why a session allows it a single dial.
//
// Its fields belong to the goroutine that is its reader, except where noted.
type session struct {
	k      *keeper
	ctx    context.Context
	cancel context.CancelCauseFunc
	parent context.Context
	idle   time.Duration // without any byte for so long the connection is dead
	client *redis.Client
	pubsub *redis.PubSub
	dials  atomic.Int32
	conn   *idleConn
	closed chan struct{} // closed with the connection; nil before the dial

	reader    reader
	handshake *time.Timer // ends the session unless it is up in time

	began time.Time // PINGs carry the time since then
	// asked counts the SUBSCRIBE commands sent: one after another, each after
	// the answer to the one before, so that a refusal names its channel.
	asked   int
	greeted bool // the PING before the first SUBSCRIBE was answered
	up      bool
	held    []*redis.Message // arrived before up
	// readTo is a time before which nothing can have been published that was
	// not read: see Gap.From.
	readTo time.Time
	// stalledFor is the time spent waiting for full lanes, and stalledAtPing
	// what it was when the newest PING was sent.
	stalledFor    atomic.Int64
	stalledAtPing atomic.Int64
	stalledAtFrom int64 // stalledAtPing of the PING of readTo
	// placed is when the question was asked, since began, at which publishers
	// counted the session last; 0 before the first answer.
	placed atomic.Int64

	helpers sync.WaitGroup // the goroutines of ping and probe
	pong    chan struct{}
	sent    atomic.Int64 // when the newest PING was, since began; any goroutine
	pinging atomic.Bool  // PINGs are sent, and nothing else that is answered
	probe   probe
	tests   sync.Map     // of *selfTest by payload; any goroutine
	last    atomic.Int64 // when the last message arrived, since began; any goroutine may read
	stalled atomic.Bool  // waiting for a full lane; any goroutine may read
}

func newSession(parent context.Context, k *keeper) *session {
	s := &session{
		k: k, parent: parent,
		idle:  2 * k.run.opts.PingInterval,
		began: time.Now(),
		pong:  make(chan struct{}, 1),
		probe: newProbe(),
	}
	s.reader.armed, s.reader.over = make(chan struct{}, 1), make(chan struct{})
	s.ctx, s.cancel = context.WithCancelCause(parent)
	return s
}

// connect finds the server for the session's channels. The connection itself is
// opened by the first command. The channels of one session may belong to
// different nodes of a cluster: it listens on that of the first one.
func (s *session) connect() error {
	o, err := topology.Options(s.ctx, s.k.run.s.conn, s.k.channels[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errNoServer, err)
	}
	if topology.BehindSentinel(o) {
		topology.DemandMaster(o)
	}
	open := o.Dialer
	o.Dialer = topology.Quiet(func(_ context.Context, network, addr string) (net.Conn, error) { return s.dial(open, network, addr) })
	topology.Plain(o)
	o.ReadTimeout, o.WriteTimeout = s.k.run.opts.HandshakeTimeout, s.idle
	s.client = redis.NewClient(o)
	s.pubsub = s.client.Subscribe(s.ctx)
	return nil
}

// dial opens the session's only connection. Closing it with the session's
// context is what ends a blocked handshake, read or write.
func (s *session) dial(open dialer, network, addr string) (net.Conn, error) {
	if s.dials.Add(1) > 1 {
		return nil, errSessionOver
	}
	conn, err := open(s.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	watchPeer(conn, s.idle)
	s.readTo = time.Now()
	closed := make(chan struct{})
	s.closed = closed
	context.AfterFunc(s.ctx, func() {
		conn.Close()
		close(closed)
	})
	s.conn = &idleConn{Conn: conn, idle: s.idle}
	return s.conn, nil
}

// run opens the session, waits for its end, and says why.
func (s *session) run() error {
	defer s.close()
	s.handshake = time.AfterFunc(s.k.run.opts.HandshakeTimeout, func() { s.cancel(errHandshake) })
	defer s.handshake.Stop()
	if err := s.connect(); err != nil {
		return s.reason(err)
	}
	// While Redis loads its data it takes subscriptions and refuses PINGs. A
	// PING first, so that no publisher counts a listener that will not last.
	if err := s.pubsub.Ping(s.ctx); err != nil {
		return s.reason(err)
	}
	s.helpers.Go(s.watch)
	s.k.run.workers.Go(s.read)
	<-s.reader.over
	return s.reader.err
}

// take acts on one reply. It returns an error when that ends the session, and
// a message for the caller to hand over.
func (s *session) take(reply any, err error) (*redis.Message, error) {
	if err != nil {
		if isAnswerToPing(err) && s.ctx.Err() == nil {
			switch {
			case !s.greeted:
				s.greeted = true
				s.pingRefused(err)
				return nil, s.ask()
			case s.pinging.Load():
				s.pingRefused(err)
				s.answered(time.Duration(s.sent.Load()))
				return nil, nil
			}
		}
		if !s.asksProbe() || !redis.HasErrorPrefix(err, "NOPERM") {
			return nil, s.reason(err)
		}
		s.probeRefused(err)
		s.asked++
		s.startHelpers(false)
		return nil, nil
	}
	switch reply := reply.(type) {
	case *redis.Pong:
		if !s.greeted {
			s.greeted = true
			return nil, s.ask()
		}
		s.ponged(reply.Payload)
	case *redis.Subscription:
		if reply.Kind != "subscribe" {
			return nil, fmt.Errorf("%w: channel %q", errUnsubscribed, reply.Channel)
		}
		if s.asksProbe() {
			s.asked++
			s.startHelpers(true)
			return nil, nil
		}
		return nil, s.confirm(reply.Channel)
	case *redis.Message:
		if reply.Channel == s.probe.channel {
			if !s.tested(reply.Payload) {
				s.probe.arrived(reply.Payload)
			}
			return nil, nil
		}
		if !s.up {
			s.held = append(s.held, reply)
			return nil, nil
		}
		return reply, nil
	}
	return nil, nil
}

// ask sends the next SUBSCRIBE.
func (s *session) ask() error {
	channel := s.probe.channel
	if s.asked < len(s.k.channels) {
		channel = s.k.channels[s.asked]
	}
	if err := s.pubsub.Subscribe(s.ctx, channel); err != nil {
		return s.reason(err)
	}
	return nil
}

// asksProbe tells whether the answer to the probe's SUBSCRIBE is due.
func (s *session) asksProbe() bool {
	return s.asked == len(s.k.channels) && s.k.run.probes
}

// confirm notes the answer for one channel. After the last one the session is
// up.
func (s *session) confirm(channel string) error {
	s.asked++
	s.k.update(func(status *SessionStatus) { status.Confirmed = append(status.Confirmed, channel) })
	if s.asked == len(s.k.channels) {
		s.handshake.Stop()
		if !s.k.confirmed(s) {
			return s.reason(s.ctx.Err())
		}
		for _, m := range s.held {
			if l, d := s.receive(m); d != nil {
				s.enqueue(l, d)
			}
		}
		s.held = nil
		if !s.k.run.probes {
			s.startHelpers(false)
			return nil
		}
	}
	return s.ask()
}

// reason prefers what we ended the session for to the read error that this
// caused, and names the channel that was asked for.
func (s *session) reason(err error) error {
	err = withoutContents(err)
	if s.ctx.Err() != nil && s.parent.Err() == nil {
		err = context.Cause(s.ctx)
	}
	if s.asked < len(s.k.channels) {
		return fmt.Errorf("channel %q: %w", s.k.channels[s.asked], err)
	}
	return err
}

func (s *session) close() {
	s.cancel(errSessionOver)
	if s.client != nil {
		s.pubsub.Close()
		s.client.Close()
	}
	s.helpers.Wait()
	if s.closed != nil {
		<-s.closed
	}
}

// startHelpers begins to send PINGs and, if the probe's channel is confirmed,
// probes. Not earlier: with one command unanswered at a time a write can
// never wait for a peer that waits for us to read.
func (s *session) startHelpers(probes bool) {
	s.helpers.Go(s.pingLoop)
	if probes {
		s.k.update(func(status *SessionStatus) {
			if status.Probe == ProbeRefused {
				status.Probe, status.ProbeError = ProbePending, ""
			}
		})
		s.helpers.Go(s.probeLoop)
		s.helpers.Go(s.placeLoop)
	}
}

// pingLoop sends a PING each interval, with when it was sent as its payload,
// once the one before was answered.
func (s *session) pingLoop() {
	for {
		sent := time.Since(s.began)
		s.sent.Store(int64(sent))
		s.pinging.Store(true)
		s.stalledAtPing.Store(s.stalledFor.Load())
		if err := s.pubsub.Ping(s.ctx, strconv.FormatInt(int64(sent), 10)); err != nil {
			s.cancel(fmt.Errorf("sending PING: %w", err))
			return
		}
		select {
		case <-s.pong:
		case <-s.ctx.Done():
			return
		}
		sleep(s.ctx, s.k.run.opts.PingInterval-(time.Since(s.began)-sent), nil)
		if s.ctx.Err() != nil {
			return
		}
	}
}

func (s *session) ponged(payload string) {
	sent, err := strconv.ParseInt(payload, 10, 64)
	now := time.Since(s.began)
	if err != nil || sent < 0 || time.Duration(sent) > now {
		return // no answer to a PING of ours; the next read deadline decides
	}
	s.k.update(func(status *SessionStatus) { status.PingError = "" })
	s.answered(time.Duration(sent))
}

// isAnswerToPing reports whether err is an answer to PING of a living server that
// delivers messages, such as MISCONF when it cannot save. A server that loads its
// data, or a replica without a master, takes subscriptions but delivers nothing.
func isAnswerToPing(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !redis.IsLoadingError(err) && !redis.IsMasterDownError(err) && !redis.IsAuthError(err)
}

// pingRefused notes an error that was the answer to a PING.
func (s *session) pingRefused(err error) {
	known := false
	s.k.update(func(status *SessionStatus) {
		known = status.PingError == err.Error()
		status.PingError = err.Error()
	})
	if !known {
		logs := &s.k.run.s.logs
		logs.line(s.ctx, logs.probe, slog.LevelWarn, "Redis refuses PING; the subscription goes on",
			slog.String("session", s.k.name), slog.Any("err", err))
	}
}

// answered notes the answer to the PING that was sent at a time since began.
func (s *session) answered(sent time.Duration) {
	now := time.Since(s.began)
	s.readTo, s.stalledAtFrom = s.began.Add(sent), s.stalledAtPing.Load()
	s.k.update(func(status *SessionStatus) {
		status.LastPing, status.PingRTT = s.began.Add(now), now-sent
	})
	select {
	case s.pong <- struct{}{}:
	default:
	}
}

// receive decodes a message and finds its lane. There is no delivery for what
// has none; that is counted and logged.
func (s *session) receive(m *redis.Message) (*lane, *delivery) {
	now := time.Now()
	s.last.Store(int64(now.Sub(s.began)))
	l, e, err := s.k.run.decode(viewBytes(m.Payload), "", m.Channel, message.ViaPubSub)
	if err != nil {
		return nil, nil
	}
	f := s.k.run.follower(m.Channel)
	if e.Repeat && f != nil { // the stream had it the first time
		s.k.run.s.counts.leftToStream.Add(1)
		return nil, nil
	}
	if e.Seq.N > 0 && !e.Repeat && !(e.Stream && f != nil) {
		s.checkSequence(&e.Header, now)
	}
	var t *term
	if f != nil {
		if e.Stream {
			f.announce(l, &delivery{env: e, size: len(m.Payload), sum: l.window.sum(viewBytes(m.Payload))})
			return nil, nil
		}
		if t = f.enter(); t == nil {
			s.k.run.s.counts.leftToHolder.Add(1)
			return nil, nil
		}
	}
	d := &delivery{env: e, size: len(m.Payload), term: t}
	if f != nil {
		d.sum = l.window.sum(viewBytes(m.Payload))
	}
	return l, d
}

// enqueue leaves a message to its lane, and waits while that is full.
func (s *session) enqueue(l *lane, d *delivery) {
	if _, ok := l.queue.offer(d); ok {
		return
	}
	s.stalled.Store(true)
	s.stalledFor.Add(int64(l.queue.put(s.ctx, d)))
	s.stalled.Store(false)
}

// checkSequence reports a hole in the publisher's numbering. A missing message
// was published after the one before it; that one was read after the answer to
// some PING, so it was published after that PING had been sent.
func (s *session) checkSequence(h *message.Header, now time.Time) {
	missing, from, leapt := s.k.seq.arrived(h.Channel, h, s.readTo)
	if leapt {
		missing = nil // that cannot be told
		logs := &s.k.run.s.logs
		logs.line(s.ctx, logs.leap, slog.LevelWarn, "numbering of a publisher leapt; it may be forged",
			slog.String("channel", h.Channel), slog.String("source", clip(h.Source)), slog.Uint64("seq", h.Seq.N))
	} else if len(missing) == 0 {
		return
	}
	s.k.mu.Lock()
	epoch := s.k.status.Epoch
	s.k.mu.Unlock()
	s.k.run.reportGap(Gap{
		Session: s.k.name, Type: s.k.typ, Epoch: epoch, Channels: []string{h.Channel}, Cause: CauseSequence,
		From: from, To: now, Source: h.Source, SourceEpoch: h.Seq.Epoch, Missing: missing,
	})
}

// viewBytes gives a string's bytes without a copy, to be read only. go-redis
// has made the string for this message alone.
func viewBytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

func newNonce() string {
	var random [12]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

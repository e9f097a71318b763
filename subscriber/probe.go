package subscriber

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// probe is a session's channel to itself. A PING proves that the socket works;
// only a message that comes back proves that Redis delivers to it. After a
// failover a connection can be in perfect health to a server that nobody
// publishes to.
type probe struct {
	channel string
	echoes  chan echo
}

type echo struct {
	payload string
	at      time.Time
}

func newProbe() probe {
	return probe{channel: probePrefix + newNonce(), echoes: make(chan echo, 1)}
}

// arrived takes an echo from the reader, which must not wait.
func (p *probe) arrived(payload string) {
	select {
	case p.echoes <- echo{payload, time.Now()}:
	default:
	}
}

// probeLoop sends a probe whenever no message has come for the interval, and
// ends the session when the probe does not come back.
func (s *session) probeLoop() {
	interval := s.k.run.opts.ProbeInterval
	quietSince := time.Since(s.began)
	for number := 1; s.ctx.Err() == nil; {
		quietSince = max(quietSince, time.Duration(s.last.Load()))
		if wait := interval - (time.Since(s.began) - quietSince); wait > 0 {
			sleep(s.ctx, wait, nil)
			continue
		}
		if s.stalled.Load() { // not quiet: the lane is full
			quietSince = time.Since(s.began)
			continue
		}
		if !s.sendProbe(strconv.Itoa(number)) {
			return
		}
		number++
		quietSince = time.Since(s.began)
	}
}

// sendProbe sends one probe and waits for its outcome. It returns false when
// no further one makes sense.
func (s *session) sendProbe(payload string) bool {
	before := s.last.Load()
	sent := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, s.idle)
	err := s.publishProbe(ctx, payload)
	cancel()
	switch {
	case s.ctx.Err() != nil:
		return false
	case redis.HasErrorPrefix(err, "NOPERM"):
		s.probeRefused(err)
		return false
	case err != nil: // says nothing about this connection
		s.k.update(func(status *SessionStatus) { status.Probe, status.ProbeError = ProbeFailed, err.Error() })
		logs := &s.k.run.s.logs
		logs.line(s.ctx, logs.probe, slog.LevelWarn, "probe could not be published", slog.String("session", s.k.name), slog.Any("err", err))
		return true
	}
	bound := time.NewTimer(s.idle)
	defer bound.Stop()
	for {
		select {
		case e := <-s.probe.echoes:
			if e.payload != payload { // of an earlier probe that came too late
				continue
			}
			s.k.update(func(status *SessionStatus) {
				status.Probe, status.ProbeError = ProbeOK, ""
				status.LastProbe, status.ProbeRTT = e.at, e.at.Sub(sent)
			})
			return true
		case <-bound.C:
			if s.last.Load() != before || s.stalled.Load() {
				return true // messages came: it delivers
			}
			s.cancel(errNotDelivering)
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}

// publishProbe publishes a probe on a connection that leads to a master: one to a
// replica, as after a failover, would not reach this session.
func (s *session) publishProbe(ctx context.Context, payload string) error {
	conn := s.k.run.s.conn
	node, err := topology.Node(ctx, conn, s.probe.channel)
	if err != nil {
		return err
	}
	_, err = topology.Publish(ctx, node, s.probe.channel, payload)
	if topology.IsReplica(err) { // once more, on a new connection
		topology.Refresh(ctx, conn, err)
		if node, err = topology.Node(ctx, conn, s.probe.channel); err == nil {
			_, err = topology.Publish(ctx, node, s.probe.channel, payload)
		}
	}
	return err
}

// probeRefused notes that the Redis user may not use the probe's channel. The
// subscription does not suffer from that.
func (s *session) probeRefused(err error) {
	s.k.update(func(status *SessionStatus) { status.Probe, status.ProbeError = ProbeRefused, err.Error() })
	logs := &s.k.run.s.logs
	logs.line(s.ctx, logs.probe, slog.LevelWarn, "probe refused; allow the Redis user the channels "+probePrefix+"*",
		slog.String("session", s.k.name), slog.Any("err", err))
}

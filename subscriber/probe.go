package subscriber

import (
	"context"
	"errors"
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
	err := s.publishProbe(payload)
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

// placeLoop ends the session when publishers count it no longer. After a failover
// in good order the server of the session lives on as a replica. What is published
// still comes, by replication or the bus of the cluster, but the new master counts
// nobody, so that publishers find too few receivers. Where the session was never
// counted, as behind a proxy, that tells nothing; nor does once, or while a lane is
// full: the server may have closed the connection, with more to read in it.
func (s *session) placeLoop() {
	counted, missed := false, 0
	for ; s.ctx.Err() == nil; sleep(s.ctx, s.k.run.opts.PingInterval, nil) {
		n, asked := int64(0), time.Since(s.began)
		err := s.atMaster(s.k.channels[0], func(ctx context.Context, node redis.UniversalClient) (err error) {
			n, err = topology.Listeners(ctx, node, s.probe.channel)
			return err
		})
		switch {
		case redis.HasErrorPrefix(err, "NOPERM"):
			return
		case err != nil || s.stalled.Load():
		case n > 0:
			counted, missed = true, 0
			s.placed.Store(int64(asked))
		case counted:
			if missed++; missed == 2 {
				s.cancel(errElsewhere)
				return
			}
		}
	}
}

// knownTo is a time before which nothing can have been published that was not
// read. A server that publishers do not reach any more may answer PINGs for long.
func (s *session) knownTo(end error) time.Time {
	if placed := s.began.Add(time.Duration(s.placed.Load())); errors.Is(end, errElsewhere) && placed.Before(s.readTo) {
		return placed
	}
	return s.readTo
}

// publishProbe publishes a probe.
func (s *session) publishProbe(payload string) error {
	return s.atMaster(s.probe.channel, func(ctx context.Context, node redis.UniversalClient) error {
		_, err := topology.Publish(ctx, node, s.probe.channel, payload)
		return err
	})
}

// atMaster asks the node of a channel, on a connection that leads to a master: a
// replica, as after a failover, does not know what the publishers' server does.
func (s *session) atMaster(channel string, ask func(context.Context, redis.UniversalClient) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.idle)
	defer cancel()
	conn := s.k.run.s.conn
	for again := true; ; again = false {
		node, err := topology.Node(ctx, conn, channel)
		if err == nil {
			err = ask(ctx, node)
		}
		if !topology.IsReplica(err) || !again {
			return err
		}
		topology.Refresh(ctx, conn, err) // once more, on a new connection
	}
}

// probeRefused notes that the Redis user may not use the probe's channel. The
// subscription does not suffer from that.
func (s *session) probeRefused(err error) {
	s.k.update(func(status *SessionStatus) { status.Probe, status.ProbeError = ProbeRefused, err.Error() })
	logs := &s.k.run.s.logs
	logs.line(s.ctx, logs.probe, slog.LevelWarn, "probe refused; allow the Redis user the channels "+probePrefix+"*",
		slog.String("session", s.k.name), slog.Any("err", err))
}

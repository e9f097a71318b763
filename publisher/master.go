package publisher

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

const (
	// roleEvery is how long a lane trusts its connection in plain mode: then the
	// next message asks for the server's role in the same round trip.
	roleEvery = time.Second
	// checkEvery is how often Run asks. It is less than a connection may be idle
	// (connect.go), so that the one in use stays warm.
	checkEvery = 5 * time.Second
)

// trust is what a Publisher knows of the role of its server.
type trust struct {
	logger *slog.Logger
	lost   atomic.Bool  // since is set
	doubt  atomic.Int64 // when a connection last led to a replica, in Unix nanoseconds

	mu    sync.Mutex
	since time.Time // when the server was found to be no master; zero when it is one
}

// due reports whether a lane that last asked then should ask again.
func (t *trust) due(asked, now time.Time) bool {
	return now.Sub(asked) >= roleEvery || asked.UnixNano() <= t.doubt.Load()
}

// judge notes what an attempt says about the server's role; nil means a master.
func (t *trust) judge(ctx context.Context, channel string, err error) {
	switch {
	case err == nil:
		if t.lost.Load() && t.set(time.Time{}) {
			t.logger.LogAttrs(ctx, slog.LevelInfo, "connected server is a master again", slog.String("channel", channel))
		}
	case topology.IsReplica(err):
		now := time.Now()
		t.doubt.Store(now.UnixNano())
		if t.set(now) {
			t.logger.LogAttrs(ctx, slog.LevelWarn, "connected server is not a master", slog.String("channel", channel), slog.Any("err", err))
		}
	}
}

// set notes since when the server has been no master, and reports whether it is news.
func (t *trust) set(since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() == since.IsZero() {
		return false
	}
	t.since = since
	t.lost.Store(!since.IsZero())
	return true
}

// notMaster returns since when the server has been no master; zero if it is one.
func (t *trust) notMaster() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since
}

// check is the part of Run that asks the servers of the channels on which this
// process publishes, before a message has to find out.
func (p *Publisher) check(ctx context.Context) {
	for pause(ctx, checkEvery) {
		for _, l := range p.all {
			if l.used.Load() {
				p.checkOne(ctx, l)
			}
		}
	}
}

func (p *Publisher) checkOne(ctx context.Context, l *lane) {
	if _, open := p.breaker.openSince(); open {
		return // watch asks
	}
	// A second time on a new connection.
	for range 2 {
		err := p.probe(ctx, l.channel, pingInRun)
		if ctx.Err() != nil {
			return
		}
		p.trust.judge(ctx, l.channel, err)
		if !topology.IsReplica(err) {
			return
		}
	}
}

// probe asks the channel's server whether it works and is a master.
func (p *Publisher) probe(ctx context.Context, channel string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	node, err := topology.Node(ctx, p.conn, channel)
	if err != nil {
		return err
	}
	err = topology.Probe(ctx, node)
	if err != nil {
		topology.Refresh(ctx, p.conn, err)
	}
	return err
}

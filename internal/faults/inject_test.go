package faults_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
)

// inject begins a fault, and has it end. What cannot be done at this moment, as
// to a server that is down, is left out and not noted.
func (w *world) inject(f faults.Fault) {
	on := faults.Record{What: faults.FaultOn, N: f.N, Detail: string(f.Kind), Via: f.Link}
	ctx := context.Background()
	over := func() { w.note(faults.Record{What: faults.FaultOff, N: f.N}) }
	later := func(end func()) {
		w.note(on)
		w.at(time.Now().Add(f.For), func() {
			end()
			over()
		})
	}
	moment := func() {
		w.note(on)
		over()
	}
	down := w.server.PID() == 0
	link := w.links[f.Link]
	switch f.Kind {
	case faults.ServerKill:
		if !down {
			w.server.Stop()
			later(func() {
				if w.server.PID() == 0 { // another fault may have started it
					w.server.Start()
				}
			})
		}
	case faults.ServerSleep:
		if !down {
			later(func() {})
			w.sleepServer(f.For)
		}
	case faults.ServerFull:
		if !down {
			later(w.roomForServer)
			_ = w.admin.ConfigSet(ctx, "maxmemory", "1").Err()
		}
	case faults.ServerClock:
		step, err := time.ParseDuration(f.Arg)
		require.NoError(w.t, err)
		f.For = 2 * time.Second // until the server has seen it
		w.setClock(w.offset + step)
		later(func() {})
	case faults.ServerFlush:
		if w.admin.FlushAll(ctx).Err() == nil {
			moment()
		}
	case faults.ScriptFlush:
		if w.admin.ScriptFlush(ctx).Err() == nil {
			moment()
		}
	case faults.ClientKill:
		if w.admin.ClientKillByFilter(ctx, "TYPE", f.Arg, "SKIPME", "yes").Err() == nil {
			moment()
		}
	case faults.HandlerKill:
		if c := w.subs[w.busiest(f.Slot)]; c != nil {
			w.note(on)
			_, _ = fmt.Fprintf(c.in, "die %s %d\n", f.Arg, 1+f.N%10)
			over()
		}
	case faults.SubscriberKill:
		if c := w.subs[f.Slot]; c != nil {
			w.note(on)
			w.kill(c)
			over()
		}
	case faults.SubscriberStop:
		if c := w.subs[f.Slot]; c != nil && !c.asked {
			w.note(on)
			w.ask(c)
			over()
		}
	case faults.OutboxRemoved, faults.OutboxCut, faults.OutboxDamaged:
		w.hurtOutbox(f, moment)
	case faults.PublisherStop:
		if w.runs+1 < len(w.plan.Runs) {
			moment()
			w.nextRun(nil)
		}
	case faults.ServerMoved:
		if !down && w.moveServer() {
			moment()
		}
	case faults.ServerMisconf:
		if !down && w.misconfigure() {
			later(w.configure)
		}
	case faults.ReceiverHangs:
		if c := w.subs[int(w.plan.Seed)%w.plan.Slots]; c != nil {
			_, _ = fmt.Fprintf(c.in, "hang %s\n", f.For)
			later(func() {})
		}
	case faults.Cut:
		moment()
		link.Cut()
	case faults.Reset:
		moment()
		link.Reset()
	case faults.BlackHole:
		link.BlackHole(true)
		later(func() { link.BlackHole(false) })
	case faults.HalfFrame:
		link.HalfFrame()
		later(func() { link.Disarm(); link.Cut() })
	case faults.Swallow:
		link.SwallowAnswers(true)
		later(func() { link.SwallowAnswers(false) })
	case faults.SwallowOn:
		link.SwallowNextAnswer(f.Arg)
		later(link.Disarm)
	case faults.Slow:
		rate, err := strconv.Atoi(f.Arg)
		require.NoError(w.t, err)
		link.Slow(rate)
		later(func() { link.Slow(0) })
	case faults.Refuse:
		link.Refuse(true)
		link.Cut()
		later(func() { link.Refuse(false) })
	}
}

// sleepServer has the server do nothing for a time.
func (w *world) sleepServer(d time.Duration) {
	o := w.server.Options()
	o.ReadTimeout = d + time.Second
	go func() {
		c := redis.NewClient(o)
		defer c.Close()
		_ = c.Do(context.Background(), "DEBUG", "SLEEP", fmt.Sprintf("%.3f", d.Seconds())).Err()
	}()
}

// roomForServer ends ServerFull; a server that sleeps is asked again.
func (w *world) roomForServer() {
	if w.server.PID() == 0 {
		return // it comes back with room
	}
	if w.admin.ConfigSet(context.Background(), "maxmemory", "0").Err() != nil {
		w.at(time.Now().Add(200*time.Millisecond), w.roomForServer)
	}
}

// busiest is the slot of the subscriber whose handler was called last, or the
// given one if that has gone.
func (w *world) busiest(slot int) int {
	records, err := readJournal(w.path)
	require.NoError(w.t, err)
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].What != faults.Began {
			continue
		}
		for busy, c := range w.subs {
			if c != nil && c.who == records[i].Who {
				return busy
			}
		}
		break
	}
	return slot
}

// setClock sets the server's clock by an offset from the right time.
func (w *world) setClock(offset time.Duration) {
	w.offset = offset
	next := w.clock + ".next"
	require.NoError(w.t, os.WriteFile(next, fmt.Appendf(nil, "%+d\n", int64(offset.Seconds())), 0o600))
	require.NoError(w.t, os.Rename(next, w.clock))
}

// heal ends every fault that is at work.
func (w *world) heal() {
	for _, link := range w.links {
		link.Disarm()
		link.BlackHole(false)
		link.SwallowAnswers(false)
		link.Slow(0)
		link.Refuse(false)
	}
	if w.server.PID() == 0 {
		w.server.Start()
	}
	w.roomForServer()
	if w.plan.Mode == faults.Sending {
		w.configure()
	}
}

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
	"github.com/redis/go-redis/v9"
)

// group is the one that all subscribers form.
const group = "calendar"

// retryFor is short, so that a message that always fails costs little time.
const retryFor = 500 * time.Millisecond

func init() { roles["subscriber"] = subscribe }

// worker is a subscriber process.
type worker struct {
	*process

	mu    sync.Mutex
	calls map[faults.Key]int
	// doom is the place within a handler at which the process dies, after so
	// many more.
	doom     string
	doomLeft int
	hangs    time.Time // until when the receiver does not answer
}

func subscribe(p *process) error {
	w := &worker{process: p, calls: map[faults.Key]int{}}
	go endWithParent(w.command)
	o := subscriber.Options{
		Logger:       p.logger,
		PingInterval: time.Second, HandshakeTimeout: 2 * time.Second,
		RetryDelay: 20 * time.Millisecond, RetryDelayMax: time.Second,
		DrainTimeout: 3 * time.Second, DispatchTimeout: 5 * time.Second,
		Durable: subscriber.DurableOptions{Group: group, RetryFor: retryFor, Instance: p.Who},
		OnGap: func(g subscriber.Gap) {
			p.note(faults.Record{What: faults.Gap, Type: g.Type, N: int(g.Stream.Missing), Detail: string(g.Cause)})
		},
	}
	if p.Plan.Mode == faults.Trim {
		o.Durable.MaxDead = 2
	}
	s, err := subscriber.New(redis.NewClient(p.redisOptions()), o)
	if err != nil {
		return err
	}
	for _, t := range faults.Types {
		s.Handle(t.Type, w.handle)
	}
	receiver, err := httpfallback.Handler(s, httpfallback.HandlerOptions{AllowUnauthenticated: true, Logger: p.logger})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", p.HTTP)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: w.unwilling(receiver), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go w.watch(s)
	return errors.Join(s.Run(ctx), server.Close())
}

// watch writes down which leases the process has lost.
func (w *worker) watch(s *subscriber.Subscriber) {
	types := map[string]message.Type{}
	for _, t := range faults.Types {
		types[t.Type.DefaultChannel()] = t.Type
	}
	has := map[string]bool{}
	for range time.Tick(10 * time.Millisecond) {
		for _, stream := range s.Status().Streams {
			if stream.Holder == has[stream.Channel] {
				continue
			}
			has[stream.Channel] = stream.Holder
			if !stream.Holder {
				w.note(faults.Record{What: faults.Lost, Type: types[stream.Channel]})
			}
		}
	}
}

// command takes "die PLACE N": the process dies at the place within a handler,
// in the Nth call from now; and "hang D": its receiver does not answer for so
// long.
func (w *worker) command(line string) {
	words := strings.Fields(line)
	if len(words) == 2 && words[0] == "hang" {
		if d, err := time.ParseDuration(words[1]); err == nil {
			w.mu.Lock()
			w.hangs = time.Now().Add(d)
			w.mu.Unlock()
			return
		}
	}
	if len(words) != 3 || words[0] != "die" {
		fmt.Fprintln(os.Stderr, "no such command:", line)
		return
	}
	n, err := strconv.Atoi(words[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doom, w.doomLeft = words[1], n
}

// pass is a place within a handler.
func (w *worker) pass(place string) {
	w.mu.Lock()
	doomed := w.doom == place
	if doomed {
		w.doomLeft--
		doomed = w.doomLeft <= 0
	}
	w.mu.Unlock()
	if doomed {
		w.die(place)
	}
}

var errHandler = errors.New("it failed, as planned")

func (w *worker) handle(ctx context.Context, e *message.Envelope) error {
	n, err := numberOf(e)
	if err != nil {
		return subscriber.Permanent(err)
	}
	key := faults.Key{Type: e.Type, N: n}
	b := faults.BehaviourOf(w.Plan.Seed, e.Type, n)
	r := faults.Record{Type: e.Type, N: n, ID: e.ID, Via: string(e.Via), Stubborn: b.Deaf}
	began := r
	began.What = faults.Began
	w.note(began)
	w.pass(faults.Began)
	w.mu.Lock()
	w.calls[key]++
	call := w.calls[key]
	w.mu.Unlock()

	err = act(ctx, b, call)
	w.pass("inside")
	r.What, r.Detail = faults.Ended, faults.EndedWell
	switch {
	case errors.Is(err, errHandler):
		r.Detail = faults.EndedFailed
	case err != nil:
		r.Detail = faults.EndedContext
	}
	w.note(r)
	w.pass(faults.Ended)
	return err
}

// act does what the plan says for the call so many of this process.
func act(ctx context.Context, b faults.Behaviour, call int) error {
	if b.Deaf {
		ctx = context.WithoutCancel(ctx)
	}
	if b.Wait > 0 {
		select {
		case <-time.After(b.Wait):
		case <-ctx.Done():
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case b.Fails < 0 || call <= b.Fails:
		return errHandler
	}
	return nil
}

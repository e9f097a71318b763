package faults_test

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

func init() { roles["publisher"] = publish }

// publish publishes what no earlier process of the seed has tried, and ends
// when nothing waits in the outbox.
func publish(p *process) (err error) {
	go endWithParent(func(string) {})
	r := newReaper(p)
	options := p.redisOptions()
	options.Dialer = r.dial
	asked, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer forget()
	w := &ways{p: p, posted: map[string]bool{}}
	if p.Plan.Mode == faults.Sending {
		p.note(faults.Record{What: faults.Runs, Detail: p.Runs})
		p.logger = slog.New(&teller{p.logger.Handler(), p})
	}
	file, err := p.openOutbox()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	client, err := httpfallback.New(p.HTTP, httpfallback.Options{
		Timeout: 2 * time.Second, Retries: 1, RetryDelay: 50 * time.Millisecond, Logger: p.logger,
	})
	if err != nil {
		return err
	}
	over := []message.Type{message.TypeMatchUpdates}
	if p.Plan.FallbackAll {
		over = nil
		for _, t := range faults.Types {
			over = append(over, t.Type)
		}
	}
	settings := publisher.Options{
		Source: "faults", Budget: 2 * time.Second, RetryDelay: 50 * time.Millisecond, RequireReceivers: -1,
		Durable: publisher.DurableOptions{Mode: publisher.DurableOn, MaxAge: -1, MaxLen: -1, MaxBytes: -1, NoRepeat: true},
		Outbox:  &countedOutbox{file, r, w}, Fallback: &countedFallback{client, r, w}, FallbackTypes: over, Logger: p.logger,
	}
	switch p.Runs {
	case faults.RunsAuto:
		settings.Durable.Mode = publisher.DurableAuto
	case faults.RunsPlain:
		settings.Durable, settings.RequireReceivers = publisher.DurableOptions{}, 0
	case faults.RunsDisabled:
		settings.Durable, settings.Disabled = publisher.DurableOptions{}, true
	}
	pub, err := publisher.New(redis.NewClient(options), settings)
	if err != nil {
		return err
	}
	records, err := readJournal(p.Journal)
	if err != nil {
		return err
	}
	last := map[message.Type]int{}
	for _, r := range records {
		if r.What == faults.Publishing {
			last[r.Type] = max(last[r.Type], r.N)
		}
	}
	run, stop := context.WithCancel(context.Background())
	var running, all sync.WaitGroup
	running.Go(func() { _ = pub.Run(run) }) // it always returns nil
	for _, t := range faults.Types {
		all.Go(func() {
			n, most := last[t.Type]+1, count(t.Share)
			for ; n <= most; n++ {
				select {
				case <-asked.Done():
					return
				case <-time.After(time.Until(p.Start.Add(p.Plan.Length * time.Duration(n) / time.Duration(most)))):
				}
				p.publish(pub, t.Type, n)
			}
		})
	}
	all.Wait()
	if !p.Last && p.Runs != "" {
		<-asked.Done()
	}
	for asked.Err() == nil && pub.Stats().Waiting > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	running.Wait()
	if p.Plan.Mode == faults.Sending {
		for problem := range file.Problems() {
			p.tell(problem)
		}
	}
	return nil
}

func (p *process) publish(pub *publisher.Publisher, t message.Type, n int) {
	r := faults.Record{What: faults.Publishing, Type: t, N: n}
	p.note(r)
	receipt, err := pub.Publish(context.Background(), payload(p.Plan.Seed, t, n), publisher.WithID(faults.MessageID(faults.Key{Type: t, N: n})))
	if err != nil {
		p.logger.Warn("not published", "err", err)
		r.What = faults.Refused
		if failed, ok := errors.AsType[*publisher.Error](err); ok && failed.Outbox != nil {
			r.Detail = failed.Outbox.Error()
			p.tell(r.Detail)
		}
		p.note(r)
		return
	}
	r.What, r.Via = faults.Published, string(receipt.Route)
	p.note(r)
}

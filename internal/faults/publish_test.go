package faults_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
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
	file, err := outbox.Open(filepath.Join(filepath.Dir(p.Journal), "outbox"), outbox.Options{MaxBytes: -1})
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
	pub, err := publisher.New(redis.NewClient(options), publisher.Options{
		Source: "faults", Budget: 2 * time.Second, RetryDelay: 50 * time.Millisecond, RequireReceivers: -1,
		Durable: publisher.DurableOptions{Mode: publisher.DurableOn, MaxAge: -1, MaxLen: -1, MaxBytes: -1, NoRepeat: true},
		Outbox:  &countedOutbox{file, r}, Fallback: &countedFallback{client, r}, FallbackTypes: over, Logger: p.logger,
	})
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
				at := p.Start.Add(p.Plan.Length * time.Duration(n) / time.Duration(most))
				time.Sleep(time.Until(at))
				p.publish(pub, t.Type, n)
			}
		})
	}
	all.Wait()
	for pub.Stats().Waiting > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	running.Wait()
	return nil
}

func (p *process) publish(pub *publisher.Publisher, t message.Type, n int) {
	r := faults.Record{What: faults.Publishing, Type: t, N: n}
	p.note(r)
	receipt, err := pub.Publish(context.Background(), payload(p.Plan.Seed, t, n), publisher.WithID(fmt.Sprint(t, n)))
	if err != nil {
		p.logger.Warn("not published", "err", err)
		return
	}
	r.What, r.Via = faults.Published, string(receipt.Route)
	p.note(r)
}

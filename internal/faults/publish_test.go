package faults_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
)

func init() { roles["publisher"] = publish }

// publish publishes what no earlier process of the seed has tried.
func publish(p *process) error {
	go endWithParent(func(string) {})
	r := newReaper(p)
	options := p.redisOptions()
	options.Dialer = r.dial
	w, err := durable.NewWriter(redis.NewClient(options), durable.WriterOptions{MaxAge: -1, MaxLen: -1, MaxBytes: -1})
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
	var all sync.WaitGroup
	for _, t := range faults.Types {
		all.Go(func() {
			n, most := last[t.Type]+1, count(t.Share)
			for ; n <= most; n++ {
				at := p.Start.Add(p.Plan.Length * time.Duration(n) / time.Duration(most))
				time.Sleep(time.Until(at))
				p.publish(w, t.Type, n)
			}
		})
	}
	all.Wait()
	return nil
}

func (p *process) publish(w *durable.Writer, t message.Type, n int) {
	ctx := context.Background()
	body, err := message.AppendEncode(nil, message.Header{ID: fmt.Sprint(t, n), Source: p.Who}, payload(p.Plan.Seed, t, n))
	if err != nil {
		panic(err)
	}
	body = append([]byte(`{"stream":true,`), body[1:]...)
	r := faults.Record{What: faults.Publishing, Type: t, N: n}
	p.note(r)
	var mark string
	for {
		mark, err = w.Mark(ctx, t.DefaultChannel())
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	after := ""
	for {
		tctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := w.Append(tctx, t.DefaultChannel(), message.Outgoing{ID: fmt.Sprint(t, n), Type: t, Body: body}, after)
		cancel()
		if err == nil {
			break
		}
		after = mark
		time.Sleep(50 * time.Millisecond)
	}
	r.What, r.Via = faults.Published, "stream"
	p.note(r)
}

package publisher

import (
	"context"
	"sync"
)

// Run looks after what Publish leaves behind, until ctx ends; it then returns
// nil, after the step that it is in: within Options.Budget, or when the
// [Fallback] returns. Call it once at a time. Run also posts, by the fallback,
// what the stream has but too few listeners heard; without Run Publish does.
//
// Whenever Redis was found not to work, Run asks for it every second, so that
// messages take that route again as soon as it works. Without Run the first Publish
// after a second asks: it waits for 40 ms if another route can take the message, and
// asks once more when that has it, so that a distant Redis is found too. Every five
// seconds Run asks the servers on which this process publishes whether they are
// masters. Run sends what waits in Options.Outbox, also
// what an earlier process left there; without Run only the next Publish of the
// type does. It repeats snapshots as [DurableOptions].NoRepeat says, and removes
// entries older than [DurableOptions].MaxAge from the streams.
func (p *Publisher) Run(ctx context.Context) error {
	p.running.Add(1)
	defer p.running.Add(-1)
	var parts sync.WaitGroup
	parts.Go(func() { p.breaker.watch(ctx) })
	if !p.opts.Disabled {
		parts.Go(func() { p.check(ctx) })
	}
	if p.opts.Outbox != nil {
		parts.Go(func() { p.drain(ctx) })
	}
	if p.opts.Fallback != nil && p.streams.writer != nil {
		parts.Go(func() { p.postCopies(ctx) })
	}
	if l := p.lanes[repeated]; l != nil && p.streams.writer != nil && !p.opts.Durable.NoRepeat {
		parts.Go(func() { p.repeat(ctx, l) })
	}
	if p.streams.writer != nil {
		parts.Go(func() { p.age(ctx) })
	}
	parts.Wait()
	return nil
}

package fogispubsub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// watchedFallback remembers how the fallback's last message went. When the stream
// or the outbox has the message too, its Publish is no error: only this tells an
// operator that the second route does not work.
type watchedFallback struct {
	publisher.Fallback

	mu  sync.Mutex
	err error // of the last message
	at  time.Time
}

// Notify implements [publisher.Fallback].
func (w *watchedFallback) Notify(ctx context.Context, m message.Outgoing) error {
	err := w.Fallback.Notify(ctx, m)
	if errors.Is(ctx.Err(), context.Canceled) {
		return err // the caller gave up, which says nothing about the receiver
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.at = err, time.Now()
	return err
}

// problem returns when the fallback was last asked, and why it did not take that
// message; nil if it did.
func (w *watchedFallback) problem() (time.Time, error) {
	if w == nil {
		return time.Time{}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at, w.err
}

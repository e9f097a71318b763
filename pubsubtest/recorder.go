package pubsubtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Recorder is a handler that keeps what it got. Its methods may be called from
// any goroutine of the test: a Next that fails it ends the calling goroutine.
type Recorder[P message.Payload] struct {
	tb testing.TB

	mu       sync.Mutex
	messages []message.Message[P]
	errs     []error
	taken    int
	came     chan struct{} // closed and replaced with every message
}

// NewRecorder returns a recorder without messages.
func NewRecorder[P message.Payload](tb testing.TB) *Recorder[P] {
	return &Recorder[P]{tb: tb, came: make(chan struct{})}
}

// Handle is the handler to register. It records the message, also when it
// returns an error given to [Recorder.Fail].
func (r *Recorder[P]) Handle(_ context.Context, m message.Message[P]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	close(r.came)
	r.came = make(chan struct{})
	if len(r.errs) == 0 {
		return nil
	}
	err := r.errs[0]
	r.errs = r.errs[1:]
	return err
}

// Fail makes the next calls of Handle return these errors, one each; nil is a
// success.
func (r *Recorder[P]) Fail(errs ...error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, errs...)
}

// Next returns the oldest message that Next has not returned yet, and waits up
// to 30 seconds for it.
func (r *Recorder[P]) Next() message.Message[P] {
	r.tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		if r.taken < len(r.messages) {
			m := r.messages[r.taken]
			r.taken++
			r.mu.Unlock()
			return m
		}
		came := r.came
		r.mu.Unlock()
		select {
		case <-came:
		case <-deadline.C:
			fail(r.tb, "pubsubtest: no further message came in %v", patience)
		}
	}
}

// Messages returns every message so far, in the order of the calls.
func (r *Recorder[P]) Messages() []message.Message[P] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message.Message[P](nil), r.messages...)
}

package subscriber

import (
	"context"
	"slices"

	"github.com/PitchConnect/fogispubsub/durable"
)

// try notes that a redelivered entry is about to enter its handler, and tells
// how often it was.
func (t *term) try(e *durable.Entry) (tries int, err error) {
	err = t.insist(t.ctx, func() (err error) {
		tries, err = t.lease.Try(t.ctx, *e)
		return err
	})
	if err != nil || tries > durable.MaxTries {
		return tries, err
	}
	t.mu.Lock()
	untry := t.untrying
	if !untry {
		t.tried = append(t.tried, durable.Entry{StreamID: e.StreamID})
	}
	t.mu.Unlock()
	if untry {
		t.untry(durable.Entry{StreamID: e.StreamID})
	}
	return tries, nil
}

// untry takes back a try. If that fails it counts, as one of five.
func (t *term) untry(e durable.Entry) {
	if t.lease.Context().Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), untryTime)
	defer cancel()
	_ = t.lease.Untry(ctx, e)
}

// leftHandler tells that a tried entry has left its handler, in whatever way.
func (t *term) leftHandler(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = slices.DeleteFunc(t.tried, func(e durable.Entry) bool { return e.StreamID == id })
}

// startUntrying returns the entries that were tried and are in their handlers.
// From now on tries are taken back as soon as they are noted.
func (t *term) startUntrying() []durable.Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untrying = true
	return slices.Clone(t.tried)
}

// untry takes back the tries of the entries that are in their handlers when Run
// ends. Whatever ends the process now, they do not.
func (f *follower) untry() {
	f.mu.Lock()
	t := f.term
	f.mu.Unlock()
	if t == nil {
		return
	}
	for _, e := range t.startUntrying() {
		t.untry(e)
	}
}

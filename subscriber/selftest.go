package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// testPrefix begins the payload of a self-test on a session's probe channel.
const testPrefix = "test:"

// testAgain is after what time a test message is published again.
const testAgain = 250 * time.Millisecond

// TestResult is what a self-test of one session found.
type TestResult struct {
	Session string
	// Delivered is the time from PUBLISH until the session had the message,
	// Handled until its lanes had handed it to a test handler, behind what
	// waited there. Zero is not reached.
	Delivered, Handled time.Duration
	// Err tells which of the two was not reached, and why.
	Err error
}

// ErrNotDelivered is wrapped by the error of a [TestResult] whose message did
// not come back: nothing that is published reaches the session.
var ErrNotDelivered = errors.New("the test message was not delivered")

// selfTest is a message of a session to itself that goes on to the lanes.
type selfTest struct {
	payload   string
	delivered chan time.Time
	handled   chan time.Time // one for each lane
	full      chan message.Type
	lanes     []*lane
}

// Test sends a message through Redis to each session and through its lanes to a
// handler for tests, and waits for that until ctx ends; the user's handlers are
// not called, and nothing is counted. It goes the way of the session's probes.
// The error is ErrNotRunning, or that there is no session or the probes are
// off; what a session lacks is in its result.
func (s *Subscriber) Test(ctx context.Context) ([]TestResult, error) {
	r := s.current()
	switch {
	case r == nil:
		return nil, ErrNotRunning
	case len(r.keepers) == 0:
		return nil, errors.New("subscriber: there is no subscription to test")
	case !r.probes:
		return nil, errors.New("subscriber: the test uses the probes, which are off by Options.ProbeInterval")
	}
	results := make([]TestResult, 0, len(r.keepers))
	for _, k := range r.keepers {
		result := TestResult{Session: k.name}
		k.test(ctx, &result)
		results = append(results, result)
	}
	return results, nil
}

func (k *keeper) test(ctx context.Context, result *TestResult) {
	k.mu.Lock()
	session, state, probe := k.session, k.status.State, k.status.Probe
	k.mu.Unlock()
	switch {
	case session == nil || state != StateSubscribed:
		result.Err = fmt.Errorf("%w: session %s is %s", ErrNotDelivered, k.name, state)
		return
	case probe == ProbeRefused:
		result.Err = fmt.Errorf("%w: session %s may not use its probe channel; allow the Redis user the channels %s*", ErrNotDelivered, k.name, probePrefix)
		return
	}
	t := &selfTest{payload: testPrefix + newNonce(), delivered: make(chan time.Time, 1)}
	for _, typ := range sortedTypes(k.run.lanes) {
		if l := k.run.lanes[typ]; k.run.channels[l.channel] == k {
			t.lanes = append(t.lanes, l)
		}
	}
	t.handled, t.full = make(chan time.Time, len(t.lanes)), make(chan message.Type, len(t.lanes))
	session.tests.Store(t.payload, t)
	defer session.tests.Delete(t.payload)
	began := time.Now()
	for result.Delivered == 0 {
		// A session may be up a moment before its probe channel is.
		if err := k.run.s.conn.Publish(ctx, session.probe.channel, t.payload).Err(); err != nil {
			result.Err = fmt.Errorf("%w: PUBLISH: %w", ErrNotDelivered, err)
			return
		}
		again := time.NewTimer(testAgain)
		select {
		case at := <-t.delivered:
			result.Delivered = max(at.Sub(began), 1)
		case <-session.ctx.Done():
			result.Err = fmt.Errorf("%w: session %s ended", ErrNotDelivered, k.name)
		case <-ctx.Done():
			result.Err = fmt.Errorf("%w to session %s: %w", ErrNotDelivered, k.name, context.Cause(ctx))
		case <-again.C:
		}
		again.Stop()
		if result.Err != nil {
			return
		}
	}
	for range t.lanes {
		select {
		case at := <-t.handled:
			result.Handled = max(at.Sub(began), 1)
		case typ := <-t.full:
			result.Handled, result.Err = 0, fmt.Errorf("subscriber: the lane of %q is full", typ)
			return
		case <-ctx.Done():
			result.Handled, result.Err = 0, fmt.Errorf("subscriber: the test message waits behind others in the lanes of session %s: %w", k.name, context.Cause(ctx))
			return
		}
	}
}

// tested takes a self-test from the reader, which must not wait. It returns
// false for what is none.
func (s *session) tested(payload string) bool {
	if !strings.HasPrefix(payload, testPrefix) {
		return false
	}
	found, ok := s.tests.Load(payload)
	if !ok {
		return true
	}
	t := found.(*selfTest)
	s.tests.Delete(payload) // it may come twice
	t.delivered <- time.Now()
	for _, l := range t.lanes {
		if _, ok := l.queue.offer(&delivery{test: t}); !ok {
			t.full <- l.typ
		}
	}
	return true
}

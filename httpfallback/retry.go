package httpfallback

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryDelay bounds the doubling of Options.RetryDelay.
const maxRetryDelay = 10 * time.Second

// wait returns how long to wait before the next attempt: what the receiver
// asked for, else a random time below a bound that doubles. There is no next
// attempt when the retries are used up, when it would come too late for ctx or
// Options.Timeout, or when the receiver was not reached within the window.
func (d *delivery) wait(ctx context.Context, o outcome) (time.Duration, bool) {
	if d.retries == 0 {
		return 0, false
	}
	wait := o.wait
	if wait == 0 {
		wait = jitter(d.client.opts.RetryDelay, d.attempts)
	}
	at := time.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && !at.Before(deadline) {
		return 0, false
	}
	if !d.until.IsZero() && !at.Before(d.until) {
		return 0, false
	}
	return wait, d.reached || at.Before(d.window)
}

// jitter spreads the retries of many senders: any wait between zero and the
// bound is as likely as another.
func jitter(bound time.Duration, attempt int) time.Duration {
	for range attempt - 1 {
		if bound >= maxRetryDelay {
			break
		}
		bound = min(2*bound, maxRetryDelay)
	}
	if bound <= 0 {
		return 0
	}
	return rand.N(bound)
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// retryAfter reads both forms of the header; zero when there is none. A number
// of any size counts.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseUint(v, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

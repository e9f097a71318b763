package httpfallback

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
)

// form is how a receiver takes messages.
type form int

const (
	unknown form = iota
	whole        // one envelope, as published
	parts        // requests with a few matches each
)

// formTTL is how long an answer to OPTIONS is believed.
const formTTL = 10 * time.Minute

// ask returns the receiver's form, from memory if it was learnt within the
// last ten minutes, else by OPTIONS.
//
// The error means that there was no connection, or no answer on it while the
// window is open: OPTIONS costs a receiver nothing, so one that is silent here
// hangs. One that breaks the connection is given parts for once; a receiver of
// whole envelopes refuses the first and shows itself by that.
func (d *delivery) ask(ctx context.Context) (f form, connected bool, err error) {
	if f := d.client.remembered(); f != unknown {
		return f, false, nil
	}
	resp, connected, err := d.options(ctx, d.window)
	switch {
	case err == nil:
		return d.client.learn(resp), true, nil
	case connected && !errors.Is(err, errSlow) && ctx.Err() == nil:
		return parts, true, nil
	default:
		return unknown, connected, err
	}
}

// options sends OPTIONS and waits for the answer until then.
func (d *delivery) options(ctx context.Context, until time.Time) (resp *http.Response, connected bool, err error) {
	ctx, cancel := context.WithDeadlineCause(ctx, until, errSlow)
	defer cancel()
	resp, _, connected, err = d.exchange(d.client.request(ctx, http.MethodOptions))
	return resp, connected, err
}

// isTheURL reports whether the receiver answers OPTIONS, which carries no message,
// with the status that the message got, or not at all. Then that status says
// nothing about the message.
func (d *delivery) isTheURL(ctx context.Context, status int) bool {
	resp, _, err := d.options(ctx, time.Now().Add(connectTimeout))
	return err != nil || resp.StatusCode == status
}

// learn remembers what an answer to OPTIONS tells.
func (c *Client) learn(resp *http.Response) form {
	f := parts
	if acceptsEnvelopes(resp.Header) {
		f = whole
	}
	c.remember(f)
	return f
}

// remembered returns the form last learnt, or unknown if that was too long
// ago.
func (c *Client) remembered() form {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) >= formTTL {
		return unknown
	}
	return c.form
}

// remember keeps f; unknown forgets.
func (c *Client) remember(f form) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.form, c.asked = f, time.Now()
}

// acceptsEnvelopes tells whether an answer comes from a [Handler], which says
// so in each of its answers.
func acceptsEnvelopes(h http.Header) bool {
	for _, line := range h.Values("Accept-Post") {
		for item := range strings.SplitSeq(line, ",") {
			if t, _, err := mime.ParseMediaType(item); err == nil && t == mediaType {
				return true
			}
		}
	}
	return false
}

package httpfallback

import (
	"context"
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
// last ten minutes. Else it sends OPTIONS. A server that connects and gives no
// answer in good time is given parts for once, which costs a receiver of
// whole envelopes one refused request; the error means that there was no
// connection.
func (d *delivery) ask(ctx context.Context) (form, error) {
	c := d.client
	if f := c.remembered(); f != unknown {
		return f, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errSlow)
	defer cancel()
	resp, _, connected, err := d.exchange(c.request(ctx, http.MethodOptions))
	switch {
	case err == nil:
		f := parts
		if acceptsEnvelopes(resp.Header) {
			f = whole
		}
		c.remember(f)
		return f, nil
	case connected:
		return parts, nil
	default:
		return unknown, err
	}
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

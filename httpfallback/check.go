package httpfallback

import (
	"context"
	"net/http"
	"time"
)

// Check tells whether the receiver is reachable, has something at the URL's path
// and takes the token, without sending it anything to handle: it asks with an
// authorized OPTIONS. It returns within 4 s. The error is an [*Error].
//
// A receiver made with [Handler] asks for its token there as it does for a POST.
// The Python calendar asks for none, so that only a proxy before it can refuse
// one. A nil error does not promise that a message would be accepted: the Python
// calendar answers OPTIONS also while it cannot write to Google.
func (c *Client) Check(ctx context.Context) error {
	defer c.closeIdle()
	d := delivery{client: c, window: time.Now().Add(connectWindow), attempts: 1}
	resp, connected, err := d.options(ctx, d.window)
	if err != nil {
		o := silent(connected, err)
		if ctx.Err() != nil {
			o = d.ended(ctx, o)
		}
		return d.error(o)
	}
	c.learn(resp)
	if acceptsEnvelopes(resp.Header) && resp.Header.Get("WWW-Authenticate") != "" {
		resp.StatusCode = http.StatusUnauthorized // of a POST
	}
	o := judge(unknown, c.path, resp, nil)
	switch {
	case resp.StatusCode < 300,
		// Servers that know nothing of OPTIONS answer so: only POST counts.
		resp.StatusCode == http.StatusMethodNotAllowed, resp.StatusCode == http.StatusNotImplemented,
		// They have something against the empty message.
		o.refused && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusGone:
		return nil
	}
	return d.error(o)
}

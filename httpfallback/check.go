package httpfallback

import (
	"context"
	"net/http"
	"time"
)

// Check tells whether the receiver is reachable and has something at the
// URL's path, without sending it anything to handle: it asks with OPTIONS. A
// receiver of this package also tells whether it takes the token; a wrong one is
// an error with Status 401. It returns within 4 s. The error is an [*Error].
//
// A nil error does not promise that a message would be accepted: the Python
// calendar answers OPTIONS also while it cannot write to Google.
func (c *Client) Check(ctx context.Context) error {
	defer c.closeIdle()
	d := delivery{client: c, window: time.Now().Add(connectWindow), attempts: 1}
	resp, connected, err := d.options(ctx, d.window)
	if err != nil {
		o := silent(connected, err)
		if ctx.Err() != nil {
			o = ended(ctx, o)
		}
		return d.error(o)
	}
	c.learn(resp)
	if acceptsEnvelopes(resp.Header) && resp.Header.Get("WWW-Authenticate") != "" {
		resp.StatusCode = http.StatusUnauthorized // of a POST
	}
	// Servers that know nothing of OPTIONS answer 405 or 501, which is fine:
	// only POST counts.
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return d.error(judge(unknown, c.path, resp, nil))
	}
	return nil
}

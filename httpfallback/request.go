package httpfallback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"
)

// errSlow ends a request that took too long: to connect, to answer OPTIONS,
// or to answer at all. It is not context.DeadlineExceeded, which means the
// caller's own deadline.
var errSlow = errors.New("out of time")

const notConnected = "the receiver cannot be connected; is it up, and is FOGIS_FALLBACK_URL right?"

// attempt sends the next request once.
func (d *delivery) attempt(ctx context.Context) outcome {
	c := d.client
	if !d.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d.until, errSlow)
		defer cancel()
	}
	if d.form == unknown {
		f, connected, err := d.ask(ctx)
		if err != nil {
			return silent(connected, err)
		}
		d.form = f
	}
	body, err := d.body()
	if errors.Is(err, errOtherType) && c.remembered() != parts {
		// That it takes parts is a guess, as it broke the connection.
		d.form = unknown
		return outcome{verdict: again, reason: "nothing was sent, because the receiver does not say what it takes; is it up?"}
	}
	if err != nil {
		return outcome{verdict: stop, refused: true, reason: "nothing was sent", cause: err}
	}
	req := c.request(ctx, http.MethodPost)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	// GetBody stays nil: with it net/http repeats a request that has an
	// Idempotency-Key by itself, at once and uncounted, when a connection that
	// was used before breaks.
	req.Header.Set("Idempotency-Key", d.key())
	if d.msg.StreamID != "" {
		req.Header.Set("Fogis-Stream-ID", d.msg.StreamID)
	}
	req.Header.Set("Content-Type", "application/json")
	if d.form == whole {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, answer, connected, err := d.exchange(req)
	// A connection alone proves nothing: a proxy takes it for a receiver that
	// is gone, and cuts it.
	d.reached = d.reached || err == nil || connected && context.Cause(ctx) == errSlow
	if err != nil {
		return c.failure(connected, err)
	}
	o := judge(d.form, c.path, resp, answer)
	if o.refused && mayBeTheURL(o.status) && d.isTheURL(ctx, o.status) {
		o.verdict, o.refused = stop, false
	}
	return o
}

// request makes one without body.
func (c *Client) request(ctx context.Context, method string) *http.Request {
	target, _ := url.Parse(c.target.Reveal()) // New has parsed it
	req := (&http.Request{Method: method, URL: target, Header: http.Header{}, Host: target.Host}).WithContext(ctx)
	req.Header.Set("User-Agent", "fogispubsub")
	if !c.authorization.IsZero() {
		req.Header.Set("Authorization", c.authorization.Reveal())
	}
	return req
}

// exchange sends one request and reads the answer, at most one byte more than
// maxBody of it. It gives up when no connection is made in time, and reports
// whether one was.
func (d *delivery) exchange(req *http.Request) (resp *http.Response, body []byte, connected bool, err error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	timer := time.AfterFunc(time.Hour, func() { cancel(errSlow) })
	timer.Stop()
	defer timer.Stop()
	trace := &httptrace.ClientTrace{
		GetConn: func(string) {
			limit := connectTimeout
			if !d.reached {
				limit = min(limit, time.Until(d.window))
			}
			timer.Reset(limit)
		},
		GotConn: func(httptrace.GotConnInfo) {
			timer.Stop()
			connected = true
		},
	}
	resp, err = d.client.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return nil, nil, connected, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if resp.StatusCode != http.StatusOK {
		err = nil // the status says enough
	}
	return resp, body, true, err
}

// silent is the outcome of an OPTIONS without an answer.
func silent(connected bool, err error) outcome {
	if connected {
		return outcome{
			verdict: again, cause: withoutContents(err),
			reason: "the receiver takes connections and answers nothing, not even OPTIONS; if it hangs, restart it",
		}
	}
	return unconnected(err)
}

// failure is the outcome of a POST without an answer.
func (c *Client) failure(connected bool, err error) outcome {
	if !connected {
		return unconnected(err)
	}
	o := outcome{verdict: again, cause: withoutContents(err)}
	switch {
	case errors.Is(err, errSlow):
		o.reason = fmt.Sprintf("the receiver took the request and gave no answer within %v; if it hangs, restart it; if it needs longer, raise FOGIS_FALLBACK_TIMEOUT", c.opts.Timeout)
	default:
		o.reason = "the connection broke before the answer; the request may have been handled"
	}
	return o
}

// key names the request over all its attempts.
func (d *delivery) key() string {
	key := d.msg.ID
	if !validHeader(key) {
		key = url.PathEscape(key)
	}
	if d.form == parts {
		key += "/" + strconv.Itoa(d.next+1)
	}
	return key
}

package httpfallback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// verdict is what an attempt's outcome means for what comes next.
type verdict int

const (
	accepted  verdict = iota
	again             // may pass: try again, then stop
	againPart         // may pass, or this part is at fault: try again, then go on with the next part
	skipPart          // this part is at fault: go on with the next
	stop              // a repetition within this Notify is of no use
	otherForm         // the receiver is not of the kind that it was taken for
)

// outcome is one attempt's result.
type outcome struct {
	verdict verdict
	status  int
	wait    time.Duration // what the receiver asked for
	refused bool          // for good, because of what the message is
	reason  string
	cause   error
}

// judge reads an answer as the outcomes of the Python calendar's /manual-sync
// and of [Handler] ask for. sent is the form of the request. Statuses count by
// their class: an unknown 5xx is a 500, an unknown 4xx a 400.
func judge(sent form, path string, resp *http.Response, body []byte) outcome {
	o := outcome{verdict: stop, status: resp.StatusCode}
	ours := acceptsEnvelopes(resp.Header)
	switch {
	case sent == whole && !ours && isRefusal(o.status),
		sent == parts && ours && o.status == http.StatusUnprocessableEntity:
		o.verdict = otherForm
		o.reason = "the receiver has become one of another kind"
	case o.status == http.StatusOK:
		o.ok(body)
	case o.status >= 500:
		o.serverError(resp, body)
	case o.status >= 400:
		o.clientError(path, resp)
	case o.status >= 300:
		o.reason = "redirects are not followed; set FOGIS_FALLBACK_URL to where this one leads"
	default:
		o.reason = "no receiver of match updates answers so; check FOGIS_FALLBACK_URL"
	}
	if o.wait > 0 {
		o.reason += fmt.Sprintf("; it asks for a retry in %v", o.wait)
	}
	return o
}

func (o *outcome) ok(body []byte) {
	switch {
	case readAnswer(body).success:
		o.verdict = accepted
	case len(body) > maxBody:
		o.reason = fmt.Sprintf("the answer is longer than %d bytes, so it was not read; the request may have been handled", maxBody)
	default:
		o.reason = `the answer does not say "success":true, so nothing counts as accepted; FOGIS_FALLBACK_URL must lead to /manual-sync (/sync takes no matches), or to a receiver that answers {"success":true}`
	}
}

func (o *outcome) serverError(resp *http.Response, body []byte) {
	o.verdict, o.wait = againPart, retryAfter(resp.Header)
	switch o.status {
	case http.StatusServiceUnavailable:
		o.verdict = again
		o.reason = "the receiver is busy or not ready"
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		o.verdict = again
		o.reason = "a proxy cannot reach the receiver; is the receiver up?"
	default:
		switch r := readAnswer(body); {
		case r.counted:
			o.reason = "the receiver handled none of the matches; a Python calendar that started without Google's token answers so until it is restarted with one"
		case r.failed:
			o.reason = "the receiver failed; its own log says why"
		default:
			o.reason = "the receiver failed without a known answer; its own log says why"
		}
	}
}

// clientError tells three kinds apart: what a later attempt can overcome, what
// is wrong with the settings and so with every message, and what the receiver
// has against this message. Only the last is a refusal for good.
func (o *outcome) clientError(path string, resp *http.Response) {
	switch o.status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusMisdirectedRequest, http.StatusLocked,
		http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests, clientClosed:
		o.verdict, o.wait = again, retryAfter(resp.Header)
		switch o.status {
		case http.StatusRequestTimeout, clientClosed:
			o.reason = "the request arrived too slowly"
		case http.StatusMisdirectedRequest:
			o.reason = "the request reached a server that does not serve this host; check the proxy"
		default:
			o.reason = "the receiver is busy or not ready"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		o.reason = "the receiver wants another token; set FOGIS_FALLBACK_TOKEN to the receiver's"
	case http.StatusMethodNotAllowed:
		o.reason = "the receiver takes no POST at " + path + "; check the path in FOGIS_FALLBACK_URL"
	case http.StatusPaymentRequired, http.StatusProxyAuthRequired, http.StatusUpgradeRequired,
		http.StatusPreconditionRequired:
		o.reason = "something before the receiver wants more than a request; check the proxy"
	case http.StatusNotFound, http.StatusGone:
		o.refused = true
		o.reason = "the receiver has no " + path + "; check the path in FOGIS_FALLBACK_URL; an invalid REDIS_TIMEOUT at the Python calendar removes its /manual-sync"
	case http.StatusRequestEntityTooLarge:
		o.verdict, o.refused = skipPart, true
		o.reason = "larger than the receiver takes; send smaller parts or raise its limit"
	case http.StatusUnprocessableEntity:
		o.verdict, o.refused = skipPart, true
		o.reason = "the receiver refuses the message"
	default:
		o.verdict, o.refused = skipPart, true
		o.reason = "the receiver cannot read the request; is it a receiver of match updates?"
	}
}

// mayBeTheURL tells whether an answer with that status can also mean that the
// URL leads to something else, as an HTTPS port that is spoken to in plain HTTP.
func mayBeTheURL(status int) bool {
	switch status {
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return false
	}
	return true
}

// clientClosed is what proxies call a sender that went away.
const clientClosed = 499

// isRefusal lists the statuses by which a receiver of parts refuses an
// envelope that has its matches in the payload only.
func isRefusal(status int) bool {
	return status == http.StatusBadRequest ||
		status == http.StatusUnsupportedMediaType ||
		status == http.StatusUnprocessableEntity
}

// answer is what counts of an answer's body.
type answer struct {
	success bool // "success" is true, not null and not a text
	counted bool // there is a matches_processed
	failed  bool // there is an error text; it may quote anything and is not read
}

func readAnswer(body []byte) (a answer) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(body, &keys) != nil {
		return answer{}
	}
	_, a.counted = keys["matches_processed"]
	_, a.failed = keys["error"]
	a.success = bytes.Equal(keys["success"], []byte("true"))
	return a
}

// withoutContents keeps of a transport's error what cannot quote the answer.
// net/http copies what it cannot parse into its errors.
func withoutContents(err error) error {
	var ofURL *url.Error
	if errors.As(err, &ofURL) {
		err = ofURL.Err
	}
	var network net.Error
	switch {
	case errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, errSlow):
		return err
	}
	return errors.New("the connection failed or carries no valid HTTP")
}

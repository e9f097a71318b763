package httpfallback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	final             // the same for every request: stop
	otherForm         // the receiver is not of the kind that it was taken for
)

// outcome is one attempt's result.
type outcome struct {
	verdict verdict
	status  int
	wait    time.Duration // what the receiver asked for
	reason  string
	cause   error
}

// judge reads an answer as the outcomes of the Python calendar's /manual-sync
// and of [Handler] ask for. sent is the form of the request.
func judge(sent form, path string, resp *http.Response, body []byte) outcome {
	o := outcome{verdict: final, status: resp.StatusCode}
	ours := acceptsEnvelopes(resp.Header)
	switch {
	case o.status == http.StatusOK:
		if readAnswer(body).success {
			o.verdict = accepted
		}
		o.reason = `the answer does not say "success":true, so nothing was accepted; the URL must be that of /manual-sync (/sync takes no matches)`
	case sent == whole && !ours && isRefusal(o.status),
		sent == parts && ours && o.status == http.StatusUnprocessableEntity:
		o.verdict = otherForm
		o.reason = "the receiver has become one of another kind"
	case o.status >= 300 && o.status < 400:
		o.reason = "redirects are not followed; set the URL to which this one leads"
	case o.status == http.StatusBadRequest:
		o.reason = "the receiver cannot read the request; is it a receiver of match updates?"
	case o.status == http.StatusUnauthorized, o.status == http.StatusForbidden:
		o.reason = "the receiver wants another token; set the fallback's token to the receiver's"
	case o.status == http.StatusNotFound:
		o.reason = "the receiver has no " + path + "; check the URL's path; an invalid REDIS_TIMEOUT at the Python calendar removes its /manual-sync"
	case o.status == http.StatusMethodNotAllowed:
		o.reason = "the receiver takes no POST at " + path + "; check the URL's path"
	case o.status == http.StatusRequestEntityTooLarge:
		o.verdict = skipPart
		o.reason = "larger than the receiver takes; send smaller parts or raise its limit"
	case o.status == http.StatusUnprocessableEntity:
		o.reason = "the receiver refuses the message"
	case o.status == http.StatusTooManyRequests, o.status == http.StatusServiceUnavailable:
		o.verdict, o.wait = again, retryAfter(resp.Header)
		o.reason = "the receiver is busy or not ready"
	case o.status == http.StatusInternalServerError:
		o.verdict = againPart
		switch r := readAnswer(body); {
		case r.counted:
			o.reason = "the receiver handled none of the matches; a Python calendar that started without Google's token answers so until it is restarted with one"
		case r.failed:
			o.reason = "the receiver failed; its own log says why"
		default:
			o.reason = "the receiver failed without a known answer; its own log says why"
		}
	case o.status == http.StatusBadGateway, o.status == http.StatusGatewayTimeout:
		o.verdict = again
		o.reason = "a proxy cannot reach the receiver; is the receiver up?"
	case o.status == http.StatusRequestTimeout:
		o.verdict = again
		o.reason = "the request arrived too slowly"
	default:
		o.reason = "no receiver of match updates answers so; check the URL"
	}
	return o
}

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

package httpfallback

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
)

// Receiver handles what arrives over HTTP.
type Receiver interface {
	// Dispatch handles the message in data, which it may keep, and returns
	// when it was handled or was recognised as handled before. channel is the
	// default channel of the message's type, "" for a type that has none.
	// An error that wraps message.ErrBusy asks the sender to come back, one
	// that wraps message.ErrInvalid not to; every other is a failed handling.
	Dispatch(ctx context.Context, channel string, data []byte) (message.Result, error)
}

// HandlerOptions configures [Handler].
type HandlerOptions struct {
	// Token is the bearer token that a request must carry.
	Token config.Secret
	// Authorize decides instead of a Token whose POST is taken. It is asked about
	// OPTIONS too, by which a sender proves its token without sending a message.
	Authorize func(*http.Request) bool `json:"-"`
	// AllowUnauthenticated opens the handler to everybody who reaches it. It
	// must be set when there is neither Token nor Authorize, and not otherwise.
	AllowUnauthenticated bool
	// MaxBytes is the limit of a body, and so of a message. Zero:
	// [message.DefaultMaxBytes].
	MaxBytes int
	// OnRefused is called for each message that is not taken, so that they can be
	// counted; nil: not called. It must be safe for several goroutines.
	OnRefused func(Refusal) `json:"-"`
	// Logger gets panics, and refused messages: of each [Refusal] a line in 10 s.
	// Nil: [slog.Default].
	Logger *slog.Logger
}

// Handler returns the receiving side of the fallback. It takes POST of JSON, at
// any path, as the Python calendar's /manual-sync does: whole envelopes of every
// type, and bare objects with a list "matches". Each is handed to r, and the
// answer tells the outcome:
//
//	200  handled, or a duplicate of what was handled before
//	400  no JSON object, no list "matches", or an invalid message
//	401  no token, or another one
//	403  sent by a browser for a page of another origin
//	405  another method; OPTIONS tells what is accepted, and by WWW-Authenticate
//	     that a POST of the same caller would be a 401
//	413  longer than the limit
//	415  the Content-Type is not application/json, nor ends in +json
//	422  a part of a message: send it whole
//	500  the handling failed, or panicked
//	503  busy, or messages of four times the limit together are at work;
//	     Retry-After tells when to come back
//
// Answers are JSON with the keys success, matches_processed, timestamp,
// message and error. They hold nothing of what the message holds.
//
// A message without message_id gets a fresh one, as everywhere, and so is
// never a duplicate: an Idempotency-Key does not take the ID's place, because
// a sender that reuses its key would lose messages without notice.
func Handler(r Receiver, opts HandlerOptions) (http.Handler, error) {
	var faults []error
	if r == nil {
		faults = append(faults, errors.New("httpfallback: Handler needs a receiver"))
	}
	if opts.Token.IsZero() && opts.Authorize == nil && !opts.AllowUnauthenticated {
		faults = append(faults, errors.New("httpfallback: no token; set one, or set AllowUnauthenticated to let everybody in"))
	}
	if !opts.Token.IsZero() && opts.AllowUnauthenticated {
		faults = append(faults, errors.New("httpfallback: both a token and AllowUnauthenticated; choose one"))
	}
	if opts.Authorize != nil && (!opts.Token.IsZero() || opts.AllowUnauthenticated) {
		faults = append(faults, errors.New("httpfallback: Authorize beside a token or AllowUnauthenticated; choose one"))
	}
	if opts.MaxBytes < 0 {
		faults = append(faults, errors.New("httpfallback: MaxBytes is negative; messages without limit are not taken"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	h := &handler{
		receiver: r,
		open:     opts.AllowUnauthenticated,
		decide:   opts.Authorize,
		token:    sha256.Sum256([]byte(opts.Token.Reveal())),
		decoder:  message.Decoder{MaxBytes: orDefault(opts.MaxBytes, message.DefaultMaxBytes)},
		cross:    http.NewCrossOriginProtection(),
		refused:  opts.OnRefused,
		logger:   opts.Logger,
	}
	if h.logger == nil {
		h.logger = slog.Default()
	}
	return h, nil
}

type handler struct {
	receiver Receiver
	open     bool
	decide   func(*http.Request) bool
	token    [sha256.Size]byte // hashed, so that comparing tells nothing of its length
	decoder  message.Decoder
	cross    *http.CrossOriginProtection
	refused  func(Refusal) // may be nil
	held     atomic.Int64  // bytes of the messages that are being read or handled
	lines    lines
	logger   *slog.Logger
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// In every answer, so that a client that took this receiver for another
	// kind learns it from the refusal.
	w.Header().Set("Accept-Post", mediaType)
	switch {
	case req.Method == http.MethodOptions:
		w.Header().Set("Allow", allowed)
		if !h.authorized(req) { // answered all the same: a client asks here for the form
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		w.WriteHeader(http.StatusNoContent)
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed: use POST")
	case h.cross.Check(req) != nil:
		h.reject(w, req, RefusedOrigin, http.StatusForbidden, "Refused: a browser sent this for a page of another origin")
	case !h.authorized(req):
		w.Header().Set("WWW-Authenticate", "Bearer")
		h.reject(w, req, RefusedUnauthorized, http.StatusUnauthorized, "Missing or wrong bearer token")
	case !isJSON(req):
		h.reject(w, req, RefusedMediaType, http.StatusUnsupportedMediaType, "Send JSON, with Content-Type: application/json")
	default:
		h.post(w, req)
	}
}

const allowed = "OPTIONS, POST"

func (h *handler) authorized(req *http.Request) bool {
	if h.open {
		return true
	}
	if h.decide != nil {
		return h.decide(req)
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

func (h *handler) post(w http.ResponseWriter, req *http.Request) {
	limit := int64(h.decoder.MaxBytes)
	room := limit // of a length that is not known
	if req.ContentLength >= 0 {
		room = min(req.ContentLength, limit)
	}
	defer func() { h.held.Add(-room) }()
	if h.held.Add(room) > heldMessages*limit {
		h.busy(w, req)
		return
	}
	data, err := readAll(http.MaxBytesReader(w, req.Body, limit), min(req.ContentLength, limit))
	h.held.Add(int64(len(data)) - room)
	room = int64(len(data))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			h.reject(w, req, RefusedTooLarge, http.StatusRequestEntityTooLarge, fmt.Sprintf("Request is longer than %d bytes", limit))
			return
		}
		h.reject(w, req, RefusedCutShort, http.StatusBadRequest, "Request ended before its end")
		return
	}
	envelope, fault := h.read(data)
	if fault != "" {
		h.reject(w, req, RefusedInvalid, http.StatusBadRequest, fault)
		return
	}
	if envelope.Part != (message.Part{}) {
		h.reject(w, req, RefusedPart, http.StatusUnprocessableEntity, "Parts are not accepted: send the whole message")
		return
	}
	result, err := h.dispatch(req.Context(), envelope, data)
	matches := result.Matches
	if matches == 0 {
		matches = envelope.MatchCount()
	}
	switch {
	case err == nil:
		succeed(w, matches)
	case errors.Is(err, message.ErrBusy):
		h.busy(w, req)
	case errors.Is(err, message.ErrInvalid):
		h.reject(w, req, RefusedInvalid, http.StatusBadRequest, "Invalid message")
	default:
		fail(w, matches)
	}
}

// heldMessages is of how many of the longest messages the bytes may be held at
// once: what a message takes while it is handled is a multiple of its bytes.
const heldMessages = 4

func (h *handler) busy(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Retry-After", "1")
	h.reject(w, req, RefusedBusy, http.StatusServiceUnavailable, "Receiver is busy: send the message again later")
}

// dispatch hands the message over. A panic counts as a failed handling: the
// sender must not take a broken connection for a busy receiver.
func (h *handler) dispatch(ctx context.Context, e *message.Envelope, data []byte) (result message.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			// The value may quote the message; its type and the stack do not.
			h.logger.ErrorContext(ctx, "fallback receiver panicked", "type", e.Type, "message_id", e.ID,
				"route", "fallback", "err", fmt.Sprintf("panic of type %T\n%s", v, debug.Stack()))
			err = errPanic
		}
	}()
	return h.receiver.Dispatch(ctx, e.Type.DefaultChannel(), data)
}

var errPanic = errors.New("the receiver panicked")

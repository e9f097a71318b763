package httpfallback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/message"
)

// mediaType is what a receiver made with [Handler] accepts: the envelope as it
// is published.
const mediaType = "application/vnd.fogis.envelope+json"

const (
	// connectTimeout bounds name resolution, TCP and TLS of one attempt.
	connectTimeout = 2 * time.Second
	// connectWindow is how long a Notify tries to reach the receiver.
	connectWindow = 4 * time.Second
	// defaultTimeout and the Redis budget of 5 s together stay below 10 s, the
	// time in which Publish returns when both routes are down.
	defaultTimeout = 4500 * time.Millisecond
	// defaultRetryDelay is the bound of the first pause between attempts.
	defaultRetryDelay = time.Second
	// idleTimeout is how long an unused connection is kept.
	idleTimeout = 10 * time.Second
	// maxBody is how much of an answer is read; the known ones have 100 bytes.
	maxBody = 64 << 10
)

// Options configures a [Client]. The zero value is ready to use.
type Options struct {
	// Token is sent as bearer token; zero sends none.
	Token config.Secret
	// BatchSize is how many matches one request carries to a receiver that is
	// not made with [Handler]. Zero: 1, so that each match's outcome is known;
	// negative: all.
	BatchSize int
	// Timeout is how long a Notify goes on without an accepted request, all
	// attempts and waits together; it begins again after each accepted part. So a
	// receiver that hangs costs one Timeout. Zero: 4.5 s, which with the Redis
	// budget of 5 s keeps a Publish below 10 s when both are down. A receiver that
	// needs longer for one request, as a calendar may that answers after Google's
	// calls, needs a longer Timeout. Negative: no bound but the caller's.
	Timeout time.Duration
	// Retries is how often a request is sent again after a failure that may
	// pass. It is one budget for a Notify, full again after each accepted
	// request. Zero: 3; negative: none.
	Retries int
	// RetryDelay is the upper bound of the random wait before the first
	// retry, doubled for each further one up to 10 s. A Retry-After of the
	// receiver takes its place; one that leads past Timeout or the caller's
	// deadline ends the attempts. Zero: 1 s; negative: no wait.
	RetryDelay time.Duration
	// Transport sends the requests. Nil: a transport of the client's own, which
	// uses no proxy, gives a connection 2 s and keeps none after a Notify. A
	// transport given here is never closed.
	Transport http.RoundTripper
	// Logger gets each failed attempt. Nil: [slog.Default].
	Logger *slog.Logger
}

// Client posts messages to one receiver. It may be used by several goroutines
// and owns none.
type Client struct {
	target        config.URL // without user and password; its query may hold a key
	path          string
	redacted      string
	authorization config.Secret // the value of that header
	opts          Options
	transport     http.RoundTripper
	own           *http.Transport // nil when the transport was given

	mu    sync.Mutex
	form  form
	asked time.Time // when form was learnt
}

// New returns a client for the receiver at target, an http or https URL such
// as http://fogis-calendar-phonebook-sync:5003/manual-sync. A user and
// password in it are sent as basic authentication. New does not connect. The
// error names every fault, the same ones as [config.Config.Validate].
func New(target string, opts Options) (*Client, error) {
	if target == "" {
		return nil, errors.New("httpfallback: no URL; give that of the receiver, http://host:port/manual-sync")
	}
	settings := config.Config{Fallback: config.Fallback{URL: config.NewURL(target), Token: opts.Token}}
	if err := settings.Validate(); err != nil {
		return nil, fmt.Errorf("httpfallback: %w", err)
	}
	u, err := url.Parse(target)
	if err != nil {
		// The error of url.Parse quotes the URL, password included.
		return nil, errors.New("httpfallback: the URL cannot be parsed; the form is http://host:port/manual-sync")
	}

	c := &Client{redacted: redact(u), opts: opts.withDefaults(), transport: opts.Transport}
	switch {
	case !opts.Token.IsZero():
		c.authorization = config.NewSecret("Bearer " + opts.Token.Reveal())
	case u.User != nil:
		password, _ := u.User.Password()
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(u.User.Username(), password)
		c.authorization = config.NewSecret(r.Header.Get("Authorization"))
	}
	u.User = nil
	c.target, c.path = config.NewURL(u.String()), u.Path
	if c.transport == nil {
		c.own = newTransport()
		c.transport = c.own
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	o.BatchSize = orDefault(o.BatchSize, 1)
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.Retries = max(orDefault(o.Retries, 3), 0)
	o.RetryDelay = max(orDefault(o.RetryDelay, defaultRetryDelay), 0)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func orDefault[T int | time.Duration](v, standard T) T {
	if v == 0 {
		return standard
	}
	return v
}

// newTransport differs from [http.DefaultTransport] in that it reads no proxy
// from the environment and does not inflate answers.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
	}
}

// String returns the receiver's URL without password and query.
func (c *Client) String() string { return c.redacted }

// GoString is [Client.String], so that no format verb shows the token.
func (c *Client) GoString() string { return fmt.Sprintf("httpfallback.Client(%s)", c.redacted) }

// Notify hands m to the receiver and blocks until it was accepted, was
// refused, the retries are used up, or nothing was accepted for Timeout; ctx
// bounds it all. A receiver that cannot be connected, or is silent when asked
// what it accepts, is given up after 4 s. A wait that the receiver asks for is
// kept within these bounds; one that leads past them is told in the error.
//
// A receiver that takes no whole envelopes gets match updates only. Another
// type is then refused before anything is sent.
//
// A message with a StreamID is sent with it in the header Fogis-Stream-ID.
//
// m.Body may be read for a moment after Notify has returned, when a receiver
// answers before it has read everything: do not change it.
//
// The error is an [*Error]; it wraps [message.ErrRefused] if no repetition can
// help. Parts accepted before a failure stay accepted, and a later Notify of the
// same message sends them again.
func (c *Client) Notify(ctx context.Context, m message.Outgoing) error {
	defer c.closeIdle()
	d := delivery{client: c, msg: m, window: time.Now().Add(connectWindow)}
	return d.run(ctx)
}

// closeIdle closes the connections that no request uses. Messages are minutes
// to hours apart: a connection kept so long is often dead, and finding that
// out would cost an attempt.
func (c *Client) closeIdle() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

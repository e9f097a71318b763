package fogispubsub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// The seams: packages of one level do not know each other and meet here.
var (
	_ publisher.Fallback    = (*httpfallback.Client)(nil)
	_ httpfallback.Receiver = (*subscriber.Subscriber)(nil)
	_ httpfallback.Receiver = (*Client)(nil)
)

// Options holds what the settings cannot say. The zero value is ready to use.
type Options struct {
	// Getenv is where [FromEnv] reads the settings; nil: [os.Getenv].
	Getenv func(string) string
	// Logger is used by all parts; nil: [slog.Default].
	Logger *slog.Logger
	// Redis changes the options of the Redis connections before they are used,
	// for a Dialer or TLS settings of your own; nil: no change. It is called
	// once. Of a Cluster and behind Sentinel the options hold for every server,
	// Sentinels too, and have no Addr.
	Redis func(*redis.Options)
	// OpenOutbox opens the file of FOGIS_OUTBOX_PATH, as outbox.Open does; the
	// root does not import that package, so that only programs that use an outbox
	// link its database. The outbox belongs to the one process that publishes, so
	// it is opened by the first Publish, or by a Run without handlers; one that
	// cannot be opened is their error. A client with handlers that publishes and
	// wants what an earlier process left there sent at once opens the file itself
	// and sets Publisher.Outbox. Close closes what OpenOutbox returned, if that
	// has a Close.
	OpenOutbox func(path string) (publisher.Outbox, error)
	// Publisher and Subscriber set the two halves. What is zero here comes
	// from the settings, then from the defaults.
	Publisher  publisher.Options
	Subscriber subscriber.Options
}

// Client is both halves of the SDK over one configuration. Its methods may be
// called by several goroutines; handlers are registered before Run.
type Client struct {
	config     config.Config
	logger     *slog.Logger
	redis      redis.UniversalClient
	fallback   *httpfallback.Client
	watched    *watchedFallback // of the publishing half; nil without a fallback
	sender     *sender
	subscriber *subscriber.Subscriber
	handles    atomic.Bool // a handler is registered
	maxBytes   int         // of a message that is received; zero is the default

	// For the admin endpoints.
	history      httpadmin.History
	refusals     sync.Map      // httpfallback.Refusal → *atomic.Uint64
	pingInterval time.Duration // zero is the default
	began        atomic.Pointer[time.Time]
	ended        atomic.Bool // Run has returned
	lastMessage  atomic.Pointer[time.Time]
}

// FromEnv makes a client from the environment variables that package config
// lists. The error names every variable at fault.
func FromEnv(opts Options) (*Client, error) {
	getenv := opts.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	cfg, err := config.FromEnvAndFiles(getenv, func(name string) (fs.File, error) { return os.Open(name) })
	if err != nil {
		return nil, err
	}
	return New(cfg, opts)
}

// New makes a client. It does not dial and starts no goroutine: a service
// starts while Redis is away. Close it when it is no longer needed.
func New(cfg config.Config, opts Options) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{config: cfg.WithDefaults(), logger: opts.Logger}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	var err error
	publishing := publisherOptions(c.config, opts.Publisher, c.logger)
	if publishing.Fallback == nil {
		if c.fallback, err = newFallback(c.config, c.logger); err != nil {
			return nil, err
		}
		if c.fallback != nil { // a nil *Client in the interface would not be nil
			publishing.Fallback = c.fallback
		}
	}
	if publishing.Fallback != nil {
		c.watched = &watchedFallback{Fallback: publishing.Fallback}
		publishing.Fallback = c.watched
	}
	if c.redis, err = connect(c.config, opts.Redis); err != nil {
		return nil, err
	}
	path := c.config.OutboxPath
	if publishing.Outbox != nil {
		path = ""
	}
	var faults [2]error
	c.sender, faults[0] = newSender(c.redis, publishing, path, opts.OpenOutbox)
	subscribing := c.record(subscriberOptions(c.config, opts.Subscriber, c.logger))
	c.maxBytes = subscribing.MaxMessageBytes
	c.subscriber, faults[1] = subscriber.New(c.redis, subscribing)
	if err := errors.Join(faults[:]...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.report(publishing, subscribing)
	return c, nil
}

// report tells once what the settings lead to.
func (c *Client) report(p publisher.Options, s subscriber.Options) {
	mode, routes, outbox := "plain", []string{"pubsub"}, "none"
	if p.Durable.Mode != publisher.DurableOff {
		mode, routes = string(p.Durable.Mode), []string{"stream"}
	}
	if c.config.Redis.Disabled {
		mode, routes = "disabled", nil
		c.logger.Info("Redis pub/sub is disabled", slog.String("by", c.config.Redis.DecidedBy))
	}
	if p.Fallback != nil {
		routes = append(routes, "fallback")
	}
	switch {
	case p.Outbox != nil:
		outbox = "open"
	case c.sender.path != "" && c.sender.open != nil:
		outbox = "opened when the client publishes"
	case c.sender.path != "":
		outbox = "none, since this program opens none (Options.OpenOutbox)"
	}
	c.logger.Info("client ready", slog.String("mode", mode), slog.String("group", s.Durable.Group),
		slog.String("routes", strings.Join(routes, ", ")), slog.String("outbox", outbox))
	for _, warning := range c.config.Warnings() {
		c.logger.Warn("check this setting", slog.String("warning", warning))
	}
	if names := c.config.Ineffective; len(names) > 0 {
		c.logger.Debug("settings are accepted without effect", slog.Any("variables", names))
	}
}

// On registers the handler of P's message type, as [subscriber.On] does: call
// it before Run, once per type; a wrong registration panics.
func On[P message.Payload](c *Client, handler func(context.Context, message.Message[P]) error) {
	subscriber.On(c.subscriber, noting(c, handler))
	c.handles.Store(true)
}

// Handle registers a handler that gets the undecoded envelope, for programs
// that pass messages on; otherwise as [On].
func (c *Client) Handle(t message.Type, handler subscriber.HandlerFunc) {
	c.subscriber.Handle(t, c.notingRaw(t, handler))
	c.handles.Store(true)
}

// Publish sends one message; see [publisher.Publisher.Publish] for routes,
// retries, order and errors. Match updates with changes and without a Summary get
// that of [message.Summarize].
func (c *Client) Publish(ctx context.Context, p message.Payload, opts ...publisher.PublishOption) (publisher.Receipt, error) {
	if u, ok := p.(message.MatchUpdates); ok && len(u.Changes) > 0 && u.Summary == (message.ChangeSummary{}) {
		u.Summary = message.Summarize(u.Changes)
		p = u
	}
	return c.sender.publish(ctx, p, opts)
}

// Dispatch hands one message to its handler and waits for the outcome; see
// [subscriber.Subscriber.Dispatch]. It needs a running [Client.Run].
func (c *Client) Dispatch(ctx context.Context, channel string, data []byte) (message.Result, error) {
	return c.subscriber.Dispatch(ctx, channel, data)
}

// FallbackHandler returns the HTTP handler that takes what a publisher's
// fallback sends and hands it to [Client.Dispatch], for callers with the
// bearer token of the settings (FOGIS_FALLBACK_TOKEN). Without a token it is
// an error; [httpfallback.Handler] with this client as receiver has more to
// choose from.
func (c *Client) FallbackHandler() (http.Handler, error) {
	return httpfallback.Handler(c, httpfallback.HandlerOptions{
		Token:     c.config.Fallback.Token,
		MaxBytes:  c.maxBytes,
		OnRefused: c.countRefusal,
		Logger:    c.logger,
	})
}

func (c *Client) countRefusal(why httpfallback.Refusal) {
	n, _ := c.refusals.LoadOrStore(why, new(atomic.Uint64))
	n.(*atomic.Uint64).Add(1)
}

func (c *Client) refused() map[string]uint64 {
	counts := map[string]uint64{}
	for why, n := range c.refusals.Range {
		counts[string(why.(httpfallback.Refusal))] = n.(*atomic.Uint64).Load()
	}
	return counts
}

// Fallback returns the HTTP route made from the settings, or nil if there is
// none (or Options brought another).
func (c *Client) Fallback() *httpfallback.Client { return c.fallback }

// Run subscribes for the types that have a handler and keeps the publisher's
// view of Redis fresh, until ctx ends and the handlers have drained. It
// returns nil after a clean drain; other errors are those of
// [subscriber.Subscriber.Run]. A client without handlers opens no
// subscription, but its outbox; a disabled one waits for ctx.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	c.began.Store(&began)
	c.ended.Store(false)
	defer c.ended.Store(true)
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		c.history.Run(ctx, func() uint64 { return c.subscriber.Stats().Received })
	}()
	defer func() { <-recorded }() // cancelled by then
	published := make(chan error, 1)
	go func() {
		defer cancel()
		published <- c.sender.run(ctx, !c.handles.Load())
	}()
	err := c.subscriber.Run(ctx)
	cancel()
	return errors.Join(err, <-published)
}

// Restart ends every subscription, which is a reported gap, and returns when
// all channels are confirmed again or ctx ends.
func (c *Client) Restart(ctx context.Context) error { return c.subscriber.Restart(ctx) }

// Subscribed waits until every channel is confirmed, also for Run to be
// called; see [subscriber.Subscriber.Subscribed].
func (c *Client) Subscribed(ctx context.Context) error { return c.subscriber.Subscribed(ctx) }

// Status tells how each subscription stands.
func (c *Client) Status() subscriber.Status { return c.subscriber.Status() }

// Stats counts what both halves did since New.
func (c *Client) Stats() Stats {
	return Stats{Publisher: c.sender.stats(), Subscriber: c.subscriber.Stats(), Refused: c.refused()}
}

// Stats holds the counters of both halves of a [Client].
type Stats struct {
	Publisher  publisher.Stats  `json:"publisher"`
	Subscriber subscriber.Stats `json:"subscriber"`
	// Refused counts the messages that came by HTTP and were not taken, by
	// [httpfallback.Refusal]. They are not among those that Subscriber received,
	// but for a few of its busy and invalid ones.
	Refused map[string]uint64 `json:"refused"`
}

// Redis returns the client's own connection pool, for health checks. It is
// closed by [Client.Close] and never repeats a command by itself.
func (c *Client) Redis() redis.UniversalClient { return c.redis }

// Replay reads what the stream of a type's channel holds, from a position on;
// see [durable.Replay]. A type without a channel is an error.
func (c *Client) Replay(ctx context.Context, t message.Type, from durable.Position) iter.Seq2[durable.Entry, error] {
	return durable.Replay(ctx, c.redis, c.config.Channel(t), from)
}

// Close releases the connections, and the outbox that the client opened. End Run
// first. It may be called repeatedly.
func (c *Client) Close() error {
	var err error
	if c.sender != nil {
		err = c.sender.close()
	}
	if closing := c.redis.Close(); closing != nil && !errors.Is(closing, redis.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close the Redis client: %w", closing))
	}
	return err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// receipt is a publisher.Receipt as the command prints it.
type receipt struct {
	MessageID string `json:"message_id"`
	Route     string `json:"route"`
	Receivers int64  `json:"receivers"`
	StreamID  string `json:"stream_id"`
	Fallback  string `json:"fallback"`
	// FallbackError is why the fallback failed, although another route has the
	// message.
	FallbackError string  `json:"fallback_error,omitempty"`
	Attempts      int     `json:"attempts"`
	ElapsedMS     float64 `json:"elapsed_ms"`
}

func (c *command) publish(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: publish what? matches, status or alert", errUsage)
	}
	if wantsHelp(args) {
		fmt.Fprint(c.stderr, usage)
		return nil
	}
	switch kind, rest := args[0], args[1:]; kind {
	case "matches":
		return c.publishMatches(ctx, rest)
	case "status":
		return c.publishStatus(ctx, rest)
	case "alert":
		return c.publishAlert(ctx, rest)
	default:
		return fmt.Errorf("%w: publish what? matches, status or alert, not %q", errUsage, kind)
	}
}

// sender starts the flags of a command that publishes.
func (c *command) sender(name string) *flags {
	f := c.flags(name, slog.LevelError)
	f.outbox = true
	return f
}

func (c *command) publishMatches(ctx context.Context, args []string) error {
	f := c.sender("publish matches")
	file := f.String("file", "", "`file` with a JSON array of matches or a whole envelope; - is standard input")
	changes := f.String("changes", "", "`file` with {\"summary\":{...},\"detailed_changes\":[...]}")
	fallback := f.String("fallback", "", "`URL` of the HTTP fallback; overrides FOGIS_FALLBACK_URL")
	source := f.String("source", "", "the envelope's source; overrides FOGIS_SERVICE_NAME")
	plain := f.Bool("plain", false, "publish without keeping the message in a stream, whatever REDIS_DURABLE says")
	if err := f.parse(args); err != nil {
		return err
	}
	if *file == "" {
		return fmt.Errorf("%w: publish matches needs --file", errUsage)
	}
	data, err := c.readFile(ctx, *file)
	if err != nil {
		return err
	}
	update, err := readUpdate(data)
	if err != nil {
		return fmt.Errorf("%w: --file: %w", errUsage, err)
	}
	if *changes != "" {
		data, err := c.readFile(ctx, *changes)
		if err != nil {
			return err
		}
		if err := update.readChanges(data); err != nil {
			return fmt.Errorf("%w: --changes: %w", errUsage, err)
		}
	}
	overrides := map[string]string{"FOGIS_FALLBACK_URL": *fallback}
	if *plain {
		overrides["REDIS_DURABLE"] = "false"
	}
	opts := c.options(f, overrides)
	opts.Publisher.Source = *source
	if *source == "" {
		opts.Publisher.Source = update.source
	}
	var publishOptions []publisher.PublishOption
	if update.id != "" {
		publishOptions = append(publishOptions, publisher.WithID(update.id))
	}
	return c.send(ctx, opts, update.payload, publishOptions...)
}

func (c *command) publishStatus(ctx context.Context, args []string) error {
	f := c.sender("publish status")
	status := f.String("status", "", "started, completed, failed or a `word` of your own")
	var details list
	f.Var(&details, "detail", "`key=value` for the details, JSON or text; may be repeated")
	if err := f.parse(args); err != nil {
		return err
	}
	payload := message.ProcessingStatus{Status: *status, Details: map[string]json.RawMessage{}}
	for _, detail := range details {
		key, value, found := strings.Cut(detail, "=")
		if !found || key == "" {
			return fmt.Errorf("%w: --detail wants key=value", errUsage)
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) {
			raw, _ = json.Marshal(value) // a string always marshals
		}
		payload.Details[key] = raw
	}
	return c.send(ctx, c.options(f, nil), payload)
}

func (c *command) publishAlert(ctx context.Context, args []string) error {
	f := c.sender("publish alert")
	var alert message.SystemAlert
	f.StringVar(&alert.AlertType, "type", "", "the alert's `type`, such as processing_error")
	f.StringVar(&alert.Severity, "severity", "info", "info, warning, error or high")
	f.StringVar(&alert.Message, "message", "", "the `text`")
	if err := f.parse(args); err != nil {
		return err
	}
	return c.send(ctx, c.options(f, nil), alert)
}

// send publishes one payload and prints its receipt.
func (c *command) send(ctx context.Context, opts fogispubsub.Options, p message.Payload, publishOptions ...publisher.PublishOption) (err error) {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	got, err := client.Publish(ctx, p, publishOptions...)
	if err != nil {
		return err
	}
	line := receipt{
		MessageID: got.ID,
		Route:     string(got.Route),
		Receivers: got.Receivers,
		StreamID:  got.StreamID,
		Fallback:  string(got.Fallback),
		Attempts:  got.Attempts,
		ElapsedMS: float64(got.Elapsed.Microseconds()) / 1000,
	}
	if got.FallbackErr != nil {
		line.FallbackError = got.FallbackErr.Error()
	}
	if err := printLine(c.stdout, line); err != nil {
		return err
	}
	if got.Route == publisher.RouteNone {
		return errors.New("pub/sub is disabled and no fallback is set: nobody was told. Set REDIS_PUBSUB_ENABLED=true or FOGIS_FALLBACK_URL")
	}
	return nil
}

// readFile reads a file, - for standard input, up to twice the largest message:
// a file may be spaced out.
func (c *command) readFile(ctx context.Context, name string) ([]byte, error) {
	in := c.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err // names the file
		}
		defer file.Close()
		in = file
	}
	const limit = 2 * message.DefaultMaxBytes
	var data []byte
	var err error
	read := make(chan struct{})
	go func() { // which a signal need not wait for
		defer close(read)
		data, err = io.ReadAll(io.LimitReader(in, limit+1))
	}()
	select {
	case <-read:
	case <-ctx.Done():
		return nil, fmt.Errorf("reading %s: %w", name, context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: larger than %d MiB, which no message may be", name, limit>>20)
	}
	return data, nil
}

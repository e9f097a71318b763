package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// Exit codes; check also uses them for the state of the system.
const (
	exitDone      = 0 // done, healthy
	exitFailed    = 1 // failed, degraded
	exitUsage     = 2 // wrong usage
	exitUnhealthy = 2
	exitUnknown   = 3
)

// errUsage is wrapped by faults of the command line itself.
var errUsage = errors.New("usage")

// exitError ends the command with a code of its own; its text may be empty.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// command is the program with its surroundings, so that tests can run it
// whole.
type command struct {
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	hide   func(string) string // of run: the secrets of the arguments
}

const usage = `usage: fogis-pubsub COMMAND [flags]

  publish matches --file F [--changes F] [--fallback URL] [--plain] [--source S]
  publish status  --status S [--detail key=value]...
  publish alert   --type T --severity S --message M
  subscribe       [--durable [--group G]] [--count N] [--timeout D] [--channel C]...
  replay          --type T [--since D or RFC 3339] [--after ID]
  deadletter      list|show|requeue|discard [--type T] [--error TEXT] [--older D] [--newer D] [--group G] [--stale] [--all] [ID]...
  outbox          list|show|drain|requeue|discard|salvage [--path F] [--aside] [--all] [--timeout D] [ID or FILE]...
  purge           --match ID | --before T [--dry-run] [--force] [--path F]
  serve           --addr A [--host NAME] [--allow-unauthenticated]
  check           [--fallback URL] [--watch D] [--json]
  redis           up|down|status [--file F] [--required] [--timeout D]
  dev             [--addr A]

Every command takes --redis URL, --redis-file FILE and --verbose. Other users
can read --redis URL in the list of processes (ps): put an address with a
password into a file, or into REDIS_URL. Settings come from the environment; "fogis-pubsub COMMAND -h" tells more.
`

func (c *command) run(ctx context.Context, args []string) int {
	c.hide = hider(args)
	c.stdout, c.stderr = terminal{w: c.stdout}, terminal{c.stderr, c.hide}
	err := c.dispatch(ctx, args)
	var exit *exitError
	var settings *config.Error
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.As(err, &exit):
		if exit.text != "" {
			fmt.Fprintln(c.stderr, "fogis-pubsub:", exit.text)
		}
		return exit.code
	case errors.Is(err, errUsage), errors.As(err, &settings):
		fmt.Fprintln(c.stderr, "fogis-pubsub:", err)
		return exitUsage
	default:
		fmt.Fprintln(c.stderr, "fogis-pubsub:", err)
		return exitFailed
	}
}

func (c *command) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(c.stderr, usage)
		return &exitError{code: exitUsage}
	}
	name, rest := args[0], args[1:]
	switch name {
	case "publish":
		return c.publish(ctx, rest)
	case "subscribe":
		return c.subscribe(ctx, rest)
	case "deadletter":
		return c.deadletter(ctx, rest)
	case "outbox":
		return c.outbox(ctx, rest)
	case "replay":
		return c.replay(ctx, rest)
	case "purge":
		return c.purge(ctx, rest)
	case "serve":
		return c.serve(ctx, rest)
	case "check":
		return c.check(ctx, rest)
	case "redis":
		return c.redis(ctx, rest)
	case "dev":
		return c.dev(ctx, rest)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(c.stderr, usage)
		return nil
	}
	return fmt.Errorf("%w: unknown command %q; \"fogis-pubsub help\" lists them", errUsage, name)
}

// flags is a flag set with what every command takes.
type flags struct {
	*flag.FlagSet
	redis   string
	file    string // that holds the URL
	verbose bool
	level   slog.Level // from which on the library's log is shown
	outbox  bool       // the command sends, so that it needs the outbox
}

// flags starts the flags of a command. A command that ends with its error
// shows the library's log from level error on, because the error says it all.
func (c *command) flags(name string, level slog.Level) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("fogis-pubsub "+name, flag.ContinueOnError), level: level}
	f.SetOutput(c.stderr)
	f.StringVar(&f.redis, "redis", "", "Redis `URL`; overrides REDIS_URL; ps shows it, with its password, to other users")
	f.StringVar(&f.file, "redis-file", "", "`file` that holds the Redis URL; overrides REDIS_URL and REDIS_URL_FILE")
	f.BoolVar(&f.verbose, "verbose", false, "log what the library does to standard error")
	return f
}

// parse reads the flags and refuses anything left over.
func (f *flags) parse(args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &exitError{code: exitUsage} // package flag has said why
	}
	if f.redis != "" && f.file != "" {
		return fmt.Errorf("%w: give --redis or --redis-file, not both", errUsage)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, f.Arg(0))
	}
	return nil
}

// env gives the environment with the flags' overrides.
func (c *command) env(overrides map[string]string) func(string) string {
	return func(name string) string {
		if value := overrides[name]; value != "" {
			return value
		}
		return c.getenv(name)
	}
}

// options gives the client options common to the commands.
func (c *command) options(f *flags, overrides map[string]string) fogispubsub.Options {
	level := f.level
	if f.verbose {
		level = slog.LevelDebug
	}
	getenv := c.env(overrides)
	address := f.redis != "" || f.file != ""
	logger := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))
	return fogispubsub.Options{
		OpenOutbox: func(path string) (publisher.Outbox, error) { return outbox.Open(path, outbox.Options{Logger: logger}) },
		Getenv: func(name string) string {
			// One process has the file at a time: a command that only looks must
			// not keep it from the service, nor fail because that runs.
			if name == outboxVariable && !f.outbox {
				return ""
			}
			switch { // one of the two at most: both set is a fault
			case address && name == "REDIS_URL":
				return f.redis
			case address && name == "REDIS_URL_FILE":
				return f.file
			}
			return getenv(name)
		},
		Logger: logger,
	}
}

const outboxVariable = "FOGIS_OUTBOX_PATH"

// wantsHelp tells whether a command of several verbs is asked what it does.
func wantsHelp(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0])
}

// printLine writes v as one line of JSON without HTML escapes.
func printLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return fmt.Sprint([]string(*l)) }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// deadLetterLine is a dead letter without its message.
type deadLetterLine struct {
	LetterID  string       `json:"letter_id"`
	StreamID  string       `json:"stream_id"`
	MessageID string       `json:"message_id"`
	Type      message.Type `json:"type"`
	Group     string       `json:"group"`
	Instance  string       `json:"instance"`
	Error     string       `json:"error"`
	Attempts  int          `json:"attempts"`
	Tries     int          `json:"tries"`
	First     time.Time    `json:"first,omitzero"`
	Last      time.Time    `json:"last,omitzero"`
	Buried    time.Time    `json:"buried"`
	Bytes     int          `json:"bytes"`
	Message   *line        `json:"message,omitempty"` // of show
}

// letters is what a call of deadletter works on.
type letters struct {
	client *fogispubsub.Client
	filter durable.Filter
	types  []message.Type
	ids    []string // instead of the filter

	channel string // of the type that is worked on
}

func (c *command) deadletter(ctx context.Context, args []string) (err error) {
	if wantsHelp(args) {
		fmt.Fprint(c.stderr, usage)
		return nil
	}
	if len(args) == 0 {
		return fmt.Errorf("%w: deadletter what? list, show, requeue or discard", errUsage)
	}
	verb := args[0]
	f := c.flags("deadletter "+verb, slog.LevelError)
	typ := f.String("type", "", "only messages of this `type`; needed with IDs, which each type counts for itself")
	text := f.String("error", "", "only letters whose error contains this `text`")
	group := f.String("group", "", "only letters of this `group`")
	older := f.Duration("older", 0, "only letters that are older than this `time`")
	newer := f.Duration("newer", 0, "only letters that are newer than this `time`")
	all := f.Bool("all", false, "with requeue and discard: all letters, when neither IDs nor filters are given")
	stale := f.Bool("stale", false, "with requeue: also match updates that a newer state has overtaken")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &exitError{code: exitUsage} // package flag has said why
	}
	now := time.Now()
	l := &letters{ids: f.Args(), filter: durable.Filter{Type: message.Type(*typ), Group: *group, Reason: *text}}
	if *older > 0 {
		l.filter.Before = now.Add(-*older)
	}
	if *newer > 0 {
		l.filter.Since = now.Add(-*newer)
	}
	l.types = message.Types()
	switch {
	case *typ != "" && l.filter.Type.DefaultChannel() == "":
		return fmt.Errorf("%w: --type: one of %v", errUsage, message.Types())
	case *typ != "":
		l.types = []message.Type{l.filter.Type}
	case len(l.ids) > 0:
		return fmt.Errorf("%w: IDs need --type", errUsage)
	}
	var do func(*durable.DeadLetters, durable.DeadLetter) error
	done := ""
	switch verb {
	case "list", "show":
		do = func(_ *durable.DeadLetters, d durable.DeadLetter) error {
			return c.printLetter(d, l.channel, verb == "show")
		}
	case "requeue":
		done = "requeued"
		do = func(dead *durable.DeadLetters, d durable.DeadLetter) error {
			_, err := dead.Requeue(ctx, d.LetterID, *stale)
			return err
		}
	case "discard":
		done = "discarded"
		do = func(dead *durable.DeadLetters, d durable.DeadLetter) error {
			_, err := dead.Discard(ctx, d.LetterID)
			return err
		}
	default:
		return fmt.Errorf("%w: deadletter what? list, show, requeue or discard, not %q", errUsage, verb)
	}
	if done != "" && !*all && len(l.ids) == 0 && l.filter == (durable.Filter{}) {
		return fmt.Errorf("%w: %s which? give IDs, a filter, or --all", errUsage, verb)
	}
	opts := c.options(f, map[string]string{"REDIS_DURABLE": "false"})
	cfg, err := readSettings(opts.Getenv)
	if err != nil {
		return err
	}
	if l.client, err = fogispubsub.New(cfg, opts); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.client.Close()) }()

	worked, failed := 0, 0
	for _, t := range l.types {
		l.channel = cfg.Channel(t)
		dead, err := durable.NewDeadLetters(l.client.Redis(), l.channel)
		if err != nil {
			return err
		}
		for d, err := range l.each(ctx, dead) {
			if err == nil {
				err = do(dead, d)
			} else if d.LetterID == "" {
				return err
			}
			if err == nil {
				worked++
			} else {
				failed++
				fmt.Fprintf(c.stderr, "%s: %v\n", d.LetterID, err)
			}
			if (worked+failed)%1000 == 0 {
				fmt.Fprintf(c.stderr, "%d letters so far\n", worked+failed)
			}
		}
	}
	if done != "" {
		fmt.Fprintf(c.stderr, "%d %s\n", worked, done)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d letters failed", failed, worked+failed)
	}
	return nil
}

// each gives the letters that are meant; an error without a letter's ID ends it.
func (l *letters) each(ctx context.Context, dead *durable.DeadLetters) func(func(durable.DeadLetter, error) bool) {
	return func(yield func(durable.DeadLetter, error) bool) {
		if len(l.ids) == 0 {
			dead.List(ctx, l.filter)(yield)
			return
		}
		for _, id := range l.ids {
			d, err := dead.Get(ctx, id)
			d.LetterID = id
			if !yield(d, err) {
				return
			}
		}
	}
}

// printLetter prints a letter; whole with its message, as subscribe prints it,
// if that can be read.
func (c *command) printLetter(d durable.DeadLetter, channel string, whole bool) error {
	l := deadLetterLine{
		LetterID: d.LetterID, StreamID: d.Entry.StreamID, MessageID: d.Entry.ID, Type: d.Entry.Type, Group: d.Group, Instance: d.Instance,
		Error: d.Reason, Attempts: d.Attempts, Tries: d.Tries, First: d.First, Last: d.Last, Buried: d.Buried(), Bytes: len(d.Entry.Body),
	}
	if whole {
		l.Message, _ = storedLine(channel, d.Entry)
	}
	return printLine(c.stdout, l)
}

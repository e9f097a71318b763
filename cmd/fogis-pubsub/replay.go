package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// replay prints what the stream of a type holds, oldest first, and changes
// nothing there.
func (c *command) replay(ctx context.Context, args []string) (err error) {
	f := c.flags("replay", slog.LevelError)
	typ := f.String("type", "", "the messages' `type`, such as match_updates")
	since := f.String("since", "", "how long ago, as 24h, or since which `time`, as 2031-05-06T17:00:00Z")
	after := f.String("after", "", "the stream `ID` behind which to begin")
	if err := f.parse(args); err != nil {
		return err
	}
	if message.Type(*typ).DefaultChannel() == "" {
		return fmt.Errorf("%w: replay needs --type, one of %v", errUsage, message.Types())
	}
	if *since != "" && *after != "" {
		return fmt.Errorf("%w: give --since or --after, not both", errUsage)
	}
	from, err := position(*since, *after, time.Now())
	if err != nil {
		return err
	}
	opts := c.options(f, nil)
	cfg, err := readSettings(opts.Getenv)
	if err != nil {
		return err
	}
	client, err := fogispubsub.New(cfg, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	out := newPrinter(c.stdout, 0)
	printed, unreadable := 0, 0
	for entry, err := range client.Replay(ctx, message.Type(*typ), from) {
		if err != nil {
			return err
		}
		l, err := storedLine(cfg.Channel(message.Type(*typ)), entry)
		if err != nil {
			unreadable++
			fmt.Fprintf(c.stderr, "%s cannot be read: %v\n", entry.StreamID, err)
			continue
		}
		if err := out.print(l); err != nil {
			return err
		}
		if printed++; printed%1000 == 0 {
			fmt.Fprintf(c.stderr, "%d messages so far, at %s\n", printed, entry.StreamID)
		}
	}
	fmt.Fprintf(c.stderr, "%d messages\n", printed)
	if unreadable > 0 {
		return fmt.Errorf("%d messages could not be read", unreadable)
	}
	return nil
}

// position reads the flags that say where to begin.
func position(since, after string, now time.Time) (durable.Position, error) {
	switch {
	case after != "":
		if (durable.Entry{StreamID: after}).Time().IsZero() {
			return durable.Position{}, fmt.Errorf("%w: --after wants a stream ID as 1935846000000-0", errUsage)
		}
		return durable.After(after), nil
	case since == "":
		return durable.Position{}, nil
	}
	at, err := moment(since, now)
	if err != nil {
		return durable.Position{}, fmt.Errorf("%w: --since %w", errUsage, err)
	}
	return durable.Since(at), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// outboxLine is a record of an outbox without its message.
type outboxLine struct {
	MessageID string       `json:"message_id"`
	Type      message.Type `json:"type"`
	PutAt     time.Time    `json:"put_at"`
	Posted    bool         `json:"posted"` // the fallback took it
	Bytes     int          `json:"bytes"`
}

// outbox lists what waits in the file of FOGIS_OUTBOX_PATH, or sends it.
func (c *command) outbox(ctx context.Context, args []string) (err error) {
	if wantsHelp(args) {
		fmt.Fprint(c.stderr, usage)
		return nil
	}
	if len(args) == 0 || args[0] != "list" && args[0] != "drain" {
		return fmt.Errorf("%w: outbox what? list or drain", errUsage)
	}
	f := c.sender("outbox " + args[0])
	path := f.String("path", "", "`file` of the outbox; overrides FOGIS_OUTBOX_PATH")
	timeout := f.Duration("timeout", 30*time.Second, "with drain: end after this `time`")
	if err := f.parse(args[1:]); err != nil {
		return err
	}
	opts := c.options(f, map[string]string{outboxVariable: *path})
	name := opts.Getenv(outboxVariable)
	if name == "" {
		return fmt.Errorf("%w: which outbox? set FOGIS_OUTBOX_PATH or give --path", errUsage)
	}
	if args[0] == "drain" {
		return c.drain(ctx, opts, name, *timeout)
	}
	file, err := outbox.Open(name, outbox.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for r, err := range file.All() {
		if err != nil {
			return err
		}
		if err := printLine(c.stdout, outboxLine{MessageID: r.ID, Type: r.Type, PutAt: r.PutAt, Posted: r.Posted, Bytes: len(r.Body)}); err != nil {
			return err
		}
	}
	return nil
}

// drain runs a publisher until nothing waits.
func (c *command) drain(ctx context.Context, opts fogispubsub.Options, path string, timeout time.Duration) (err error) {
	file, err := outbox.Open(path, outbox.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	opts.Publisher.Outbox = file
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	run, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- client.Run(run) }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	told := time.Now()
	for client.Stats().Publisher.Waiting > 0 && run.Err() == nil {
		select {
		case <-look.C:
			if time.Since(told) > 5*time.Second {
				told = time.Now()
				fmt.Fprintf(c.stderr, "%d messages wait\n", client.Stats().Publisher.Waiting)
			}
		case <-run.Done():
		}
	}
	cancel()
	err = <-ended
	stats := client.Stats().Publisher
	if printing := printLine(c.stdout, map[string]any{"drained": stats.Drained, "left": stats.Waiting}); printing != nil {
		return errors.Join(err, printing)
	}
	if err == nil && stats.Waiting > 0 {
		err = fmt.Errorf("%d messages are left in the outbox: Redis did not take them", stats.Waiting)
	}
	return err
}

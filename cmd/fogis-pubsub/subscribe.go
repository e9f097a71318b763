package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// errEnough refuses messages after --count was reached.
var errEnough = errors.New("the wanted number of messages has been printed")

func (c *command) subscribe(ctx context.Context, args []string) (err error) {
	f := c.flags("subscribe", slog.LevelWarn)
	count := f.Int("count", 0, "end after `N` messages; 0 means never")
	timeout := f.Duration("timeout", 0, "end after this `time`; with --count, having fewer messages is a failure")
	var channels list
	f.Var(&channels, "channel", "a further `channel`; may be repeated")
	durable := f.Bool("durable", false, "read the streams, as one of the group")
	group := f.String("group", "", "`name` of the group; overrides FOGIS_SERVICE_NAME")
	if err := f.parse(args); err != nil {
		return err
	}
	if *group != "" && !*durable {
		return fmt.Errorf("%w: --group goes with --durable", errUsage)
	}
	if *count < 0 || *timeout < 0 {
		return fmt.Errorf("%w: --count and --timeout must not be negative", errUsage)
	}
	if slices.Contains(channels, "") {
		return fmt.Errorf("%w: --channel is empty", errUsage)
	}
	// Only who says so joins a group: its messages are then not the service's.
	overrides := map[string]string{"REDIS_DURABLE": "false"}
	if *durable {
		overrides = map[string]string{"REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": *group}
	}
	opts := c.options(f, overrides)
	opts.Subscriber.Channels = channels
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	out := newPrinter(c.stdout, *count)
	out.durable = *durable
	out.register(client)

	run, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- client.Run(run) }()
	subscribed := make(chan struct{})
	go func() {
		if c.announce(run, client) {
			close(subscribed)
		}
	}()
	var deadline <-chan time.Time
	if *timeout > 0 {
		timer := time.NewTimer(*timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	select {
	case err := <-ended:
		return err
	case <-out.failed:
		cancel()
		<-ended
		return out.err()
	case <-out.done:
		cancel()
		<-ended // messages that came after the last wanted one were not handled
		return nil
	case <-deadline:
		confirmed := false
		select {
		case <-subscribed:
			confirmed = true
		default:
		}
		cancel()
		if err := <-ended; err != nil {
			return err
		}
		if !confirmed {
			return fmt.Errorf("timed out: never subscribed in %v; check REDIS_URL and that Redis runs, --verbose says more", *timeout)
		}
		if *count > 0 {
			return fmt.Errorf("the time is over and fewer than %d messages came", *count)
		}
		return nil
	}
}

// announce says on standard error when all channels are confirmed, and reports
// whether they are.
func (c *command) announce(ctx context.Context, client *fogispubsub.Client) bool {
	switch {
	case client.Subscribed(ctx) != nil:
		return false
	case client.Status().State == subscriber.StateDisabled:
		fmt.Fprintln(c.stderr, "pub/sub is disabled by REDIS_PUBSUB_ENABLED or REDIS_ENABLED: nothing comes from Redis")
		return false
	default:
		fmt.Fprintln(c.stderr, "subscribed")
		return true
	}
}

// Command durable shows on an embedded Redis what streams are for: updates that
// are published while nobody runs, a process that dies in its handler, the
// second instance that takes over, an update that no handler can handle, and a
// replay of it all. It needs nothing but Go and ends by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// Updates tell themselves apart by the number of their one match.
const (
	fatal  = 4 // ends the process that handles it first
	poison = 6 // cannot be handled
)

// doomed is the variable that makes this program the instance that dies.
const doomed = "FOGIS_EXAMPLE_DOOMED"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	show := show
	if os.Getenv(doomed) != "" {
		show = die
	}
	if err := show(ctx); err != nil {
		log.Fatal(err)
	}
}

func show(ctx context.Context) error {
	redis, err := devserver.Start(devserver.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer redis.Close()
	sender, err := newClient(redis.URL(), "match-list-processor")
	if err != nil {
		return err
	}
	defer sender.Close()
	publish := func(numbers ...int64) error {
		for _, n := range numbers {
			receipt, err := sender.Publish(ctx, update(n))
			if err != nil {
				return err
			}
			fmt.Printf("   update %d: route %s, receivers %d\n", n, receipt.Route, receipt.Receivers)
		}
		return nil
	}

	fmt.Println("1. Nobody runs: the stream keeps what is published")
	if err := publish(1, 2, 3); err != nil {
		return err
	}
	fmt.Println("2. An instance starts, handles them all, and dies in the handler of update 4")
	if err := publish(fatal); err != nil {
		return err
	}
	if err := runDoomed(ctx, redis.URL()); err != nil {
		return err
	}
	fmt.Println("3. A second instance takes over, within ten seconds of the death")
	handled := make(chan int64)
	calendar, err := newClient(redis.URL(), "calendar")
	if err != nil {
		return err
	}
	defer calendar.Close()
	fogispubsub.On(calendar, func(ctx context.Context, m message.Message[message.MatchUpdates]) error {
		n := m.Payload.Matches[0].ID.Int
		if n == poison {
			return subscriber.Permanent(errors.New("the calendar refuses this match"))
		}
		select {
		case handled <- n:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	running, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- calendar.Run(running) }()
	expect := func(want int64) error {
		for {
			select {
			case n := <-handled:
				if n == want {
					fmt.Printf("   handled: update %d\n", n)
					return nil
				}
				if n > want {
					return fmt.Errorf("update %d was handled in place of %d", n, want)
				}
				fmt.Printf("   handled again: update %d, which the dead process had not acknowledged yet\n", n)
			case err := <-stopped:
				return fmt.Errorf("the calendar stopped: %w", err)
			case <-ctx.Done():
				return fmt.Errorf("update %d was not handled: %w", want, ctx.Err())
			}
		}
	}
	if err := expect(fatal); err != nil {
		return err
	}
	fmt.Println("4. An update that cannot be handled becomes a dead letter, and the next one comes")
	if err := publish(5, poison, 7); err != nil {
		return err
	}
	for _, n := range []int64{5, 7} {
		if err := expect(n); err != nil {
			return err
		}
	}
	stop()
	if err := <-stopped; err != nil {
		return err
	}
	letters, err := durable.NewDeadLetters(sender.Redis(), message.ChannelMatchUpdates)
	if err != nil {
		return err
	}
	for letter, err := range letters.List(ctx, durable.Filter{}) {
		if err != nil {
			return err
		}
		n, err := numberOf(letter.Entry.Body)
		if err != nil {
			return err
		}
		fmt.Printf("   dead letter: update %d, because: %s\n", n, letter.Reason)
	}
	fmt.Println("5. A replay shows all that the stream holds")
	for entry, err := range sender.Replay(ctx, message.TypeMatchUpdates, durable.Position{}) {
		if err != nil {
			return err
		}
		n, err := numberOf(entry.Body)
		if err != nil {
			return err
		}
		fmt.Printf("   update %d\n", n)
	}
	return nil
}

// newClient makes a durable client for a service. A program of your own takes
// its settings from the environment, with a nil Getenv.
func newClient(url, service string) (*fogispubsub.Client, error) {
	settings := map[string]string{"REDIS_URL": url, "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": service, "FOGIS_REQUIRE_RECEIVERS": "-1"}
	return fogispubsub.FromEnv(fogispubsub.Options{
		Logger: slog.New(slog.DiscardHandler),
		Getenv: func(name string) string { return settings[name] },
	})
}

// runDoomed runs this program once more, as the instance that dies.
func runDoomed(ctx context.Context, url string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	instance := exec.CommandContext(ctx, self)
	instance.Env = append(os.Environ(), doomed+"="+url)
	instance.Stdout, instance.Stderr = os.Stdout, os.Stderr
	if err := instance.Run(); instance.ProcessState == nil || instance.ProcessState.ExitCode() != 3 {
		return fmt.Errorf("the first instance did not die in its handler: %w", err)
	}
	return nil
}

// die handles updates until the fatal one ends the process.
func die(ctx context.Context) error {
	client, err := newClient(os.Getenv(doomed), "calendar")
	if err != nil {
		return err
	}
	defer client.Close()
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		n := m.Payload.Matches[0].ID.Int
		if n == fatal {
			fmt.Printf("   update %d: the process is gone\n", n)
			os.Exit(3)
		}
		fmt.Printf("   handled: update %d\n", n)
		return nil
	})
	return client.Run(ctx)
}

func update(n int64) message.MatchUpdates {
	return message.MatchUpdates{Matches: []message.Match{{
		ID:      message.NewMatchID(n),
		Home:    message.Team{Name: "Ängsviks IF"},
		Away:    message.Team{Name: "Östra Åsby BK"},
		Kickoff: time.Date(2031, 5, 6, 16, 0, 0, 0, time.UTC),
	}}}
}

// numberOf reads an update that is not handled, but looked at.
func numberOf(body []byte) (int64, error) {
	envelope, err := message.Decode(body)
	if err != nil {
		return 0, err
	}
	m, err := message.As[message.MatchUpdates](envelope)
	if err != nil {
		return 0, err
	}
	return m.Payload.Matches[0].ID.Int, nil
}

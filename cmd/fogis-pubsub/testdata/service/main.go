// Command service is a service that publishes, for tests that need a process
// with a life of its own. It takes one order per line of standard input, the
// number of a match behind it, and answers each with one line of JSON:
//
//	publish N   sends a snapshot of that one match
//	cycle N     sends it as a processing cycle does
//	health      asks for the health report
//
// It ends with its input. With -run it has Run beside them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

type answer struct {
	Receipt publisher.Receipt `json:"receipt"`
	Health  any               `json:"health,omitempty"`
	Error   string            `json:"error,omitempty"`
}

func main() {
	run := flag.Bool("run", false, "call Run")
	flag.Parse()
	if err := serve(context.Background(), *run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, run bool) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	client, err := fogispubsub.FromEnv(fogispubsub.Options{
		Logger:     logger,
		OpenOutbox: func(path string) (publisher.Outbox, error) { return outbox.Open(path, outbox.Options{Logger: logger}) },
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if run {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- client.Run(ctx) }()
		defer func() {
			cancel()
			if running := <-ended; err == nil {
				err = running
			}
		}()
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var order string
		var number int64
		if _, err := fmt.Sscan(in.Text()+" 0", &order, &number); err != nil {
			return err
		}
		var a answer
		var failed error
		snapshot := message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(number)}}}
		switch order {
		case "publish":
			a.Receipt, failed = client.Publish(ctx, snapshot)
		case "cycle":
			a.Receipt, failed = client.StartCycle(ctx, fogispubsub.CycleOptions{}).Complete(snapshot)
		case "health":
			a.Health = client.Health(ctx)
		default:
			return fmt.Errorf("unknown order %q", order)
		}
		if failed != nil {
			a.Error = failed.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

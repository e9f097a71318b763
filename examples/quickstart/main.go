// Command quickstart shows on an embedded Redis what the library is for: an
// update that reaches its handler over Redis, an outage during which updates
// arrive by HTTP, and the recovery. It needs nothing but Go and ends by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := show(ctx); err != nil {
		log.Fatal(err)
	}
}

func show(ctx context.Context) error {
	quiet := slog.New(slog.DiscardHandler)
	redis, err := devserver.Start(devserver.Options{Logger: quiet})
	if err != nil {
		return err
	}
	addr := redis.Addr()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	settings := map[string]string{
		"REDIS_URL":            redis.URL(),
		"REDIS_RETRY_DELAY":    "0.2",
		"REDIS_DURABLE":        "false", // the wire of today's services; examples/durable shows the other mode
		"FOGIS_FALLBACK_URL":   "http://" + listener.Addr().String() + "/manual-sync",
		"FOGIS_FALLBACK_TOKEN": "quickstart",
	}
	options := fogispubsub.Options{Logger: quiet, Getenv: func(name string) string { return settings[name] }}

	// The receiving service: one handler behind both routes.
	handled := make(chan message.Message[message.MatchUpdates])
	receiver, err := fogispubsub.FromEnv(options)
	if err != nil {
		return err
	}
	defer receiver.Close()
	fogispubsub.On(receiver, func(ctx context.Context, m message.Message[message.MatchUpdates]) error {
		select {
		case handled <- m:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	receive, err := receiver.FallbackHandler()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: receive, ReadTimeout: 10 * time.Second}
	go server.Serve(listener)
	defer server.Close()

	// The publishing service.
	sender, err := fogispubsub.FromEnv(options)
	if err != nil {
		return err
	}
	defer sender.Close()

	running, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 2)
	for _, client := range []*fogispubsub.Client{receiver, sender} {
		go func() { stopped <- client.Run(running) }()
	}
	publish := func(kickoff string) error {
		var receipt publisher.Receipt
		published := make(chan error, 1)
		go func() {
			var err error
			receipt, err = sender.Publish(ctx, snapshot(kickoff))
			published <- err
		}()
		select {
		case m := <-handled:
			match := m.Payload.Matches[0]
			fmt.Printf("   handler: %s - %s at %s UTC, came by %s\n", match.Home.Name, match.Away.Name, match.Kickoff.UTC().Format("15:04"), m.Via)
		case <-ctx.Done():
			return fmt.Errorf("nothing was handled: %w", ctx.Err())
		}
		if err := <-published; err != nil {
			return err
		}
		fmt.Printf("   receipt: route %s, receivers %d, attempts %d\n", receipt.Route, receipt.Receivers, receipt.Attempts)
		return nil
	}

	fmt.Println("1. Redis is up: the update goes by pub/sub")
	if err := receiver.Subscribed(ctx); err != nil {
		return err
	}
	if err := publish("16:00"); err != nil {
		return err
	}
	fmt.Println("2. Redis is gone: the update goes by HTTP")
	if err := redis.Close(); err != nil {
		return err
	}
	if err := publish("17:00"); err != nil {
		return err
	}
	fmt.Println("3. Redis is back: both sides find it without a restart")
	redis, err = devserver.Start(devserver.Options{Addr: addr, Logger: quiet})
	if err != nil {
		return err
	}
	defer redis.Close()
	if err := receiver.Subscribed(ctx); err != nil {
		return err
	}
	if err := recovered(ctx, sender); err != nil {
		return err
	}
	if err := publish("18:00"); err != nil {
		return err
	}

	stop()
	if err := errors.Join(<-stopped, <-stopped); err != nil {
		return err
	}
	stats := receiver.Stats().Subscriber
	fmt.Printf("handled %d, reported gaps %d\n", stats.Handled, stats.Gaps)
	return nil
}

// recovered waits until the publisher, which asks a broken Redis once a
// second, uses it again.
func recovered(ctx context.Context, sender *fogispubsub.Client) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for sender.Stats().Publisher.BreakerOpen {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the publisher did not find Redis again: %w", ctx.Err())
		}
	}
	return nil
}

// snapshot is the whole current match list of an invented referee.
func snapshot(kickoff string) message.MatchUpdates {
	at, err := time.Parse(time.RFC3339, "2031-05-06T"+kickoff+":00Z")
	if err != nil {
		panic(err)
	}
	return message.MatchUpdates{
		Matches: []message.Match{{
			ID:          message.NewMatchID(6200001),
			Number:      "000402011",
			Home:        message.Team{Name: "Ängsviks IF"},
			Away:        message.Team{Name: "Östra Åsby BK"},
			Kickoff:     at,
			Venue:       message.Venue{Name: "Björkängsvallen"},
			Competition: message.Competition{Name: "Div 4 Nordöstra Götaland, herrar"},
		}},
		Changes: []message.Change{{
			MatchID:  message.NewMatchID(6200001),
			Category: message.CategoryTimeChange,
			Priority: message.PriorityHigh,
			Field:    "avsparkstid",
		}},
	}
}

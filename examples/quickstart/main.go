// Command quickstart shows on an embedded Redis what the library is for: an
// update that reaches its handler over Redis, an outage during which updates
// arrive by HTTP, and the recovery. It needs nothing but Go and ends by itself.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/devserver"
	"github.com/PitchConnect/fogispubsub/message"
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	settings := map[string]string{
		"REDIS_URL":            redis.URL(),
		"REDIS_RETRY_DELAY":    "0.2",
		"FOGIS_FALLBACK_URL":   "http://" + listener.Addr().String() + "/manual-sync",
		"FOGIS_FALLBACK_TOKEN": "quickstart",
	}
	options := fogispubsub.Options{Logger: quiet, Getenv: func(name string) string { return settings[name] }}

	// The receiving service: one handler behind both routes.
	handled := make(chan message.Message[message.MatchUpdates])
	states := make(chan string, 8)
	receiving := options
	receiving.Subscriber.OnSubscribed = func() { states <- "subscribed" }
	receiver, err := fogispubsub.FromEnv(receiving)
	if err != nil {
		return err
	}
	defer receiver.Close()
	fogispubsub.On(receiver, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		handled <- m
		return nil
	})
	receive, err := receiver.FallbackHandler()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: receive, ReadTimeout: 10 * time.Second}
	go server.Serve(listener)
	defer server.Close()
	running, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- receiver.Run(running) }()

	// The publishing service.
	sender, err := fogispubsub.FromEnv(options)
	if err != nil {
		return err
	}
	defer sender.Close()
	publish := func(kickoff string) error {
		go func() {
			m := <-handled
			fmt.Printf("   handler: %s - %s at %s, by %s\n", m.Payload.Matches[0].Home.Name,
				m.Payload.Matches[0].Away.Name, m.Payload.Matches[0].Kickoff.Format("15:04"), m.Via)
			states <- "handled"
		}()
		receipt, err := sender.Publish(ctx, snapshot(kickoff))
		if err != nil {
			return err
		}
		if err := wait(ctx, states, "handled"); err != nil {
			return err
		}
		fmt.Printf("   receipt: route %s, receivers %d, attempts %d\n", receipt.Route, receipt.Receivers, receipt.Attempts)
		return nil
	}

	fmt.Println("1. Redis is up: the update goes by pub/sub")
	if err := wait(ctx, states, "subscribed"); err != nil {
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
	fmt.Println("3. Redis is back: no restart is needed")
	redis, err = devserver.Start(devserver.Options{Addr: redis.Addr(), Logger: quiet})
	if err != nil {
		return err
	}
	defer redis.Close()
	if err := wait(ctx, states, "subscribed"); err != nil {
		return err
	}
	time.Sleep(time.Second) // the publisher asks a broken Redis again after a second
	if err := publish("18:00"); err != nil {
		return err
	}

	stop()
	if err := <-stopped; err != nil {
		return err
	}
	stats := receiver.Stats().Subscriber
	fmt.Printf("handled %d, reported gaps %d\n", stats.Handled, stats.Gaps)
	return nil
}

func wait(ctx context.Context, states <-chan string, want string) error {
	for {
		select {
		case state := <-states:
			if state == want {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q: %w", want, ctx.Err())
		}
	}
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

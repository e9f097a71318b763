// Command subscriber prints what arrives from the Redis that the environment
// names, until it is interrupted. It may start before Redis.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	client, err := fogispubsub.FromEnv(fogispubsub.Options{Subscriber: subscriber.Options{
		OnGap: func(g subscriber.Gap) { log.Print("updates may be missing: ", g) },
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		for _, match := range m.Payload.Matches {
			fmt.Printf("%s  %s - %s, %s\n", match.Kickoff.Format("2006-01-02 15:04"), match.Home.Name, match.Away.Name, match.Venue.Name)
		}
		return nil
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.ProcessingStatus]) error {
		fmt.Println(m.Source, m.Payload.Status)
		return nil
	})
	if err := client.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

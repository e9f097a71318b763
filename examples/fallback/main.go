// Command fallback is a receiving service with both routes: it subscribes to
// Redis and takes the HTTP fallback on port 5003 for callers that know the
// token in FOGIS_FALLBACK_TOKEN. Either way the same handler sees the update,
// once.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	client, err := fogispubsub.FromEnv(fogispubsub.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		fmt.Printf("%d matches by %s\n", len(m.Payload.Matches), m.Via)
		return nil
	})

	receive, err := client.FallbackHandler()
	if err != nil {
		log.Fatal(err) // without a token anybody could change the calendar
	}
	mux := http.NewServeMux()
	mux.Handle("/manual-sync", receive)
	server := &http.Server{Addr: "127.0.0.1:5003", Handler: mux, ReadTimeout: 30 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Print(err)
			stop()
		}
	}()

	err = client.Run(ctx) // returns when the handlers have drained
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if closeErr := server.Shutdown(closing); err == nil {
		err = closeErr
	}
	if err != nil {
		log.Fatal(err)
	}
}

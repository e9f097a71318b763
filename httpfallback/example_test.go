package httpfallback_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
)

// printing stands for a subscriber, which is a Receiver.
type printing struct{}

func (printing) Dispatch(_ context.Context, channel string, data []byte) (message.Result, error) {
	e, err := message.Decode(data)
	if err != nil {
		return message.Result{}, err
	}
	fmt.Println(channel, e.ID, e.MatchCount())
	return message.Result{Type: e.Type, MessageID: e.ID, Matches: e.MatchCount()}, nil
}

// Both halves: a receiver behind a bearer token, and a client that posts to it.
func Example() {
	token := config.NewSecret("a-long-secret")
	handler, err := httpfallback.Handler(printing{}, httpfallback.HandlerOptions{Token: token})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	client, err := httpfallback.New(server.URL+"/manual-sync", httpfallback.Options{Token: token})
	if err != nil {
		log.Fatal(err)
	}
	updates := message.MatchUpdates{Matches: []message.Match{
		{ID: message.MatchID{Int: 6200001, Text: "6200001"}, Home: message.Team{Name: "Ängsviks IF"}, Away: message.Team{Name: "Östra Åsby BK"}},
	}}
	body, err := message.AppendEncode(nil, message.Header{ID: "match-update-123", Source: "example"}, updates)
	if err != nil {
		log.Fatal(err)
	}
	err = client.Notify(context.Background(), message.Outgoing{ID: "match-update-123", Type: message.TypeMatchUpdates, Body: body})
	fmt.Println("accepted:", err == nil)
	// Output:
	// fogis:matches:updates match-update-123 1
	// accepted: true
}

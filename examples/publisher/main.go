// Command publisher sends one update to the services that the environment
// names: Redis at REDIS_URL, else the HTTP fallback at FOGIS_FALLBACK_URL.
package main

import (
	"context"
	"log"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
)

func main() {
	client, err := fogispubsub.FromEnv(fogispubsub.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	cycle := client.StartCycle(context.Background(), fogispubsub.CycleOptions{Processor: "example"})
	defer cycle.End()
	match := message.Match{
		ID:          message.NewMatchID(6200001),
		Number:      "000402011",
		Home:        message.Team{ID: 310001, ClubID: 11901, Name: "Ängsviks IF"},
		Away:        message.Team{ID: 310002, ClubID: 11902, Name: "Östra Åsby BK"},
		Kickoff:     time.Now().Add(48 * time.Hour).Truncate(time.Hour),
		Venue:       message.Venue{ID: 29001, Name: "Björkängsvallen"},
		Competition: message.Competition{ID: 129001, Name: "Div 4 Nordöstra Götaland, herrar"},
		Officials: []message.Official{{
			ID: "81001", Number: "91001", Role: "Huvuddomare", RoleShort: "Dom",
			Name: "Åke Öberg-Påhittad", Mobile: "070-174 06 10", Email: "ake.oberg@example.com",
		}},
	}
	changed := message.Change{
		MatchID:  match.ID,
		Category: message.CategoryNewAssignment,
		Priority: message.PriorityHigh,
		Field:    "domaruppdraglista",
	}
	receipt, err := cycle.Complete(message.MatchUpdates{Matches: []message.Match{match}, Changes: []message.Change{changed}})
	if err != nil {
		log.Fatal(err) // names every route and why it failed
	}
	log.Printf("%s went by %s to %d receivers in %v", receipt.ID, receipt.Route, receipt.Receivers, receipt.Elapsed)
}

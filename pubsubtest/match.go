package pubsubtest

import (
	"fmt"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Match returns an invented match with all that the Python calendar needs: one
// official and one contact, reachable at example.com and at a telephone number
// of the series that is kept free for fiction. Equal numbers give equal
// matches.
func Match(n int) message.Match {
	phone := fmt.Sprintf("070-174 06 %02d", 5+n%95)
	return message.Match{
		ID:          message.NewMatchID(int64(6200000 + n)),
		Number:      fmt.Sprintf("%09d", 402000+n),
		Home:        message.Team{ID: 310001, ClubID: 11901, Name: "Ängsviks IF"},
		Away:        message.Team{ID: 310002, ClubID: 11902, Name: "Östra Åsby BK"},
		Kickoff:     time.Date(2031, time.May, 6, 15, 0, 0, 0, time.UTC).AddDate(0, 0, n),
		Venue:       message.Venue{ID: 29001, Name: "Björkängsvallen"},
		Competition: message.Competition{ID: 129001, Number: "000402", Name: "Div 4 Nordöstra Götaland, herrar"},
		Officials: []message.Official{{
			ID: "81001", Number: "91001", PersonID: 1510001,
			Role: "Huvuddomare", RoleShort: "Dom", Name: "Åke Öberg-Påhittad",
			Mobile: phone, Email: "ake.oberg@example.com",
			Address: "Påhittsvägen 3", PostalCode: "999 01", City: "Ängsvik", Country: "Sverige",
		}},
		Contacts: []message.Contact{{
			PersonID: 1520001, TeamID: 310001, TeamName: "Ängsviks IF", ClubID: 11901,
			Name: "Björn Påhittsson", Mobile: phone, Email: "bjorn@example.com",
		}},
	}
}

// Matches returns Match(1) to Match(n).
func Matches(n int) []message.Match {
	matches := make([]message.Match, n)
	for i := range matches {
		matches[i] = Match(i + 1)
	}
	return matches
}

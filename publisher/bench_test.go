package publisher_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Each benchmark has its counterpart beside it: what a service would write on
// go-redis alone for the same bytes. Compare them from one run.

func benchmark(b *testing.B) (*redis.Client, *publisher.Publisher) {
	s := realredis.Start(b)
	c := newClient(b, s.Addr())
	p, err := publisher.New(c, publisher.Options{RequireReceivers: -1, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	return c, p
}

// encoded is what the publisher would send.
func encoded(b *testing.B, p message.Payload) []byte {
	body, err := message.AppendEncode(nil, message.Header{
		ID: message.NewID(), Source: "fogispubsub", Timestamp: message.Timestamp{Time: time.Now()},
		Seq: message.Seq{Epoch: "0123456789abcdef", N: 1},
	}, p)
	require.NoError(b, err)
	return body
}

// measure times do over requests of so many bytes.
func measure(b *testing.B, size int, do func() error) {
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
}

func measurePublisher(b *testing.B, p *publisher.Publisher, size int, payload message.Payload) {
	ctx := b.Context()
	measure(b, size, func() error {
		_, err := p.Publish(ctx, payload)
		return err
	})
}

func BenchmarkStatus(b *testing.B) {
	c, p := benchmark(b)
	payload := message.ProcessingStatus{Status: message.StatusCompleted, Details: map[string]json.RawMessage{
		"matches_processed": []byte("12"), "changes_detected": []byte("true"),
	}}
	body := encoded(b, payload)
	ctx := b.Context()
	b.Run("bare", func(b *testing.B) {
		measure(b, len(body), func() error { return c.Publish(ctx, message.ChannelProcessingStatus, body).Err() })
	})
	b.Run("publisher", func(b *testing.B) { measurePublisher(b, p, len(body), payload) })
}

// snapshot has 12 matches with five officials and five contacts each.
func snapshot() []message.Match {
	var matches []message.Match
	for i := range int64(12) {
		m := message.Match{
			ID:          message.MatchID{Int: 6200000 + i, Text: fmt.Sprint(6200000 + i)},
			Number:      fmt.Sprintf("0004020%02d", i),
			Home:        message.Team{ID: 5000 + i, ClubID: 100, Name: "Åby IF"},
			Away:        message.Team{ID: 6000 + i, ClubID: 200, Name: "Östra BK"},
			Kickoff:     time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC),
			Venue:       message.Venue{ID: 9, Name: "Exempelvallen"},
			Competition: message.Competition{ID: 1, Number: "000402", Name: "Division 3 Exempel", Category: "Herrar"},
		}
		for j := range int64(5) {
			m.Officials = append(m.Officials, message.Official{
				ID: fmt.Sprint(77000 + j), Number: "0099", PersonID: 88000 + j, Role: "Assisterande domare", RoleShort: "AD1",
				Name: "Alva Exempel", Mobile: "070-174 06 05", Phone: "070-174 06 06", Email: "alva@example.com",
				Address: "Exempelgatan 1", PostalCode: "111 11", City: "Exempelby", Country: "Sverige",
			})
			m.Contacts = append(m.Contacts, message.Contact{
				PersonID: 99000 + j, TeamID: 5000 + i, TeamName: "Åby IF", ClubID: 100, Name: "Bo Exempel",
				Mobile: "070-174 06 07", Phone: "070-174 06 08", Email: "bo@example.com",
				Address: "Exempelgatan 2", PostalCode: "111 11", City: "Exempelby", Country: "Sverige",
			})
		}
		matches = append(matches, m)
	}
	return matches
}

func BenchmarkMatches_raw(b *testing.B) {
	c, p := benchmark(b)
	var sent struct {
		Payload struct{ Matches []json.RawMessage }
	}
	require.NoError(b, json.Unmarshal(encoded(b, message.MatchUpdates{Matches: snapshot()}), &sent))
	var payload message.MatchUpdates
	for _, raw := range sent.Payload.Matches {
		payload.Matches = append(payload.Matches, message.Match{Raw: raw})
	}
	body := encoded(b, payload)
	ctx := b.Context()
	b.Run("bare", func(b *testing.B) {
		measure(b, len(body), func() error {
			if !json.Valid(body) {
				b.Fatal("invalid")
			}
			return c.Publish(ctx, message.ChannelMatchUpdates, body).Err()
		})
	})
	b.Run("publisher", func(b *testing.B) { measurePublisher(b, p, len(body), payload) })
}

func BenchmarkMatches_typed(b *testing.B) {
	c, p := benchmark(b)
	payload := message.MatchUpdates{Matches: snapshot()}
	body := encoded(b, payload)
	var byHand handWritten
	require.NoError(b, json.Unmarshal(body, &byHand))
	again, err := json.Marshal(byHand)
	require.NoError(b, err)
	require.Len(b, again, len(body), "the counterpart sends as much")
	ctx := b.Context()
	b.Run("bare", func(b *testing.B) {
		measure(b, len(body), func() error {
			body, err := json.Marshal(byHand)
			if err != nil {
				return err
			}
			return c.Publish(ctx, message.ChannelMatchUpdates, body).Err()
		})
	})
	b.Run("publisher", func(b *testing.B) { measurePublisher(b, p, len(body), payload) })
}

// handWritten is the message as a service without the SDK would declare it.
type handWritten struct {
	MessageID     string `json:"message_id"`
	Timestamp     string `json:"timestamp"`
	Source        string `json:"source"`
	Version       string `json:"version"`
	Type          string `json:"type"`
	SchemaVersion string `json:"schema_version"`
	Seq           struct {
		Epoch string `json:"epoch"`
		N     int    `json:"n"`
	} `json:"seq"`
	Payload struct {
		Matches       []handMatch `json:"matches"`
		SchemaVersion string      `json:"schema_version"`
		Changes       []struct{}  `json:"detailed_changes"`
		HighPriority  bool        `json:"high_priority"`
		Metadata      struct {
			Total      int  `json:"total_matches"`
			HasChanges bool `json:"has_changes"`
			Summary    struct {
				New       int `json:"new_matches"`
				Updated   int `json:"updated_matches"`
				Cancelled int `json:"cancelled_matches"`
				Removed   int `json:"removed_matches"`
				Total     int `json:"total_changes"`
			} `json:"change_summary"`
			Timestamp string `json:"processing_timestamp"`
		} `json:"metadata"`
	} `json:"payload"`
}

type handMatch struct {
	ID            int          `json:"matchid"`
	Number        string       `json:"matchnr"`
	HomeID        int          `json:"lag1lagid"`
	HomeClub      int          `json:"lag1foreningid"`
	Home          string       `json:"lag1namn"`
	AwayID        int          `json:"lag2lagid"`
	AwayClub      int          `json:"lag2foreningid"`
	Away          string       `json:"lag2namn"`
	VenueID       int          `json:"anlaggningid"`
	Venue         string       `json:"anlaggningnamn"`
	Latitude      float64      `json:"anlaggningLatitud"`
	Longitude     float64      `json:"anlaggningLongitud"`
	Time          string       `json:"tid"`
	Day           string       `json:"speldatum"`
	Kickoff       string       `json:"avsparkstid"`
	Shown         string       `json:"tidsangivelse"`
	CompetitionID int          `json:"tavlingid"`
	CompetitionNo string       `json:"tavlingnr"`
	Competition   string       `json:"tavlingnamn"`
	Category      string       `json:"tavlingskategorinamn"`
	Final         bool         `json:"arslutresultat"`
	Postponed     bool         `json:"uppskjuten"`
	Interrupted   bool         `json:"avbruten"`
	Cancelled     bool         `json:"installd"`
	Officials     []handPerson `json:"domaruppdraglista"`
	Contacts      []handPerson `json:"kontaktpersoner"`
}

type handPerson struct {
	ID         int    `json:"domareid,omitempty"`
	Number     string `json:"domarnr,omitempty"`
	TeamID     int    `json:"lagid,omitempty"`
	Team       string `json:"lagnamn,omitempty"`
	PersonID   int    `json:"personid"`
	Role       string `json:"domarrollnamn,omitempty"`
	RoleShort  string `json:"domarrollkortnamn,omitempty"`
	PersonName string `json:"personnamn"`
	Name       string `json:"namn,omitempty"`
	Phone      string `json:"telefon"`
	Mobile     string `json:"mobiltelefon"`
	WorkPhone  string `json:"telefonarbete"`
	Address    string `json:"adress"`
	CareOf     string `json:"coadress"`
	Email      string `json:"epostadress"`
	Country    string `json:"land"`
	PostalCode string `json:"postnr"`
	City       string `json:"postort"`
	Reserve    *bool  `json:"reserv,omitempty"`
	Club       int    `json:"foreningId,omitempty"`
}

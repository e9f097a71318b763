package message_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// What the Python publisher sends, shortened.
const received = `{"message_id": "00000000-0000-4000-8000-000000000001", "timestamp": "2031-05-06T15:00:00.123456Z",
 "source": "match-list-processor", "version": "1.0", "type": "match_updates",
 "payload": {"matches": [{"matchid": 6200001, "lag1namn": "Åby IF", "lag2namn": "Östra BK", "tid": "/Date(1935846000000)/"}],
  "schema_version": "2.0", "detailed_changes": [], "high_priority": true, "metadata": {"has_changes": true}}}`

func ExampleDecode() {
	envelope, err := message.Decode([]byte(received))
	if err != nil {
		fmt.Println(err)
		return
	}
	updates, err := message.As[message.MatchUpdates](envelope)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, match := range updates.Payload.Matches {
		fmt.Println(match.ID, match.Home.Name, "-", match.Away.Name, match.Kickoff.Format(time.RFC3339))
	}
	fmt.Println(envelope.Source, "high priority:", updates.Payload.HighPriority())
	// Output:
	// 6200001 Åby IF - Östra BK 2031-05-06T17:00:00+02:00
	// match-list-processor high priority: true
}

func ExampleDecode_refused() {
	_, err := message.Decode([]byte(`{"type": "match_updates", "payload": {"matches": [{"matchid": 1}, 2]}}`))
	fmt.Println(err)
	fmt.Println(errors.Is(err, message.ErrInvalid))

	_, err = message.Decode([]byte("health_check_1759566600"))
	fmt.Println(err)
	// Output:
	// invalid message: payload.matches[1]: want an object, got a number
	// true
	// probe message
}

func ExampleAppendEncode() {
	header := message.Header{
		ID:        "00000000-0000-4000-8000-000000000002",
		Source:    "my-service",
		Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)},
	}
	status := message.ProcessingStatus{
		Status:  message.StatusCompleted,
		Details: map[string]json.RawMessage{"matches_processed": json.RawMessage("12")},
	}
	body, err := message.AppendEncode(nil, header, status)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", body)
	// Output:
	// {"message_id":"00000000-0000-4000-8000-000000000002","timestamp":"2031-05-06T15:00:00.000000Z","source":"my-service","version":"1.0","type":"processing_status","schema_version":"2.0","payload":{"status":"completed","timestamp":"2031-05-06T15:00:00.000000Z","details":{"matches_processed":12}}}
}

// A match keeps its own JSON: what this package does not know goes through
// unchanged, digit for digit.
func ExampleParseMatch() {
	match, err := message.ParseMatch([]byte(`{"matchid": "6200045", "lag1namn": "Åby IF", "new": 2.50, "kontaktpersoner": null}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(match.ID.Int, match.Home.Name, len(match.Contacts))
	fmt.Println(string(match.Raw))
	// Output:
	// 6200045 Åby IF 0
	// {"matchid": "6200045", "lag1namn": "Åby IF", "new": 2.50, "kontaktpersoner": null}
}

// LogoReady is a message type of a service's own.
type LogoReady struct {
	ClubID int64  `json:"club_id"`
	URL    string `json:"url"`
}

func (LogoReady) MessageType() message.Type { return "logo_ready" }

func (l LogoReady) Validate() error {
	if l.ClubID == 0 {
		return fmt.Errorf("%w: payload.club_id: missing", message.ErrInvalid)
	}
	return nil
}

func ExampleAs_ownPayload() {
	body, err := message.AppendEncode(nil, message.Header{ID: "1", Source: "logos"}, LogoReady{ClubID: 11901, URL: "https://example.com/11901?a=1&b=2"})
	if err != nil {
		fmt.Println(err)
		return
	}
	envelope, err := message.Decode(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", envelope.Payload)
	logo, err := message.As[LogoReady](envelope)
	fmt.Println(logo.Payload.ClubID, err)
	// Output:
	// {"club_id":11901,"url":"https://example.com/11901?a=1&b=2"}
	// 11901 <nil>
}

func ExampleMatchUpdates() {
	update := message.MatchUpdates{Matches: []message.Match{{
		ID:      message.NewMatchID(6200001),
		Number:  "000402011",
		Home:    message.Team{Name: "Åby IF"},
		Away:    message.Team{Name: "Östra BK"},
		Kickoff: time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC),
		Officials: []message.Official{
			{RoleShort: "Dom", Name: "Åke Påhitt", Mobile: "070-174 06 10"},
		},
	}}}
	// Printing shows no personal data, whatever the verb.
	fmt.Printf("%+v\n%v\n", update, update.Matches[0].Officials)
	// Output:
	// match updates (matches: 1, changes: 0, high priority: false)
	// [official (Dom)]
}

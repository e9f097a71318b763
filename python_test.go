package fogispubsub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// handled is what a handler got of one message.
type handled struct {
	message.Header
	updates message.MatchUpdates
	status  message.ProcessingStatus
	alert   message.SystemAlert
}

// listenAll registers a handler for each type.
func listenAll(client *fogispubsub.Client) <-chan handled {
	got := make(chan handled, 1000)
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		got <- handled{Header: m.Header, updates: m.Payload}
		return nil
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.ProcessingStatus]) error {
		got <- handled{Header: m.Header, status: m.Payload}
		return nil
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.SystemAlert]) error {
		got <- handled{Header: m.Header, alert: m.Payload}
		return nil
	})
	return got
}

// otherChannels are those of old documents and of prototypes.
var otherChannels = []string{
	"match_updates_v1", "match_updates_v2", "fogis_matches", "fogis_status", "fogis_test", "test:matches:updates",
	"fogis.matches.all", "fogis.events.all", "fogis.events.matches.added", "fogis.events.system.health",
	"fogis.events.service.started", "fogis.events.system.error",
}

// Both forms of a change, as the services write them.
const (
	productionChange = `{"match_id":6200001,"match_nr":"000402011","category":"cancellation","priority":"critical","affected_stakeholders":["all"],` +
		`"field_name":"installd","previous_value":false,"current_value":true,"change_description":"Match cancelled","timestamp":"2031-05-06T14:59:59.123456+00:00"}`
	documentedChange = `{"field":"avsparkstid","from":"16:00","to":"17:00","category":"time_change","priority":"medium","description":"Match time changed from 16:00 to 17:00"}`
)

// pythonShape says what a shape of the Python services is in Go.
type pythonShape struct {
	name   string
	kind   message.Type
	schema string
	// What the envelope says, or is silent about.
	noID      bool
	naive     bool // its time names no zone
	changed   string
	changes   int
	high      bool
	summary   message.ChangeSummary
	sanitized bool
	// only is one match of the three that a service of this form can write.
	only bool
	// view checks the fields of the first match; nil: as in view.
	view func(*testing.T, message.Match)
}

const updated2 = 2 // the number of changes that are ordered

var updateShapes = []pythonShape{
	{name: "E1 guide of the calendar", changed: "true", summary: message.ChangeSummary{New: 1, Updated: 2}},
	{name: "E1 guide of the publisher", changed: "true", summary: message.ChangeSummary{New: 1, Updated: 2, Cancelled: 1, Total: 4}},
	{name: "E1 first generator", naive: true, changed: "true", summary: message.ChangeSummary{Updated: 2}},
	{name: "E2", changed: "true", summary: message.ChangeSummary{Updated: 2}},
	{name: "E2 with changes", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Updated: 2}},
	{name: "E3", schema: "2.0", changed: "true", changes: updated2, high: true},
	{name: "E3 of a dict", schema: "2.0", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Updated: 2}},
	// Its flag was computed before its changes got lost.
	{name: "E3 with nothing for its changes", schema: "2.0", changed: "true", high: true},
	{name: "E3 with the caller's metadata over it", schema: "2.0", changed: "true", changes: updated2, high: true},
	{name: "E3 on a full second", schema: "2.0", changed: "true", changes: updated2, high: true},
	{name: "E3 with NaN", schema: "2.0", changed: "true", changes: updated2, high: true, sanitized: true, view: viewNaN},
	{name: "hybrid", schema: "2.0", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Updated: 2}},
	{name: "hybrid, version as a number", schema: "2.0", changed: "true", changes: updated2, high: true},
	{name: "E4", schema: "2.0", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Updated: 2}, only: true, view: viewE4},
	{name: "E4 on the base channel", schema: "2.0", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Updated: 2}, only: true, view: viewE4},
	// The version in its metadata is another form's.
	{name: "E5", changed: "true", only: true, view: viewE5},
	{name: "E4b", schema: "2.0", changed: "true", changes: updated2, high: true, summary: message.ChangeSummary{Text: "Time and venue changes detected"}, only: true, view: viewE4b},
	{name: "E5b", schema: "1.0", changed: "true", summary: message.ChangeSummary{Text: "Changes detected"}, only: true, view: viewE5},
	{name: "E6", noID: true, naive: true},
	{name: "E6 barest", noID: true, naive: true},
	{name: "E6b", noID: true, naive: true, changed: "true"},
	{name: "E7 list", noID: true, naive: true},
	{name: "E7 object", noID: true, naive: true},
	{name: "E7 one match", noID: true, naive: true, only: true},
	{name: "E8", noID: true, naive: true, changed: "true", only: true, view: viewE8},
}

// kickoff is that of the full match, 17:00 in Sweden.
var kickoff = time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)

// viewFull checks the match of fixture "fogis" in FOGIS's own form.
func viewFull(t *testing.T, m message.Match) {
	t.Helper()
	require.InDelta(t, 57.123456, m.Venue.Latitude, 1e-9)
	require.InDelta(t, 12.654321, m.Venue.Longitude, 1e-9)
	m.Venue.Latitude, m.Venue.Longitude = 0, 0
	viewNaN(t, m)
}

// viewNaN is viewFull for a place that is nowhere.
func viewNaN(t *testing.T, m message.Match) {
	t.Helper()
	require.Equal(t, message.NewMatchID(6200001), m.ID)
	require.Equal(t, "000402011", m.Number)
	require.Equal(t, message.Team{ID: 310001, ClubID: 11901, Name: "Ängsviks IF"}, m.Home)
	require.Equal(t, message.Team{ID: 310002, ClubID: 11902, Name: "Östra Åsby BK"}, m.Away)
	require.Equal(t, message.Venue{ID: 29001, Name: "Björkängsvallen 1 Konstgräs"}, m.Venue)
	require.Equal(t, message.Competition{ID: 129001, Number: "000402", Name: "Div 4 Nordöstra Götaland, herrar", Category: "Division 4, herrar"}, m.Competition)
	require.True(t, kickoff.Equal(m.Kickoff))
	require.False(t, m.Cancelled || m.Postponed || m.Interrupted || m.Completed)
	require.Len(t, m.Officials, 3)
	require.Equal(t, message.Official{
		ID: "81001", Number: "91001", PersonID: 1510001, Role: "Huvuddomare", RoleShort: "Dom",
		Name: "Åke Öberg-Påhittad", Mobile: "070-174 06 10", Email: "ake.oberg@example.com",
		Address: "Påhittsvägen 3", PostalCode: "999 01", City: "Ängsvik", Country: "Sverige",
	}, m.Officials[0])
	require.Len(t, m.Contacts, 2)
	require.Equal(t, message.Contact{
		TeamID: 310002, TeamName: "Östra Åsby BK", ClubID: 11902, Name: "Kansliet",
		Phone: "070-174 06 21", Email: "kansli@example.com", Reserve: true,
	}, m.Contacts[1])
}

func viewE4(t *testing.T, m message.Match) {
	t.Helper()
	require.Equal(t, message.NewMatchID(6200001), m.ID)
	require.Equal(t, message.Team{ID: 310001, ClubID: 11901, Name: "Ängsviks IF"}, m.Home)
	require.Equal(t, message.Team{ID: 310002, ClubID: 11902, Name: "Östra Åsby BK"}, m.Away)
	require.Equal(t, message.Venue{Name: "Björkängsvallen 1 Konstgräs"}, m.Venue)
	require.True(t, kickoff.Equal(m.Kickoff))
	require.Zero(t, m.Competition, "N/A is no name")
	require.Len(t, m.Officials, 3)
	require.Equal(t, "Märta Exempelsson", m.Officials[1].Name)
	require.Empty(t, m.Contacts)
}

func viewE4b(t *testing.T, m message.Match) {
	t.Helper()
	require.Equal(t, message.NewMatchID(6200001), m.ID)
	require.Equal(t, "000402011", m.Number)
	require.Equal(t, message.Team{ID: 310001, ClubID: 11901, Name: "Ängsviks IF"}, m.Home)
	require.Equal(t, message.Venue{ID: 29001, Name: "Björkängsvallen 1 Konstgräs", Latitude: 57.123456, Longitude: 12.654321}, m.Venue)
	require.Equal(t, message.Competition{ID: 129001, Number: "000402", Name: "Div 4 Nordöstra Götaland, herrar", Category: "Division 4, herrar"}, m.Competition)
	require.True(t, kickoff.Equal(m.Kickoff))
	require.Len(t, m.Officials, 3)
	require.Equal(t, message.Official{
		ID: "81001", Role: "Huvuddomare", RoleShort: "Dom", Name: "Åke Öberg-Påhittad",
		Mobile: "070-174 06 10", Email: "ake.oberg@example.com", Address: "Påhittsvägen 3",
	}, m.Officials[0])
	require.Len(t, m.Contacts, 2)
	require.Equal(t, message.Contact{
		TeamID: 310001, TeamName: "Ängsviks IF", ClubID: 11901, Name: "Björn Påhittsson",
		Mobile: "070-174 06 20", Email: "bjorn@example.com",
	}, m.Contacts[0])
}

func viewE5(t *testing.T, m message.Match) {
	t.Helper()
	require.Equal(t, message.NewMatchID(6200001), m.ID)
	require.Equal(t, "Ängsviks IF", m.Home.Name)
	require.Equal(t, "Östra Åsby BK", m.Away.Name)
	require.Equal(t, "Björkängsvallen 1 Konstgräs", m.Venue.Name)
	require.True(t, kickoff.Equal(m.Kickoff))
	require.Len(t, m.Officials, 3)
	require.Equal(t, "Göran Låtsasson", m.Officials[2].Name)
}

func viewE8(t *testing.T, m message.Match) {
	t.Helper()
	require.Equal(t, message.MatchID{Text: "MATCH001", Quoted: true}, m.ID)
	require.Equal(t, "Åby IF", m.Home.Name)
	require.Equal(t, "Östra BK", m.Away.Name)
	require.Equal(t, "Björkängsvallen", m.Venue.Name)
	require.True(t, kickoff.Equal(m.Kickoff))
	require.Len(t, m.Officials, 2)
	require.Equal(t, "Åke Öberg-Påhittad", m.Officials[0].Name)
}

// pythonMatches are the matches in a message's bytes, as encoding/json reads
// them, with null for what is no JSON.
func pythonMatches(t *testing.T, body []byte) []json.RawMessage {
	t.Helper()
	body = []byte(strings.NewReplacer(": NaN", ": null", ": -Infinity", ": null").Replace(string(body)))
	type list []json.RawMessage
	var whole struct {
		Matches list
		Payload struct{ Matches list }
		Data    json.RawMessage
	}
	require.NoError(t, json.Unmarshal(body, &whole))
	switch {
	case whole.Payload.Matches != nil:
		return whole.Payload.Matches
	case whole.Matches != nil:
		return whole.Matches
	}
	var matches list
	if json.Unmarshal(whole.Data, &matches) == nil {
		return matches
	}
	var data struct{ Matches list }
	require.NoError(t, json.Unmarshal(whole.Data, &data))
	if data.Matches != nil {
		return data.Matches
	}
	return list{whole.Data}
}

// values reads JSON with the text of its numbers.
func values(t *testing.T, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

func TestClient_pythonPublisher_matchUpdates(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)

	full := fixture(t, "fogis")
	for _, shape := range updateShapes {
		order := peers.Order{Shape: shape.name, Changes: []json.RawMessage{json.RawMessage(productionChange), json.RawMessage(documentedChange)}}
		if order.Matches = []json.RawMessage{full}; !shape.only {
			order.Matches = append(order.Matches, fixture(t, "cancelled"), fixture(t, "simple"))
		}
		before := client.Stats().Subscriber
		sent := python.Publish(order)
		require.Equal(t, 1, sent.Receivers, shape.name)
		m := receive(t, got)

		require.Equal(t, message.TypeMatchUpdates, m.Type, shape.name)
		require.Equal(t, sent.Channel, m.Channel, shape.name)
		require.Equal(t, message.ViaPubSub, m.Via, shape.name)
		require.Equal(t, shape.schema, m.SchemaVersion, shape.name)
		require.Equal(t, shape.noID, m.IDGenerated, shape.name)
		require.NotEmpty(t, m.ID, shape.name)
		requireHead(t, shape.name, sent.Body, m.Header)
		require.Equal(t, shape.naive, m.Timestamp.Uncertain, shape.name)
		changed := ""
		if m.updates.HasChanges != nil {
			changed = map[bool]string{true: "true", false: "false"}[*m.updates.HasChanges]
		}
		require.Equal(t, shape.changed, changed, shape.name)
		require.Equal(t, shape.high, m.updates.HighPriority(), shape.name)
		require.Equal(t, shape.summary, m.updates.Summary, shape.name)
		require.Len(t, m.updates.Changes, shape.changes, shape.name)
		if shape.changes > 0 {
			requireChanges(t, m.updates.Changes)
		}

		want := pythonMatches(t, sent.Body)
		require.Len(t, m.updates.Matches, len(want), shape.name)
		for i, raw := range want {
			require.Equal(t, string(raw), string(m.updates.Matches[i].Raw), "%s: match %d", shape.name, i)
			require.Equal(t, values(t, raw), values(t, m.updates.Matches[i].Raw), "%s: match %d", shape.name, i)
		}
		view := viewFull
		if shape.view != nil {
			view = shape.view
		}
		view(t, m.updates.Matches[0])
		if !shape.only {
			requireOtherMatches(t, m.updates.Matches[1], m.updates.Matches[2])
		}
		sanitized := uint64(0)
		if shape.sanitized {
			sanitized = 1
		}
		require.Equal(t, before.Sanitized+sanitized, client.Stats().Subscriber.Sanitized, shape.name)
	}
	requireAllShapesTested(t, python)
}

// requireHead compares the head with the message's own text.
func requireHead(t *testing.T, name string, body []byte, h message.Header) {
	t.Helper()
	var want struct {
		ID        string `json:"message_id"`
		Source    string
		Version   string
		Timestamp string
	}
	require.NoError(t, json.Unmarshal([]byte(strings.NewReplacer(": NaN", ": 0", ": -Infinity", ": 0").Replace(string(body))), &want))
	if want.ID != "" {
		require.Equal(t, want.ID, h.ID, name)
	}
	require.Equal(t, want.Source, h.Source, name)
	require.Equal(t, want.Version, h.Version, name)
	require.Equal(t, want.Timestamp, h.Timestamp.Text, name)
	require.False(t, h.Timestamp.IsZero(), name)
	zone, layout := time.UTC, time.RFC3339Nano
	if !strings.HasSuffix(want.Timestamp, "Z") {
		var err error
		zone, err = time.LoadLocation("Europe/Stockholm")
		require.NoError(t, err)
		layout = "2006-01-02T15:04:05.999999999"
	}
	at, err := time.ParseInLocation(layout, want.Timestamp, zone)
	require.NoError(t, err)
	require.True(t, at.Equal(h.Timestamp.Time), "%s: %s read as %s", name, want.Timestamp, h.Timestamp.Time)
}

func requireChanges(t *testing.T, changes []message.Change) {
	t.Helper()
	c := changes[0]
	require.Equal(t, message.NewMatchID(6200001), c.MatchID)
	require.Equal(t, "000402011", c.MatchNumber)
	require.Equal(t, message.CategoryCancellation, c.Category)
	require.Equal(t, message.PriorityCritical, c.Priority)
	require.Equal(t, []string{"all"}, c.Affected)
	require.Equal(t, "installd", c.Field)
	require.Equal(t, "false true", string(c.From)+" "+string(c.To))
	require.Equal(t, "Match cancelled", c.Description)
	require.True(t, time.Date(2031, 5, 6, 14, 59, 59, 123456000, time.UTC).Equal(c.Timestamp.Time))
	c = changes[1]
	require.Equal(t, message.CategoryTimeChange, c.Category)
	require.Equal(t, "avsparkstid", c.Field)
	require.Equal(t, `"16:00" "17:00"`, string(c.From)+" "+string(c.To))
	require.Equal(t, "Match time changed from 16:00 to 17:00", c.Description)
}

func requireOtherMatches(t *testing.T, cancelled, simple message.Match) {
	t.Helper()
	require.Equal(t, message.MatchID{Int: 6200045, Text: "6200045", Quoted: true}, cancelled.ID)
	require.Equal(t, `Kärrtorps "Stjärnor" & Co F13`, cancelled.Away.Name)
	require.True(t, cancelled.Cancelled)
	require.True(t, time.Date(2025, 10, 4, 8, 30, 0, 0, time.UTC).Equal(cancelled.Kickoff), "backslashes and all")
	require.Len(t, cancelled.Officials, 1)
	require.Equal(t, "81045", cancelled.Officials[0].ID)
	require.Equal(t, "solve@example.com", cancelled.Officials[0].Email)
	require.Equal(t, "BK Åkerö", simple.Home.Name)
	require.Equal(t, "Åkerövallen", simple.Venue.Name)
	require.True(t, time.Date(2025, 8, 23, 17, 0, 0, 0, time.UTC).Equal(simple.Kickoff))
	require.Len(t, simple.Officials, 2)
}

func TestClient_pythonPublisher_statusesAndAlerts(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)
	for _, row := range noticeShapes {
		sent := python.Publish(peers.Order{Shape: row.name, Matches: []json.RawMessage{fixture(t, "fogis")}})
		require.Equal(t, 1, sent.Receivers, row.name)
		m := receive(t, got)
		require.Equal(t, row.kind, m.Type, row.name)
		require.Equal(t, row.noID, m.IDGenerated, row.name)
		require.Equal(t, row.naive, m.Timestamp.Uncertain, row.name)
		requireHead(t, row.name, sent.Body, m.Header)
		details := m.status.Details
		if m.Type == message.TypeSystemAlert {
			details = m.alert.Details
		}
		require.Equal(t, row.status, m.status.Status, row.name)
		require.Equal(t, row.alert, [3]string{m.alert.AlertType, m.alert.Severity, m.alert.Message}, row.name)
		for key, want := range row.details {
			require.Contains(t, details, key, row.name)
			require.Equal(t, values(t, []byte(want)), values(t, details[key]), "%s: %s", row.name, key)
		}
		for key := range details {
			if _, listed := row.details[key]; !listed {
				require.Contains(t, "redis_publishing start_time end_time", key, row.name)
			}
		}
	}
}

type noticeShape struct {
	name        string
	kind        message.Type
	noID, naive bool
	status      string
	alert       [3]string // type, severity, message
	details     map[string]string
}

var noticeShapes = []noticeShape{
	{name: "ST guide of the calendar", kind: message.TypeProcessingStatus, status: "completed",
		details: map[string]string{"cycle_number": "42", "matches_processed": "15", "processing_duration_ms": "2500"}},
	{name: "ST guide of the publisher", kind: message.TypeProcessingStatus, status: "completed",
		details: map[string]string{"cycle_number": "42", "matches_processed": "15", "processing_duration_ms": "2500",
			"errors": "[]", "changes_detected": "3", "services_notified": `["calendar"]`}},
	{name: "ST started", kind: message.TypeProcessingStatus, status: "started",
		details: map[string]string{"processor_type": `"UnifiedMatchProcessor"`}},
	{name: "ST completed", kind: message.TypeProcessingStatus, status: "completed",
		details: map[string]string{"processor_type": `"UnifiedMatchProcessor"`, "matches_processed": "1", "changes_detected": "true", "match_publishing_success": "true"}},
	{name: "ST failed", kind: message.TypeProcessingStatus, status: "failed",
		details: map[string]string{"processor_type": `"UnifiedMatchProcessor"`, "error_type": `"KeyError"`, "error_message": `"'x'"`}},
	{name: "fogis_status", kind: message.TypeProcessingStatus, noID: true, naive: true, status: "completed",
		details: map[string]string{"matches_processed": "1"}},
	{name: "E7 health", kind: message.TypeProcessingStatus, noID: true, naive: true, status: "health",
		details: map[string]string{"status": `"healthy"`, "uptime": "12.5"}},
	{name: "E7 service", kind: message.TypeProcessingStatus, noID: true, naive: true, status: "started",
		details: map[string]string{"service": `"match-list-processor"`}},
	{name: "E7 error", kind: message.TypeSystemAlert, noID: true, naive: true, alert: [3]string{"error", "error", "Connection refused"},
		details: map[string]string{"component": `"api"`, "error": `"Connection refused"`}},
	{name: "AL guide", kind: message.TypeSystemAlert, alert: [3]string{"error", "high", "Larm på östra sidan"}},
	{name: "AL", kind: message.TypeSystemAlert, alert: [3]string{"processing_error", "error", "Match processing failed: list index out of range"},
		details: map[string]string{"error_type": `"IndexError"`, "processor_type": `"UnifiedMatchProcessor"`}},
}

// nuisances are what operators and accidents put on the channels, with the
// counter that each raises.
var nuisances = []struct {
	name  string
	count func(subscriber.Stats) uint64
}{
	{"probe health_check", func(s subscriber.Stats) uint64 { return s.Probes }},
	{"probe test_message", func(s subscriber.Stats) uint64 { return s.Probes }},
	{"probe object", func(s subscriber.Stats) uint64 { return s.Probes }},
	{"probe with time", func(s subscriber.Stats) uint64 { return s.Probes }},
	{"other encoding", func(s subscriber.Stats) uint64 { return s.Invalid }},
	{"text", func(s subscriber.Stats) uint64 { return s.Invalid }},
	{"number", func(s subscriber.Stats) uint64 { return s.Invalid }},
	{"byte order mark", func(s subscriber.Stats) uint64 { return s.Invalid }},
}

// Each is counted where it belongs and the next good message is handled, over
// the same connection.
func TestClient_pythonPublisher_probesAndRubbish(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)
	for _, row := range nuisances {
		before := client.Stats().Subscriber
		order := peers.Order{Shape: row.name, Matches: []json.RawMessage{fixture(t, "fogis")}}
		require.Equal(t, 1, python.Publish(order).Receivers, row.name)
		order.Shape = "E3"
		good := python.Publish(order)
		require.Equal(t, string(pythonMatches(t, good.Body)[0]), string(receive(t, got).updates.Matches[0].Raw), row.name)
		wait(t, row.name, func() bool { return row.count(client.Stats().Subscriber) == row.count(before)+1 })
		after := client.Stats().Subscriber
		require.Equal(t, before.Handled+1, after.Handled, row.name)
		require.Equal(t, before.Failed+before.Invalid+before.Probes+1, after.Failed+after.Invalid+after.Probes, row.name)
	}
	require.Empty(t, got)
	require.Zero(t, client.Stats().Subscriber.Gaps)
}

// requireAllShapesTested keeps the tables of this file complete.
func requireAllShapesTested(t *testing.T, python *peers.Publisher) {
	t.Helper()
	var tested []string
	for _, s := range updateShapes {
		tested = append(tested, s.name)
	}
	for _, s := range noticeShapes {
		tested = append(tested, s.name)
	}
	for _, s := range nuisances {
		tested = append(tested, s.name)
	}
	require.ElementsMatch(t, python.Shapes(), tested)
}

// The Python calendar beside a Go subscriber on the same channels gets what
// the Go client publishes, and can use all of it.
func TestClient_pythonCalendar(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	client := newClient(t, environment{"REDIS_URL": server.URL(), "FOGIS_SERVICE_NAME": "match-list-processor"}, fogispubsub.Options{})
	calendar := peers.StartCalendar(t, server.URL())
	full := fixture(t, "fogis")
	other := fixture(t, "cancelled")
	raw, err := message.ParseMatches([]byte("[" + string(full) + "," + string(other) + "]"))
	require.NoError(t, err)
	changes := []message.Change{
		{Raw: json.RawMessage(productionChange)},
		{Raw: json.RawMessage(documentedChange)},
		{MatchID: message.NewMatchID(6200001), MatchNumber: "000402011", Category: message.CategoryVenueChange,
			Priority: message.PriorityMedium, Affected: []string{"all"}, Field: "anlaggningnamn",
			From: json.RawMessage(`"Gräs & <grus>"`), To: json.RawMessage(`"Konstgräs"`), Description: "Venue changed"},
	}
	want := peers.ReadMatches(t, []byte("["+string(full)+","+string(other)+"]"))

	publish := func(u message.MatchUpdates) peers.Reading {
		t.Helper()
		receipt, err := client.Publish(t.Context(), u)
		require.NoError(t, err)
		require.Equal(t, publisher.RoutePubSub, receipt.Route)
		require.EqualValues(t, 1, receipt.Receivers)
		r := calendar.Next()
		require.Equal(t, receipt.ID, r.ID)
		require.Equal(t, message.ChannelMatchUpdates, r.Channel)
		require.Equal(t, "v2.0", r.Route)
		require.Equal(t, 1, r.Calls)
		require.Equal(t, "processed", r.Counted)
		require.Empty(t, r.Why)
		require.NotNil(t, r.Result)
		return r
	}

	// Raw matches arrive value by value, whether the calendar can use them or
	// not.
	r := publish(message.MatchUpdates{Matches: raw, Changes: changes})
	require.True(t, *r.Result)
	require.True(t, r.HighPriority)
	require.Len(t, r.Matches, 2)
	require.True(t, r.Matches[0].Accepted)
	require.Equal(t, "inserted", r.Matches[0].Event)
	require.Equal(t, want, r.Matches, "what it makes of the same matches without any Go between")
	var kept []json.RawMessage
	require.NoError(t, json.Unmarshal(r.Changes, &kept))
	require.Len(t, kept, 3)
	require.JSONEq(t, productionChange, string(kept[0]))
	require.JSONEq(t, documentedChange, string(kept[1]))
	require.Subset(t, values(t, kept[2]), map[string]any{
		"match_id": json.Number("6200001"), "match_nr": "000402011", "category": "venue_change", "priority": "medium",
		"field_name": "anlaggningnamn", "previous_value": "Gräs & <grus>", "current_value": "Konstgräs", "change_description": "Venue changed",
	})

	// The same snapshot again rewrites nothing.
	r = publish(message.MatchUpdates{Matches: raw[:1]})
	require.Equal(t, "unchanged", r.Matches[0].Event)
	require.JSONEq(t, "[]", string(r.Changes))
	require.False(t, r.HighPriority)

	// A match made in Go has all that the calendar needs.
	typed := snapshot(t, 6200201, 1).Matches[0]
	r = publish(message.MatchUpdates{Matches: []message.Match{typed}})
	require.True(t, *r.Result)
	require.Empty(t, r.Matches[0].Why)
	require.Equal(t, "6200201", r.Matches[0].ID)
	require.Equal(t, "Ängsviks IF - Östra Åsby BK", r.Matches[0].Title)
	require.Equal(t, "Björkängsvallen 1 Konstgräs", r.Matches[0].Place)
	require.Equal(t, "2031-05-06T15:00:00+00:00", r.Matches[0].Begin)
	require.True(t, r.Matches[0].Phonebook)
	requireWritten(t, full, r.Matches[0].Values)

	// So has the least that can be made in Go.
	r = publish(message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(6200301), Kickoff: kickoff}}})
	require.True(t, *r.Result)
	require.Empty(t, r.Matches[0].Why)

	// No matches, no changes: nothing is null.
	r = publish(message.MatchUpdates{})
	require.True(t, *r.Result)
	require.Empty(t, r.Matches)

	// What is refused never left, and the calendar listens on.
	bad := typed
	bad.Home.Name = "\xc5by"
	_, err = client.Publish(t.Context(), message.MatchUpdates{Matches: []message.Match{bad}})
	require.ErrorIs(t, err, message.ErrInvalid)
	require.True(t, *publish(message.MatchUpdates{Matches: raw[:1]}).Result)

	for _, p := range []message.Payload{
		message.ProcessingStatus{Status: message.StatusStarted},
		message.SystemAlert{AlertType: "processing_error", Severity: "error", Message: "x"},
	} {
		receipt, err := client.Publish(t.Context(), p)
		require.NoError(t, err)
		require.EqualValues(t, 1, receipt.Receivers)
		r := calendar.Next()
		require.Equal(t, p.MessageType().DefaultChannel(), r.Channel)
		require.Equal(t, "none processed", r.Route+" "+r.Counted)
		require.Empty(t, r.Why)
	}
}

// requireWritten checks that what Go wrote of a match says the same as the
// match it was read from, for every key that Go writes.
func requireWritten(t *testing.T, original []byte, written string) {
	t.Helper()
	want, ok := values(t, original).(map[string]any)
	require.True(t, ok)
	got, ok := values(t, []byte(written)).(map[string]any)
	require.True(t, ok)
	var compare func(path string, want, got any)
	compare = func(path string, want, got any) {
		switch got := got.(type) {
		case map[string]any:
			w, ok := want.(map[string]any)
			require.True(t, ok, path)
			for key, value := range got {
				require.Contains(t, w, key, "%s: FOGIS has no such key", path)
				compare(path+"."+key, w[key], value)
			}
		case []any:
			w, ok := want.([]any)
			require.True(t, ok, path)
			require.Len(t, got, len(w), path)
			for i := range got {
				compare(path, w[i], got[i])
			}
		default:
			require.Equal(t, want, got, path)
		}
	}
	for _, key := range []string{"matchid", "value", "label"} { // it got another ID
		delete(got, key)
	}
	for _, official := range got["domaruppdraglista"].([]any) {
		delete(official.(map[string]any), "matchid")
	}
	compare("match", want, got)
}

// With Redis down the Python calendar gets each match over HTTP, once, in
// order and value-exact.
func TestClient_pythonCalendar_fallback(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	manual := peers.StartManualSync(t, "httpfallback/testdata/manual_sync.py")
	calendar := peers.StartCalendar(t, server.URL())
	client := newClient(t, environment{
		"REDIS_URL": server.URL(), "FOGIS_FALLBACK_URL": manual.URL(), "REDIS_MAX_RETRIES": "0",
	}, fogispubsub.Options{})
	run(t, client)

	first := snapshot(t, 6200001, 3)
	receipt, err := client.Publish(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, publisher.RoutePubSub, receipt.Route)
	require.Len(t, calendar.Next().Matches, 3)
	require.Empty(t, manual.Posts(), "what went through Redis is not posted as well")

	server.Stop()
	require.Equal(t, "ConnectionError", calendar.Next().Stopped, "the subscription is dead, the web server lives")
	raw, err := message.ParseMatches([]byte("[" + string(fixture(t, "fogis")) + "," + string(fixture(t, "cancelled")) + "]"))
	require.NoError(t, err)
	second := message.MatchUpdates{
		Matches: append(raw, snapshot(t, 6200401, 3).Matches...),
		Changes: []message.Change{{Raw: json.RawMessage(productionChange)}},
	}
	receipt, err = client.Publish(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, publisher.RouteFallback, receipt.Route)
	posts := manual.Posts()
	require.Len(t, posts, 5, "one request for each match")
	var ids []int
	for k, post := range posts {
		require.Equal(t, receipt.ID+"/"+string(rune('1'+k)), post.Headers["Idempotency-Key"])
		matches := pythonMatches(t, []byte(post.Body))
		require.Len(t, matches, 1)
		m, err := message.ParseMatch(matches[0])
		require.NoError(t, err)
		ids = append(ids, int(m.ID.Int))
		if k < 2 {
			require.Equal(t, strings.TrimSpace(string(second.Matches[k].Raw)), string(matches[0]), "byte for byte")
		}
		var bare struct{ Matches []json.RawMessage } // what the calendar reads
		require.NoError(t, json.Unmarshal([]byte(post.Body), &bare))
		require.Equal(t, matches, bare.Matches)
	}
	require.Equal(t, matchIDs(second), ids)

	server.Start()
	wait(t, "the publisher to find Redis again", func() bool { return !client.Stats().Publisher.BreakerOpen })
	manual.Break()
	// Nobody is on the channel any more: the update goes to the web server.
	receipt, err = client.Publish(t.Context(), snapshot(t, 6200501, 1))
	require.NoError(t, err)
	require.Equal(t, publisher.RouteFallback, receipt.Route)
	require.Equal(t, 1, receipt.Attempts, "Redis was asked")
	require.Zero(t, receipt.Receivers)
	require.Len(t, manual.Posts(), 1)
}

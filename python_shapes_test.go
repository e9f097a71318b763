package fogispubsub_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

var otherChannels = []string{
	"match_updates_v1", "match_updates_v2", "fogis_matches", "fogis_status", "fogis_test", "test:matches:updates",
	"fogis.matches.all", "fogis.events.all", "fogis.events.matches.added", "fogis.events.system.health",
	"fogis.events.service.started", "fogis.events.system.error",
}

type pythonShape struct {
	name   string
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

var kickoff = time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)

func viewFull(t *testing.T, m message.Match) {
	t.Helper()
	require.InDelta(t, 57.123456, m.Venue.Latitude, 1e-9)
	require.InDelta(t, 12.654321, m.Venue.Longitude, 1e-9)
	m.Venue.Latitude, m.Venue.Longitude = 0, 0
	viewNaN(t, m)
}

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

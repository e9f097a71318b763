package message_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// change decodes one entry of detailed_changes.
func change(t *testing.T, entry string) message.Change {
	t.Helper()
	e, err := message.Decode([]byte(`{"type":"match_updates","payload":{"matches":[],"detailed_changes":[` + entry + `]}}`))
	require.NoError(t, err)
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	require.Len(t, m.Payload.Changes, 1)
	require.Equal(t, entry, string(m.Payload.Changes[0].Raw))
	c := m.Payload.Changes[0]
	c.Raw = nil
	return c
}

func TestChange_bothForms(t *testing.T) {
	t.Parallel()
	production := change(t, `{"match_id": 6200001, "match_nr": "000402011", "category": "time_change", "priority": "high", "affected_stakeholders": ["all", 5], "field_name": "avsparkstid", "previous_value": "16:00", "current_value": null, "change_description": "d", "timestamp": "2031-05-06T15:00:00.123456+00:00"}`)
	require.Equal(t, message.NewMatchID(6200001), production.MatchID)
	require.Equal(t, "000402011", production.MatchNumber)
	require.Equal(t, message.CategoryTimeChange, production.Category)
	require.Equal(t, message.PriorityHigh, production.Priority)
	require.Equal(t, []string{"all"}, production.Affected)
	require.Equal(t, "avsparkstid", production.Field)
	require.Equal(t, `"16:00"`, string(production.From))
	require.Nil(t, production.To)
	require.Equal(t, "d", production.Description)
	require.True(t, production.Timestamp.Equal(time.Date(2031, 5, 6, 15, 0, 0, 123456000, time.UTC)))

	documented := change(t, `{"matchid": "6200001", "type": "x", "field": "avsparkstid", "from": {"a": [2.50]}, "to": "17:00", "category": "time_change", "priority": "high", "description": "d"}`)
	require.Equal(t, message.MatchID{Int: 6200001, Text: "6200001", Quoted: true}, documented.MatchID)
	require.Equal(t, "avsparkstid", documented.Field)
	require.Equal(t, `{"a": [2.50]}`, string(documented.From))
	require.Equal(t, `"17:00"`, string(documented.To))
	require.Equal(t, "d", documented.Description)

	require.Equal(t, message.Change{}, change(t, `{"match_id": "unknown", "match_nr": null, "category": null, "affected_stakeholders": null, "from": null}`))
	require.Equal(t, "n", change(t, `{"field_name": "n", "field": "o", "category": ["x"], "affected_stakeholders": "all"}`).Field)
}

func TestChange_withoutRawIsWrittenAsInProduction(t *testing.T) {
	t.Parallel()
	for _, c := range []message.Change{
		{},
		{MatchID: message.NewMatchID(1), MatchNumber: "1", Category: "c", Priority: "p", Affected: []string{"a", "b"}, Field: "f",
			From: json.RawMessage(`[1, 2.50]`), To: json.RawMessage(`"x"`), Description: "d",
			Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 15, 0, 0, 1000, time.UTC), Text: "2031-05-06T15:00:00.000001Z"}},
	} {
		e, err := message.Decode(encode(t, fixedHeader, message.MatchUpdates{Changes: []message.Change{c}}))
		require.NoError(t, err)
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		back := m.Payload.Changes[0]
		require.NotEmpty(t, back.Raw)
		back.Raw = nil
		require.Equal(t, c, back)
	}
}

func TestMatchUpdates_HighPriority(t *testing.T) {
	t.Parallel()
	with := func(priority, category string) message.MatchUpdates {
		return message.MatchUpdates{Changes: []message.Change{{Priority: "low", Category: "team_change"}, {Priority: priority, Category: category}}}
	}
	for _, m := range []message.MatchUpdates{
		{HighPriorityFlag: true},
		with(message.PriorityCritical, ""), with(message.PriorityHigh, "unheard_of"),
		with("", message.CategoryTimeChange), with("low", message.CategoryDateChange),
		with("medium", message.CategoryVenueChange), with("", message.CategoryRefereeChange),
		with("", message.CategoryCancellation), with("", message.CategoryPostponement), with("", message.CategoryInterruption),
	} {
		require.True(t, m.HighPriority(), "%s", m.Changes)
	}
	for _, m := range []message.MatchUpdates{
		{}, with("", ""), with(message.PriorityMedium, message.CategoryTeamChange), with(message.PriorityLow, message.CategoryStatusChange),
		with("", message.CategoryNewAssignment), with("High", "Time_change"),
	} {
		require.False(t, m.HighPriority(), "%s", m.Changes)
	}
}

func TestMatchUpdates_hasChanges(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for metadata, want := range map[string]*bool{
		`{"has_changes":true}`: &yes, `{"has_changes":false}`: &no, `{"has_changes":null}`: nil, `{}`: nil, `null`: nil,
		`{"has_changes":"false"}`: &yes, `{"has_changes":""}`: &no, `{"has_changes":0}`: &no, `{"has_changes":0.5}`: &yes,
		`{"has_changes":[]}`: &no, `{"has_changes":[0]}`: &yes, `{"has_changes":{}}`: &no, `{"has_changes":{"a":{}}}`: &yes,
		`{"has_changes":true,"has_changes":false}`: &no,
	} {
		e, err := message.Decode([]byte(`{"type":"match_updates","payload":{"metadata":` + metadata + `}}`))
		require.NoError(t, err)
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		require.Equal(t, want, m.Payload.HasChanges, metadata)
	}
}

func TestChangeSummary_numbersAsWritten(t *testing.T) {
	t.Parallel()
	e, err := message.Decode([]byte(`{"matches":[],"metadata":{"change_summary":{"new_matches":"1","updated_matches":2.0,"cancelled_matches":-3,"removed_matches":"x","total_changes":[]}}}`))
	require.NoError(t, err)
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	require.Equal(t, message.ChangeSummary{New: 1, Updated: 2, Cancelled: -3}, m.Payload.Summary)
}

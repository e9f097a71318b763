package message_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

var fixedHeader = message.Header{
	ID:        "00000000-0000-4000-8000-000000000001",
	Source:    "match-list-processor",
	Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 17, 0, 0, 123456789, time.FixedZone("", 2*3600))},
}

func TestAppendEncode_hybrid(t *testing.T) {
	t.Parallel()
	yes := true
	h := fixedHeader
	h.Seq = message.Seq{Epoch: "2031-05-06T14:00:00Z", N: 7}
	m := message.MatchUpdates{
		Matches: []message.Match{
			{Raw: example(t, "fogis")},
			{Raw: example(t, "cancelled")},
			{Raw: example(t, "simple")},
			{ID: message.NewMatchID(6200099), Number: "000402099", Kickoff: time.UnixMilli(1935846000000), Officials: []message.Official{{ID: "81001", RoleShort: "Dom", Name: "Åke <Påhitt> & Co"}}},
		},
		Changes: []message.Change{
			{Raw: json.RawMessage(`{"field": "avsparkstid", "from": null, "to": "17:00", "n": 2.50}`)},
			{MatchID: message.NewMatchID(6200001), MatchNumber: "000402011", Category: message.CategoryCancellation, Priority: message.PriorityCritical,
				Affected: []string{"all"}, Field: "installd", From: json.RawMessage("false"), To: json.RawMessage("true"), Description: "Match cancelled",
				Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)}},
			{Category: "unheard_of"},
		},
		HasChanges: &yes,
		Summary:    message.ChangeSummary{New: 1, Updated: 2, Cancelled: 3, Removed: 4, Total: 10, Text: "many"},
		Metadata: map[string]json.RawMessage{
			"processor_type": json.RawMessage(`"UnifiedMatchProcessor"`),
			"total_matches":  json.RawMessage(`"many"`),
			"has_changes":    json.RawMessage(`null`),
			"a key":          json.RawMessage(`{"n":2.50}`),
		},
	}
	checkGolden(t, "hybrid", encode(t, h, m))
	h.Part = message.Part{N: 2, Of: 4}
	m.Matches, m.Changes = m.Matches[2:3], nil
	checkGolden(t, "hybrid-part", encode(t, h, m))
	checkGolden(t, "empty", encode(t, fixedHeader, message.MatchUpdates{}))
	checkGolden(t, "status", encode(t, fixedHeader, message.ProcessingStatus{Status: message.StatusStarted}))
	checkGolden(t, "status-details", encode(t, fixedHeader, message.ProcessingStatus{Status: message.StatusCompleted, Details: map[string]json.RawMessage{
		"processor_type": json.RawMessage(`"x"`), "matches_processed": json.RawMessage("12"), "nothing": nil,
	}}))
	checkGolden(t, "alert", encode(t, fixedHeader, message.SystemAlert{AlertType: "processing_error", Message: "It \"failed\":\n\t<\x01> \u2028"}))
	checkGolden(t, "own-type", encode(t, fixedHeader, report{Reports: []int{1, 2}}))
}

func encode(t testing.TB, h message.Header, p message.Payload) []byte {
	t.Helper()
	body, err := message.AppendEncode(nil, h, p)
	require.NoError(t, err)
	return body
}

func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	require.True(t, json.Valid(got), "%s", got)
	file := "testdata/encoded/" + name + ".json"
	if *update {
		require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(got))
}

func TestAppendEncode_appendsToAndKeepsDst(t *testing.T) {
	t.Parallel()
	dst := append(make([]byte, 0, 4096), "head "...)
	out, err := message.AppendEncode(dst, fixedHeader, &message.ProcessingStatus{Status: "started"})
	require.NoError(t, err)
	require.Same(t, &dst[0], &out[0])
	require.True(t, bytes.HasPrefix(out, []byte(`head {"message_id":"00000000-`)))
}

func TestAppendEncode_fillsIDAndTime(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Microsecond)
	e, err := message.Decode(encode(t, message.Header{}, message.ProcessingStatus{Status: "started"}))
	require.NoError(t, err)
	require.False(t, e.IDGenerated)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, e.ID)
	require.False(t, e.Timestamp.Before(before))
	require.NotEqual(t, message.NewID(), message.NewID())
}

// TestAppendEncode_noNull: each of these containers as null makes the Python
// calendar drop the update in silence.
func TestAppendEncode_noNull(t *testing.T) {
	t.Parallel()
	for _, p := range []message.Payload{
		message.MatchUpdates{}, message.ProcessingStatus{Status: "x"}, message.SystemAlert{AlertType: "x"},
		message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1)}}, Changes: []message.Change{{MatchNumber: "1", From: []byte("1"), To: []byte("2")}}},
	} {
		require.NotContains(t, string(encode(t, fixedHeader, p)), "null")
	}
	// What a decoded message had as null is not null when it is sent on.
	for _, name := range []string{"nulls", "e3-no-fraction", "e5"} {
		e, err := message.Decode(goldens(t)[name])
		require.NoError(t, err)
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		for i := range m.Payload.Matches {
			m.Payload.Matches[i].Raw = []byte(`{"matchid":1}`)
		}
		require.NotContains(t, string(encode(t, m.Header, m.Payload)), "null", name)
	}
}

// TestRoundTrip_matchesAreValueExact: the calendar hashes parts of a match,
// so not a digit of it may change on the way through.
func TestRoundTrip_matchesAreValueExact(t *testing.T) {
	t.Parallel()
	var list []json.RawMessage
	for _, name := range []string{"fogis", "cancelled", "simple"} {
		list = append(list, example(t, name))
	}
	incoming := []byte(`{"type":"match_updates","payload":{"matches":[` + string(bytes.Join([][]byte{list[0], list[1], list[2]}, []byte(" ,\n"))) + `],"metadata":{"has_changes":true}}}`)
	e, err := message.Decode(incoming)
	require.NoError(t, err)
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	outgoing := encode(t, m.Header, m.Payload)
	for i, raw := range list {
		require.Contains(t, string(outgoing), string(raw))
		back, err := message.Decode(outgoing)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(back.RawMatches()[i]))
		require.Equal(t, values(t, raw), values(t, back.RawMatches()[i]))
	}
	for _, text := range []string{"2.50", "1e3", `\\/Date(1759566600000)\\/`, "<höst>", `\"Stjärnor\" & Co`, `"kontaktpersoner": null`} {
		require.Contains(t, string(outgoing), text)
	}
}

// values parses with the numbers' text kept.
func values(t testing.TB, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v))
	return v
}

// again decodes and encodes once more what every golden file says.
func TestRoundTrip_everyKnownEnvelope(t *testing.T) {
	t.Parallel()
	for name, data := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkStable(t, data)
		})
	}
}

func TestEnvelope_AppendPart(t *testing.T) {
	t.Parallel()
	for name, data := range goldens(t) {
		e, err := message.Decode(data)
		require.NoError(t, err)
		if e.Type != message.TypeMatchUpdates {
			_, err := e.AppendPart(nil, message.Part{N: 1, Of: 1}, nil)
			require.ErrorIs(t, err, message.ErrInvalid)
			continue
		}
		for _, matches := range [][]json.RawMessage{e.RawMatches(), {json.RawMessage(`{"matchid":5}`)}, {}} {
			out, err := e.AppendPart([]byte("x"), message.Part{N: 2, Of: 7}, matches)
			require.NoError(t, err)
			out = bytes.TrimPrefix(out, []byte("x"))
			part, err := message.Decode(out)
			require.NoError(t, err, "%s: %s", name, out)
			require.Equal(t, message.Part{N: 2, Of: 7}, part.Part)
			require.Equal(t, e.Type, part.Type)
			if !e.IDGenerated {
				require.Equal(t, e.ID, part.ID)
			}
			require.Equal(t, e.Timestamp, part.Timestamp)
			require.Equal(t, e.SchemaVersion, part.SchemaVersion)
			require.Equal(t, len(matches), part.MatchCount())
			for i := range matches {
				require.Equal(t, string(matches[i]), string(part.RawMatches()[i]))
			}
			var object struct {
				Matches []json.RawMessage
				Payload *struct{ Matches []json.RawMessage }
			}
			require.NoError(t, json.Unmarshal(out, &object))
			require.Len(t, object.Matches, len(matches))
			require.NotContains(t, string(out), `"matches":null`)
			require.NotContains(t, string(out), `"data"`, "the event's own matches are not part of this part")
			if object.Payload != nil {
				require.Equal(t, object.Matches, object.Payload.Matches)
			}
		}
	}
}

func TestEnvelope_AppendPart_keepsTheRest(t *testing.T) {
	t.Parallel()
	e, err := message.Decode([]byte(` {"message_id": "a", "type": "match_updates", "extra": [1, 2.50], "payload": {"high_priority": true, "matches": [{"matchid": 1}, {"matchid": 2}], "metadata": {"total_matches": 2}}, "last": {}} `))
	require.NoError(t, err)
	part, err := e.AppendPart(nil, message.Part{N: 1, Of: 2}, e.RawMatches()[:1])
	require.NoError(t, err)
	require.Equal(t, `{"message_id": "a","type": "match_updates","extra": [1, 2.50],"last": {},"part":{"n":1,"of":2},"matches":[{"matchid": 1}],"payload":{"matches":[{"matchid": 1}],"high_priority": true,"metadata": {"total_matches": 2}}}`, string(part))
	for _, p := range []message.Part{{}, {N: 1}, {N: 3, Of: 2}, {N: -1, Of: 2}} {
		out, err := e.AppendPart(part[:3], p, nil)
		require.ErrorIs(t, err, message.ErrInvalid)
		require.Len(t, out, 3)
	}
	_, err = (&message.Envelope{Header: e.Header, Payload: e.Payload}).AppendPart(nil, message.Part{N: 1, Of: 2}, nil)
	require.EqualError(t, err, "invalid message: was not decoded, so it cannot be split")
}

func TestAs_ownPayload(t *testing.T) {
	t.Parallel()
	e, err := message.Decode(encode(t, fixedHeader, report{Reports: []int{1, 2}}))
	require.NoError(t, err)
	m, err := message.As[report](e)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, m.Payload.Reports)
	require.Equal(t, fixedHeader.ID, m.ID)
}

func TestStatusEncode_allocates(t *testing.T) {
	dst := make([]byte, 0, 1024)
	var p message.Payload = message.ProcessingStatus{Status: "completed", Details: map[string]json.RawMessage{"a": []byte("1"), "b": []byte("2"), "c": []byte("3")}}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := message.AppendEncode(dst, fixedHeader, p); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, allocs, 2.0)
}

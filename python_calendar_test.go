package fogispubsub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

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

package peers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

const base = "fogis:matches:updates"

// fogisMatch is what the calendar needs of a match, and no more.
const fogisMatch = `{"matchid":6200001,"matchnr":"000402011","lag1namn":"Ängsviks IF","lag2namn":"Östra Åsby BK",` +
	`"anlaggningnamn":"Björkängsvallen","tid":"/Date(1935846000000)/","tavlingnamn":"Div 4",` +
	`"domaruppdraglista":[{"domareid":81001,"domarrollkortnamn":"Dom","personnamn":"Åke","mobiltelefon":"","adress":"","postnr":"","postort":""}]}`

// otherMatch is another form, which has none of the names.
const otherMatch = `{"match_id":6200001,"teams":{"home":{"name":"Ängsviks IF"},"away":{"name":"Östra Åsby BK"}}}`

const changed = `{"field":"avsparkstid","category":"time_change","priority":"medium"}`

// envelope is the message that Python publishes, with what is put into it.
type envelope struct {
	top     string // members in front of the others
	matches string
	changes string
	meta    string
	kind    string
}

func (e envelope) String() string {
	or := func(text, standard string) string {
		if text == "" {
			return standard
		}
		return text
	}
	return fmt.Sprintf(`{%s"message_id":"m","timestamp":"2031-05-06T15:00:00Z","source":"match-list-processor","version":"1.0","type":"%s",`+
		`"payload":{"matches":%s,"schema_version":"2.0","detailed_changes":%s,"high_priority":true,"metadata":%s}}`,
		e.top, or(e.kind, "match_updates"), or(e.matches, "["+fogisMatch+"]"), or(e.changes, "["+changed+"]"), or(e.meta, `{"has_changes":true}`))
}

const two = `"schema_version":"2.0",`

// TestCalendar_decides_as_the_service is the acceptance matrix of docs/wire.md,
// row by row, so that what the calendar program accepts says something.
func TestCalendar_decides_as_the_service(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	redis := server.Client(t)
	cal := peers.StartCalendar(t, server.URL())
	for _, row := range []struct {
		name    string
		body    string
		route   string
		calls   int
		changes string // "[]" when they are lost
		high    bool
		result  string // true, false, or none without a call
		counted string
	}{
		{"as production sends it", envelope{}.String(), "v1.0", 1, "[]", false, "true", "processed"},
		{"hybrid", envelope{top: two}.String(), "v2.0", 1, "[" + changed + "]", true, "true", "processed"},
		{"version 1.0 at the top", envelope{top: `"schema_version":"1.0",`}.String(), "v1.0", 1, "[]", false, "true", "processed"},
		{"version as a number", envelope{top: `"schema_version":2.0,`}.String(), "unknown", 1, "[]", false, "true", "processed"},
		{"version 2.1", envelope{top: `"schema_version":"2.1",`}.String(), "unknown", 1, "[]", false, "true", "processed"},
		{"structured matches", envelope{top: two, matches: "[" + otherMatch + "]"}.String(), "v2.0", 1, "[" + changed + "]", true, "false", "processed"},
		{"simplified matches", envelope{matches: `[{"match_id":6200001,"teams":"A vs B"}]`}.String(), "v1.0", 1, "[]", false, "false", "processed"},
		{"no changes", envelope{top: two, meta: `{"has_changes":false}`}.String(), "v2.0", 0, "", false, "none", "processed"},
		{"silent about changes", envelope{meta: `{}`}.String(), "v1.0", 0, "", false, "none", "processed"},
		{"has_changes as a string", envelope{meta: `{"has_changes":"false"}`}.String(), "v1.0", 1, "[]", false, "true", "processed"},
		{"changes are null", envelope{top: two, changes: "null"}.String(), "v2.0", 1, "null", false, "false", "processed"},
		{"a change is null", envelope{top: two, changes: "[null]"}.String(), "v2.0", 0, "", false, "none", "processed"},
		{"matches are null", envelope{matches: "null"}.String(), "v1.0", 0, "", false, "none", "processed"},
		{"hybrid, matches are null", envelope{top: two, matches: "null"}.String(), "v2.0", 0, "", false, "none", "processed"},
		{"metadata is null", envelope{meta: "null"}.String(), "v1.0", 0, "", false, "none", "processed"},
		{"hybrid, metadata is null", envelope{top: two, meta: "null"}.String(), "v2.0", 0, "", false, "none", "processed"},
		{"hybrid without matches", envelope{top: two, matches: "[]"}.String(), "v2.0", 1, "[" + changed + "]", true, "true", "processed"},
		{"hybrid with keys of others", envelope{top: two + `"seq":{"epoch":"e","n":7},"removed_matches":[],`}.String(), "v2.0", 1, "[" + changed + "]", true, "true", "processed"},
		{"only a critical cancellation", envelope{top: two, changes: `[{"category":"cancellation","priority":"critical"}]`}.String(), "v2.0", 1, `[{"category":"cancellation","priority":"critical"}]`, false, "true", "processed"},
		{"one good match of two", envelope{top: two, matches: "[" + otherMatch + "," + fogisMatch + "]"}.String(), "v2.0", 1, "[" + changed + "]", true, "true", "processed"},
		{"no envelope", `{"matches":[` + fogisMatch + `],"timestamp":"2031-05-06T15:00:00.000001","source":"x","count":1}`, "none", 0, "", false, "none", "processed"},
		{"probe object", `{"test": true}`, "none", 0, "", false, "none", "processed"},
		{"type in capitals", envelope{kind: "MATCH_UPDATES"}.String(), "none", 0, "", false, "none", "processed"},
		{"status", envelope{kind: "processing_status"}.String(), "none", 0, "", false, "none", "processed"},
		{"no JSON", "health_check_1", "none", 0, "", false, "none", "errors"},
		{"number", "17", "none", 0, "", false, "none", "errors"},
		{"string", `"17"`, "none", 0, "", false, "none", "errors"},
		{"list", "[" + fogisMatch + "]", "none", 0, "", false, "none", "errors"},
		{"byte order mark", "\ufeff" + envelope{top: two}.String(), "none", 0, "", false, "none", "errors"},
	} {
		require.EqualValues(t, 1, redis.Publish(t.Context(), base, row.body).Val(), row.name)
		got := cal.Next()
		result := "none"
		if got.Result != nil {
			result = fmt.Sprint(*got.Result)
		}
		require.Equal(t, row.route, got.Route, row.name)
		require.Equal(t, row.calls, got.Calls, row.name)
		require.Equal(t, row.result, result, row.name)
		require.Equal(t, row.counted, got.Counted, row.name)
		if row.calls > 0 {
			require.JSONEq(t, row.changes, string(got.Changes), row.name)
		}
		require.Equal(t, row.high, got.HighPriority, row.name)
	}
	// The other four channels lead to the same handler.
	for _, channel := range []string{base + ":v1", base + ":v2", "fogis:processor:status", "fogis:system:alerts"} {
		require.EqualValues(t, 1, redis.Publish(t.Context(), channel, envelope{top: two}.String()).Val(), channel)
		require.Equal(t, "v2.0", cal.Next().Route, channel)
	}
	require.EqualValues(t, 1, redis.Publish(t.Context(), base, "{\"type\":\"\xe5\"}").Val())
	require.Equal(t, "UnicodeDecodeError", cal.Next().Stopped, "what is no UTF-8 ends it")
}

// Which of these the calendar writes again decides what a publisher may change
// in a match on its way.
func TestReadMatches_hash(t *testing.T) {
	t.Parallel()
	full, err := os.ReadFile("../../message/testdata/matches/fogis.json")
	require.NoError(t, err)
	contact := fogisMatch[:len(fogisMatch)-1] + `,"kontaktpersoner":[]}`
	rows := []struct {
		name         string
		before, edit string
		with         string
		same         bool
	}{
		{"nothing", fogisMatch, "", "", true},
		{"cancelled", fogisMatch, `{"matchid"`, `{"installd":true,"matchid"`, true},
		{"local date", fogisMatch, `{"matchid"`, `{"speldatum":"2031-05-07","matchid"`, true},
		{"order of the keys", fogisMatch, `"tavlingnamn":"Div 4",`, `"tavlingnamn":"Div 4","matchlag1mal":0,`, true},
		{"kick-off", fogisMatch, "1935846000000", "1935849600000", false},
		{"an integer becomes a float", fogisMatch, "81001", "81001.0", false},
		{"a key more in an official", fogisMatch, `"domareid"`, `"land":"","domareid"`, false},
		{"contacts null instead of empty", contact, `"kontaktpersoner":[]`, `"kontaktpersoner":null`, false},
		{"contacts empty instead of missing", contact, `,"kontaktpersoner":[]`, ``, true},
		{"the whole object", string(full), "", "", true},
	}
	var list []string
	for i, row := range rows { // a match of its own each
		id := strconv.Itoa(6200100 + i)
		for _, text := range []string{row.before, strings.Replace(row.before, row.edit, row.with, 1)} {
			list = append(list, strings.ReplaceAll(text, "6200001", id))
		}
	}
	var match map[string]any
	require.NoError(t, json.Unmarshal(full, &match))
	officials := match["domaruppdraglista"].([]any)
	officials[0], officials[1] = officials[1], officials[0]
	reversed, err := json.Marshal(match)
	require.NoError(t, err)
	list = append(list, string(full), string(reversed))

	got := peers.ReadMatches(t, []byte("["+strings.Join(list, ",")+"]"))
	require.Len(t, got, len(list))
	for i, row := range rows {
		before, after := got[2*i], got[2*i+1]
		want := "updated"
		if row.same {
			want = "unchanged"
		}
		require.Equal(t, "inserted", before.Event, row.name)
		require.Equal(t, want, after.Event, row.name)
		require.Equal(t, row.same, before.Hash == after.Hash, row.name)
	}
	require.Equal(t, "updated", got[len(got)-1].Event, "the officials in another order")
}

// Without any of these fields the calendar fails the match.
func TestReadMatches_needed(t *testing.T) {
	t.Parallel()
	full, err := os.ReadFile("../../message/testdata/matches/fogis.json")
	require.NoError(t, err)
	var list []string
	var names []string
	for _, path := range []string{
		"matchid", "matchnr", "lag1namn", "lag2namn", "anlaggningnamn", "tid", "tavlingnamn", "domaruppdraglista",
		"domaruppdraglista.domarrollkortnamn", "domaruppdraglista.personnamn", "domaruppdraglista.mobiltelefon",
		"domaruppdraglista.adress", "domaruppdraglista.postnr", "domaruppdraglista.postort",
		"kontaktpersoner.lagnamn", "kontaktpersoner.personnamn", "kontaktpersoner.telefon",
		"kontaktpersoner.mobiltelefon", "kontaktpersoner.epostadress",
	} {
		var match map[string]any
		require.NoError(t, json.Unmarshal(full, &match))
		if outer, inner, found := strings.Cut(path, "."); found {
			people := match[outer].([]any)
			delete(people[len(people)-1].(map[string]any), inner)
		} else {
			delete(match, path)
		}
		text, err := json.Marshal(match)
		require.NoError(t, err)
		list, names = append(list, string(text)), append(names, path)
	}
	got := peers.ReadMatches(t, []byte("["+strings.Join(list, ",")+"]"))
	require.Len(t, got, len(list))
	for i, m := range got {
		_, inner, nested := strings.Cut(names[i], ".")
		if !nested {
			inner = names[i]
		}
		require.False(t, m.Accepted, names[i])
		require.Equal(t, "KeyError: '"+inner+"'", m.Why)
	}

	other, err := os.ReadFile("../../message/testdata/matches/cancelled.json")
	require.NoError(t, err)
	simple, err := os.ReadFile("../../message/testdata/matches/simple.json")
	require.NoError(t, err)
	got = peers.ReadMatches(t, []byte("["+string(full)+","+string(other)+","+string(simple)+"]"))
	require.True(t, got[0].Accepted)
	require.Equal(t, "Ängsviks IF - Östra Åsby BK", got[0].Title)
	require.Equal(t, "2031-05-06T15:00:00+00:00", got[0].Begin)
	require.True(t, got[0].Phonebook)
	require.Contains(t, got[1].Why, "ValueError", "a literal backslash in the kick-off")
	require.Equal(t, "KeyError: 'lag1namn'", got[2].Why)
}

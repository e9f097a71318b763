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

func parse(t *testing.T, raw string) message.Match {
	t.Helper()
	m, err := message.ParseMatch([]byte(raw))
	require.NoError(t, err, raw)
	return m
}

// example reads one of the three example matches.
func example(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/matches/" + name + ".json")
	require.NoError(t, err)
	return bytes.TrimSpace(raw)
}

// TestParseMatch_typeVariance holds each deviation that producers were seen
// with.
func TestParseMatch_typeVariance(t *testing.T) {
	t.Parallel()
	id := func(m message.Match) any { return m.ID }
	kickoff := func(m message.Match) any {
		if m.Kickoff.IsZero() {
			return ""
		}
		return m.Kickoff.Format(time.RFC3339)
	}
	officials := func(m message.Match) any { return m.Officials }
	official := func(m message.Match) any { return m.Officials[0] }
	states := func(m message.Match) any { return [...]bool{m.Cancelled, m.Postponed, m.Interrupted, m.Completed} }
	for _, c := range []struct {
		raw  string
		of   func(message.Match) any
		want any
	}{
		// The ID and the name of its key.
		{`{"matchid":6143017}`, id, message.MatchID{Int: 6143017, Text: "6143017"}},
		{`{"matchid":"6143017"}`, id, message.MatchID{Int: 6143017, Text: "6143017", Quoted: true}},
		{`{"matchid":"MOCK001"}`, id, message.MatchID{Text: "MOCK001", Quoted: true}},
		{`{"matchid":0}`, id, message.MatchID{Text: "0"}},
		{`{"matchid":""}`, id, message.MatchID{}},
		{`{"matchid":null}`, id, message.MatchID{}},
		{`{"matchid":[1]}`, id, message.MatchID{}},
		{`{"matchid":true}`, id, message.MatchID{}},
		{`{}`, id, message.MatchID{}},
		{`{"matchid":6143017.0}`, id, message.MatchID{Int: 6143017, Text: "6143017.0"}},
		{`{"matchid":123456789012345678901}`, id, message.MatchID{Text: "123456789012345678901"}},
		{`{"match_id":6143017}`, id, message.MatchID{Int: 6143017, Text: "6143017"}},
		{`{"match_id":"x","matchid":2}`, id, message.MatchID{Int: 2, Text: "2"}},
		{`{"matchid":2,"match_id":"x"}`, id, message.MatchID{Int: 2, Text: "2"}},
		{`{"matchid":2,"matchid":3}`, id, message.MatchID{Int: 3, Text: "3"}},
		{`{"match\u0069d":4}`, id, message.MatchID{Int: 4, Text: "4"}},

		// The time.
		{`{"tid":"/Date(1935846000000)/"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"tid":"\/Date(1935846000000)\/"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"tid":"\\/Date(1935846000000)\\/"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"tid":"/Date(1935846000000+0200)/"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"tid":"/Date(-62135596800000)/"}`, kickoff, ""},
		{`{"tid":"/Date(-62135596800000)/","speldatum":"2031-05-06","avsparkstid":"17:00"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"tid":"/Date(99999999999999999999)/"}`, kickoff, ""},
		{`{"tid":"/Date()/"}`, kickoff, ""},
		{`{"tid":"2025-10-04T15:00:00"}`, kickoff, "2025-10-04T15:00:00+02:00"},
		{`{"tid":"2025-10-04T15:00:00Z"}`, kickoff, "2025-10-04T17:00:00+02:00"},
		{`{"tid":"2025-12-04 15:00"}`, kickoff, "2025-12-04T15:00:00+01:00"},
		{`{"tid":"19:00","datum":"2025-08-23"}`, kickoff, "2025-08-23T19:00:00+02:00"},
		{`{"tid":"19:00"}`, kickoff, ""},
		{`{"tid":null,"speldatum":null,"avsparkstid":null}`, kickoff, ""},
		{`{"tid":17,"speldatum":20,"avsparkstid":[]}`, kickoff, ""},
		{`{"tid":"/Date(1935846000000)/","speldatum":"2031-05-07","avsparkstid":"12:00"}`, kickoff, "2031-05-06T17:00:00+02:00"},
		{`{"speldatum":"2025-01-04","avsparkstid":"10:30"}`, kickoff, "2025-01-04T10:30:00+01:00"},
		{`{"speldatum":"2025-01-04"}`, kickoff, ""},
		{`{"speldatum":"2025-02-30","avsparkstid":"10:30"}`, kickoff, ""},
		{`{"tidsangivelse":"2025-01-04, 10:30"}`, kickoff, "2025-01-04T10:30:00+01:00"},
		{`{"date":"2025-10-26","time":"12:00"}`, kickoff, "2025-10-26T12:00:00+01:00"},
		{`{"date":"2025-10-26","time":"12:00:30"}`, kickoff, "2025-10-26T12:00:30+01:00"},
		{`{"formatted_datetime":"2025-10-26 12:00"}`, kickoff, "2025-10-26T12:00:00+01:00"},

		// The official's ID, telephone, e-mail and name.
		{`{"domaruppdraglista":[{"domareid":81001}]}`, official, message.Official{ID: "81001"}},
		{`{"domaruppdraglista":[{"domarid":81001}]}`, official, message.Official{ID: "81001"}},
		{`{"domaruppdraglista":[{"domarid":1,"domareid":"81001"}]}`, official, message.Official{ID: "81001"}},
		{`{"referees":[{"id":81001}]}`, official, message.Official{ID: "81001"}},
		{`{"domaruppdraglista":[{"mobiltelefon":"070-174 06 10","epostadress":"a@example.com"}]}`, official, message.Official{Mobile: "070-174 06 10", Email: "a@example.com"}},
		{`{"domaruppdraglista":[{"mobil":"070-174 06 10","epost":"a@example.com"}]}`, official, message.Official{Mobile: "070-174 06 10", Email: "a@example.com"}},
		{`{"domaruppdraglista":[{"mobile":"070-174 06 10","email":"a@example.com"}]}`, official, message.Official{Mobile: "070-174 06 10", Email: "a@example.com"}},
		{`{"domaruppdraglista":[{"mobil":"070-174 06 11","mobiltelefon":"070-174 06 10"}]}`, official, message.Official{Mobile: "070-174 06 10"}},
		{`{"domaruppdraglista":[{"mobiltelefon":701740610}]}`, official, message.Official{Mobile: "701740610"}},
		{`{"domaruppdraglista":[{"personnamn":"Åke","namn":"Åke P"}]}`, official, message.Official{Name: "Åke"}},
		{`{"domaruppdraglista":[{"personnamn":"","namn":"Åke P"}]}`, official, message.Official{Name: "Åke P"}},
		{`{"domaruppdraglista":[{"name":"Åke"}]}`, official, message.Official{Name: "Åke"}},
		{`{"domare1":"Åke","domare1_telefon":"070-174 06 10"}`, official, message.Official{Role: "Huvuddomare", RoleShort: "Dom", Name: "Åke", Mobile: "070-174 06 10"}},
		{`{"fjarde":"Åke"}`, official, message.Official{Role: "Fjärdedomare", RoleShort: "4:e dom", Name: "Åke"}},

		// Lists that are none.
		{`{"domaruppdraglista":null,"kontaktpersoner":null}`, officials, []message.Official(nil)},
		{`{"domaruppdraglista":[]}`, officials, []message.Official(nil)},
		{`{"domaruppdraglista":{}}`, officials, []message.Official(nil)},
		{`{"domaruppdraglista":"x"}`, officials, []message.Official(nil)},
		{`{"domaruppdraglista":[null,1,[],{},{"namn":"Åke"}]}`, officials, []message.Official{{Name: "Åke"}}},
		{`{"domaruppdraglista":[{"namn":"A"}],"domaruppdraglista":null}`, officials, []message.Official(nil)},
		{`{"referees":["N/A",null,"Åke"]}`, officials, []message.Official{{Name: "Åke"}}},
		{`{"domaruppdraglista":null,"referees":["Åke"],"domare":"Per"}`, officials, []message.Official{{Name: "Åke"}}},
		{`{"kontaktpersoner":null,"team_contacts":[null,{"name":"Åke","contact":null}]}`, func(m message.Match) any { return m.Contacts }, []message.Contact{{Name: "Åke"}}},
		{`{"referees":[{"name":"Åke","contact":{"address":"Vägen 1"}}]}`, official, message.Official{Name: "Åke", Address: "Vägen 1"}},

		// States. The producer of the status object fills "cancelled" from
		// the interruption and "suspended" from the cancellation.
		{`{}`, states, [...]bool{false, false, false, false}},
		{`{"installd":true}`, states, [...]bool{true, false, false, false}},
		{`{"uppskjuten":true}`, states, [...]bool{false, true, false, false}},
		{`{"avbruten":true,"installd":null}`, states, [...]bool{false, false, true, false}},
		{`{"arslutresultat":true,"avbruten":"x"}`, states, [...]bool{false, false, false, true}},
		{`{"status":{"cancelled":true}}`, states, [...]bool{false, false, true, false}},
		{`{"status":{"suspended":true,"postponed":true,"final_result":true}}`, states, [...]bool{true, true, false, true}},
		{`{"status":"scheduled","installd":true}`, states, [...]bool{true, false, false, false}},

		// Teams and places.
		{`{"teams":"Åby IF vs Östra BK"}`, func(m message.Match) any { return m.Home.Name + "/" + m.Away.Name }, "Åby IF/Östra BK"},
		{`{"teams":"Åby IF"}`, func(m message.Match) any { return m.Home.Name + "/" + m.Away.Name }, "Åby IF/"},
		{`{"teams":{"home":{"name":"Åby IF","logo_id":5},"away":null}}`, func(m message.Match) any { return m.Home }, message.Team{Name: "Åby IF", ClubID: 5}},
		{`{"lag1namn":12,"lag1lagid":"310001","lag1foreningid":11901.0}`, func(m message.Match) any { return m.Home }, message.Team{Name: "12", ID: 310001, ClubID: 11901}},
		{`{"lag1lagid":5.5,"lag1foreningid":1e300}`, func(m message.Match) any { return m.Home }, message.Team{}},
		{`{"venue":"Åbyvallen"}`, func(m message.Match) any { return m.Venue.Name }, "Åbyvallen"},
		{`{"venue":null,"anlaggningnamn":null}`, func(m message.Match) any { return m.Venue.Name }, ""},
		{`{"venue":{"name":"N/A","address":""}}`, func(m message.Match) any { return m.Venue.Name }, ""},
		{`{"anlaggningLatitud":"57.5","anlaggningLongitud":1e400}`, func(m message.Match) any { return m.Venue }, message.Venue{Latitude: 57.5}},
		{`{"series":{"name":"Div 4","level":"N/A"}}`, func(m message.Match) any { return m.Competition.Name }, "Div 4"},
		{`{"matchnr":402011}`, func(m message.Match) any { return m.Number }, "402011"},
		{`{"matchlag1mal":null,"nytt":{"a":[1,{"matchid":9}]}}`, id, message.MatchID{}},
	} {
		require.Equal(t, c.want, c.of(parse(t, c.raw)), c.raw)
	}
}

func TestParseMatch_keepsRaw(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fogis", "cancelled", "simple"} {
		raw := example(t, name)
		m, err := message.ParseMatch(append([]byte(" \n"), append(raw, '\n')...))
		require.NoError(t, err)
		require.Equal(t, string(raw), string(m.Raw))
	}
	m := parse(t, `{"matchid":1,"a":[NaN,-Infinity],"b":"NaN","c":Infinity}`)
	require.Equal(t, `{"matchid":1,"a":[null,null],"b":"NaN","c":null}`, string(m.Raw))
}

func TestParseMatches(t *testing.T) {
	t.Parallel()
	list := " [" + string(example(t, "fogis")) + " , " + string(example(t, "simple")) + "]\n"
	matches, err := message.ParseMatches([]byte(list))
	require.NoError(t, err)
	require.Len(t, matches, 2)
	require.Equal(t, int64(6200001), matches[0].ID.Int)
	require.Len(t, matches[0].Officials, 3)
	require.Equal(t, string(example(t, "simple")), string(matches[1].Raw))
}

func TestMatch_stringsAreUnescaped(t *testing.T) {
	t.Parallel()
	m := parse(t, `{"lag1namn":"\u00c5by \"IF\"\n\/\\\b\f\r\t","lag2namn":"\ud83d\ude00 \ud83d x \ude00 \ud83d\u0041"}`)
	require.Equal(t, "Åby \"IF\"\n/\\\b\f\r\t", m.Home.Name)
	require.Equal(t, "😀 \ufffd x \ufffd \ufffdA", m.Away.Name)
}

// TestMatch_withoutRaw is what the calendar needs of a match made in Go.
func TestMatch_withoutRaw(t *testing.T) {
	t.Parallel()
	m := parse(t, string(example(t, "fogis")))
	m.Raw = nil
	full := encodeOne(t, m)
	back := parse(t, full)
	back.Raw = nil
	require.Equal(t, m, back)
	require.NotContains(t, full, "null")

	empty := encodeOne(t, message.Match{ID: message.MatchID{Text: "MOCK001", Quoted: true}, Officials: []message.Official{{}}, Contacts: []message.Contact{{}}})
	require.NotContains(t, empty, "null")
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(empty), &object))
	for _, key := range []string{"matchid", "lag1namn", "lag2namn", "anlaggningnamn", "tid", "tavlingnamn", "domaruppdraglista", "matchnr", "speldatum", "avsparkstid", "tidsangivelse"} {
		require.Contains(t, object, key)
	}
	require.Equal(t, "/Date(-62135596800000)/", object["tid"])
	official := object["domaruppdraglista"].([]any)[0].(map[string]any)
	for _, key := range []string{"domarrollkortnamn", "personnamn", "mobiltelefon", "adress", "postnr", "postort", "domarnr", "epostadress", "land"} {
		require.Equal(t, "", official[key], key)
	}
	contact := object["kontaktpersoner"].([]any)[0].(map[string]any)
	for _, key := range []string{"lagnamn", "personnamn", "telefon", "mobiltelefon", "epostadress"} {
		require.Equal(t, "", contact[key], key)
	}
	none := encodeOne(t, message.Match{ID: message.MatchID{Int: 5}})
	require.Contains(t, none, `"matchid":5,`)
	require.Contains(t, none, `"domaruppdraglista":[],"kontaktpersoner":[]}`)
	winter := encodeOne(t, message.Match{ID: message.NewMatchID(5), Kickoff: time.Date(2031, 1, 1, 23, 30, 0, 0, time.UTC)})
	require.Contains(t, winter, `"tid":"/Date(1925076600000)/","speldatum":"2031-01-02","avsparkstid":"00:30","tidsangivelse":"2031-01-02, 00:30"`)
}

// encodeOne is the JSON of one match as it is sent.
func encodeOne(t *testing.T, m message.Match) string {
	t.Helper()
	body, err := message.AppendEncode(nil, message.Header{}, message.MatchUpdates{Matches: []message.Match{m}})
	require.NoError(t, err)
	e, err := message.Decode(body)
	require.NoError(t, err)
	require.Equal(t, 1, e.MatchCount())
	return string(e.RawMatches()[0])
}

func TestMatchID_isWrittenAsItCame(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`6143017`, `"6143017"`, `"MOCK001"`, `1e3`, `-5`, `6143017.50`} {
		m := parse(t, `{"matchid":`+id+`}`)
		m.Raw = nil
		require.True(t, strings.HasPrefix(encodeOne(t, m), `{"matchid":`+id+`,`), id)
	}
	require.True(t, strings.HasPrefix(encodeOne(t, message.Match{ID: message.MatchID{Text: "007"}}), `{"matchid":"007",`))
	require.Equal(t, "6143017", message.MatchID{Int: 6143017}.String())
	for _, id := range []string{`6143017`, `"6143017"`, `"MOCK\"001"`, `null`, `1e3`} {
		var m message.MatchID
		require.NoError(t, json.Unmarshal([]byte(id), &m))
		back, err := json.Marshal(m)
		require.NoError(t, err)
		require.Equal(t, id, string(back))
	}
	require.Error(t, json.Unmarshal([]byte(`[1]`), new(message.MatchID)))
}

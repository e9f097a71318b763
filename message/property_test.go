package message_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	text   = rapid.StringN(0, 12, -1)
	number = rapid.Int64Range(0, 1<<53)
)

var genOfficial = rapid.Custom(func(t *rapid.T) message.Official {
	return message.Official{
		ID: text.Draw(t, "id"), Number: text.Draw(t, "number"), PersonID: number.Draw(t, "person"),
		Role: text.Draw(t, "role"), RoleShort: text.Draw(t, "short"), Name: "n" + text.Draw(t, "name"),
		Mobile: text.Draw(t, "mobile"), Phone: text.Draw(t, "phone"), WorkPhone: text.Draw(t, "work"),
		Email: text.Draw(t, "email"), Address: text.Draw(t, "address"), CareOf: text.Draw(t, "care"),
		PostalCode: text.Draw(t, "code"), City: text.Draw(t, "city"), Country: text.Draw(t, "country"),
	}
})

var genContact = rapid.Custom(func(t *rapid.T) message.Contact {
	return message.Contact{
		PersonID: number.Draw(t, "person"), TeamID: number.Draw(t, "team"), TeamName: "t" + text.Draw(t, "name"),
		ClubID: number.Draw(t, "club"), Name: text.Draw(t, "name"), Mobile: text.Draw(t, "mobile"),
		Phone: text.Draw(t, "phone"), WorkPhone: text.Draw(t, "work"), Email: text.Draw(t, "email"),
		Address: text.Draw(t, "address"), CareOf: text.Draw(t, "care"), PostalCode: text.Draw(t, "code"),
		City: text.Draw(t, "city"), Country: text.Draw(t, "country"), Reserve: rapid.Bool().Draw(t, "reserve"),
	}
})

var genMatch = rapid.Custom(func(t *rapid.T) message.Match {
	m := message.Match{
		ID:     message.NewMatchID(number.Draw(t, "id")),
		Number: text.Draw(t, "number"),
		Home:   message.Team{ID: number.Draw(t, "team"), ClubID: number.Draw(t, "club"), Name: text.Draw(t, "home")},
		Away:   message.Team{Name: text.Draw(t, "away")},
		Venue: message.Venue{ID: number.Draw(t, "venue"), Name: text.Draw(t, "place"),
			Latitude: rapid.Float64Range(-90, 90).Draw(t, "lat"), Longitude: rapid.Float64Range(-180, 180).Draw(t, "long")},
		Competition: message.Competition{ID: number.Draw(t, "comp"), Number: text.Draw(t, "nr"), Name: text.Draw(t, "comp"), Category: text.Draw(t, "cat")},
		Cancelled:   rapid.Bool().Draw(t, "cancelled"), Postponed: rapid.Bool().Draw(t, "postponed"),
		Interrupted: rapid.Bool().Draw(t, "interrupted"), Completed: rapid.Bool().Draw(t, "completed"),
		Officials: rapid.SliceOfN(genOfficial, 0, 4).Draw(t, "officials"),
		Contacts:  rapid.SliceOfN(genContact, 0, 3).Draw(t, "contacts"),
	}
	if rapid.Bool().Draw(t, "quoted") {
		m.ID = message.MatchID{Text: "x" + text.Draw(t, "id"), Quoted: true}
	}
	if rapid.Bool().Draw(t, "known") {
		m.Kickoff = time.UnixMilli(rapid.Int64Range(-1<<40, 1<<42).Draw(t, "millis"))
	}
	if len(m.Officials) == 0 {
		m.Officials = nil
	}
	if len(m.Contacts) == 0 {
		m.Contacts = nil
	}
	return m
})

// A match made in Go comes back as it was.
func TestProperty_matchWithoutRaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := genMatch.Draw(t, "match")
		body, err := message.AppendEncode(nil, fixedHeader, message.MatchUpdates{Matches: []message.Match{want}})
		require.NoError(t, err)
		require.True(t, json.Valid(body))
		require.NotContains(t, string(body), ":null")
		e, err := message.Decode(body)
		require.NoError(t, err)
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		got := m.Payload.Matches[0]
		require.True(t, want.Kickoff.Equal(got.Kickoff), "%v %v", want.Kickoff, got.Kickoff)
		got.Kickoff, got.Raw = want.Kickoff, nil
		require.Equal(t, want, got)
	})
}

// value draws JSON with its own spelling of white space and escapes.
func value(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
		kinds := 5
		if depth > 0 {
			kinds = 7
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"0", "-0", "2.50", "1e3", "1E-7", "6143017", "123456789012345678901234567890", "-1.0"}).Draw(t, "number")
		case 1:
			return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
		case 2:
			return rapid.SampledFrom([]string{`"\u00e5\/\\"`, `"\ud83d\ude00"`, `"\ud83d"`, `"/Date(1935846000000)/"`, `""`, `"19:00"`}).Draw(t, "escaped")
		case 5:
			out := "["
			for i := range rapid.IntRange(0, 3).Draw(t, "n") {
				if i > 0 {
					out += ","
				}
				out += space.Draw(t, "s") + value(depth-1).Draw(t, "element") + space.Draw(t, "s")
			}
			return out + "]"
		case 6:
			return object(depth-1).Draw(t, "object")
		default:
			quoted, err := json.Marshal(text.Draw(t, "text"))
			require.NoError(t, err)
			return string(quoted)
		}
	})
}

var matchKeys = rapid.SampledFrom([]string{"matchid", "match_id", "matchnr", "lag1namn", "lag2lagid", "tid", "speldatum", "avsparkstid",
	"domaruppdraglista", "kontaktpersoner", "teams", "venue", "status", "referees", "team_contacts", "contact", "address", "home", "name",
	"personnamn", "domareid", "domare", "nytt", `match\u0069d`, "installd", "competition", "coordinates"})

func object(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		out := "{"
		for i := range rapid.IntRange(0, 6).Draw(t, "n") {
			if i > 0 {
				out += ", "
			}
			out += `"` + matchKeys.Draw(t, "key") + `": ` + value(depth).Draw(t, "value")
		}
		return out + "}"
	})
}

// Whatever stands in a match, it is decoded, and encoded again byte for byte.
func TestProperty_anyMatchIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := `{"matchid": 1, ` + object(3).Draw(t, "match")[1:]
		if raw == `{"matchid": 1, }` {
			raw = `{"matchid": 1}`
		}
		require.True(t, json.Valid([]byte(raw)), raw)
		m, err := message.ParseMatch([]byte(raw))
		require.NoError(t, err)
		require.Equal(t, raw, string(m.Raw))
		body, err := message.AppendEncode(nil, fixedHeader, message.MatchUpdates{Matches: []message.Match{m}})
		require.NoError(t, err)
		checkStable(t, body)
	})
}

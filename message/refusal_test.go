package message_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// secret stands for content: no error may quote it.
const secret = "070-174 06 10"

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		``:                       "is empty",
		" \n":                    "is empty",
		`nothing`:                "is not JSON (at byte 0)",
		secret:                   "has more data after its end (at byte 1)",
		`"` + secret + `"`:       "want an object, got a string",
		`[{"type":"x"}]`:         "want an object, got a list",
		`null`:                   "want an object, got null",
		`NaN`:                    "want an object, got a number",
		`-1.5e3`:                 "want an object, got a number",
		"\ufeff{}":               "begins with a byte order mark: send UTF-8 without one",
		`{"type":"x"} {}`:        "has more data after its end (at byte 13)",
		`{"type":"x","payload":`: "payload: ends in the middle of a value: it was cut off on the way (after byte 22)",
		`{"type":"x","payload":{"matches":[{"matchid":1},{"matchid":` + secret[:3]: "payload.matches[1].matchid: is not JSON (at byte 60)",
		`{"type":"x",}`:           "is not JSON (at byte 12)",
		`{"type" "x"}`:            "type: is not JSON (at byte 8)",
		`{type:1}`:                "is not JSON (at byte 1)",
		`{"type":"x";}`:           "type: is not JSON (at byte 11)",
		`{"a":[1 2]}`:             "is not JSON (at byte 8)",
		`{"a":01}`:                "is not JSON (at byte 6)",
		`{"a":-}`:                 "holds a number that JSON does not allow (at byte 5)",
		`{"a":1.}`:                "holds a number that JSON does not allow (at byte 5)",
		`{"a":1e}`:                "holds a number that JSON does not allow (at byte 5)",
		`{"a":nul}`:               "is not JSON (at byte 5)",
		`{"a":Infinit}`:           "is not JSON (at byte 5)",
		`{"a":tru`:                "ends in the middle of a value: it was cut off on the way (after byte 8)",
		`{"a":"\x"}`:              "holds an unknown escape inside a string (at byte 6)",
		`{"a":"\u00g0"}`:          "holds an unknown escape inside a string (at byte 6)",
		`{"a":"\u00`:              "ends in the middle of a value: it was cut off on the way (after byte 10)",
		`{"a":"\`:                 "ends in the middle of a value: it was cut off on the way (after byte 7)",
		"{\"a\":\"\n\"}":          "holds a control character inside a string: JSON wants it escaped (at byte 6)",
		"{\"type\":\"x\xff\"}":    "type: holds invalid UTF-8 (at byte 10)",
		"{\"" + secret + "\xc3\"": "holds invalid UTF-8 (at byte 15)",
		"{\"payload\":{\"matches\":[{},{\"domaruppdraglista\":[{\"personnamn\":\"" + secret + "\xed\xa0\x80\"}]}]}}": "payload.matches[1].domaruppdraglista[0].personnamn: holds invalid UTF-8 (at byte 76)",
		"{\"payload\":{\"matches\":[{},{\"" + secret + "\":{\"b\":\"\xff\"}}]}}":                                     "payload.matches[1]: holds invalid UTF-8 (at byte 49)",
		`{}`:                                                "type: missing: a message needs a type, or matches",
		`{"type":null,"payload":{"a":1}}`:                   "type: missing: a message needs a type, or matches",
		`{"type":"","payload":{}}`:                          "type: missing: a message needs a type, or matches",
		`{"type":["` + secret + `"]}`:                       "type: want a string, got a list",
		`{"type":17}`:                                       "type: want a string, got a number",
		`{"event_type":true}`:                               "event_type: want a string, got true or false",
		`{"type":"x","message_id":{}}`:                      "message_id: want a string, got an object",
		`{"type":"x","timestamp":true}`:                     "timestamp: want a string, got true or false",
		`{"type":"x","source":[]}`:                          "source: want a string, got a list",
		`{"type":"x","version":[]}`:                         "version: want a string, got a list",
		`{"type":"x","schema_version":[]}`:                  "schema_version: want a string, got a list",
		`{"type":"x","payload":[]}`:                         "payload: want an object, got a list",
		`{"type":"x","payload":"` + secret:                  "payload: ends in the middle of a value: it was cut off on the way (after byte 36)",
		`{"type":"match_updates"}`:                          "payload: missing, and there are no matches beside it",
		`{"type":"match_updates","payload":1}`:              "payload: want an object, got a number",
		`{"type":"match_updates","payload":{"matches":{}}}`: "payload.matches: want a list, got an object",
		`{"type":"match_updates","payload":{"matches":[{},{},{},` + `5]}}`:         "payload.matches[3]: want an object, got a number",
		`{"type":"match_updates","payload":{"matches":[null]}}`:                    "payload.matches[0]: want an object, got null",
		`{"type":"match_updates","payload":{"detailed_changes":"` + secret + `"}}`: "payload.detailed_changes: want a list, got a string",
		`{"type":"match_updates","payload":{"metadata":[]}}`:                       "payload.metadata: want an object, got a list",
		`{"matches":["` + secret + `"]}`:                                           "matches[0]: want an object, got a string",
		`{"matches":"` + secret + `"}`:                                             "matches: want a list, got a string",
		`{"event_type":"matches.all","data":[1]}`:                                  "data[0]: want an object, got a number",
		`{"event_type":"matches.all","data":1}`:                                    "data: want a list, got a number",
		`{"event_type":"matches.all","data":{"matches":[1]}}`:                      "data.matches[0]: want an object, got a number",
		`{"event_type":"matches.all"}`:                                             "data: missing",
	} {
		_, err := message.Decode([]byte(data))
		require.ErrorIs(t, err, message.ErrInvalid, data)
		require.EqualError(t, err, "invalid message: "+want, data)
		require.NotContains(t, err.Error(), secret)
	}
}

type report struct {
	Reports []int `json:"reports"`
}

func (report) MessageType() message.Type { return "match_reports" }
func (report) Validate() error           { return nil }

func TestAs_refuses(t *testing.T) {
	t.Parallel()
	decode := func(data string) *message.Envelope {
		e, err := message.Decode([]byte(data))
		require.NoError(t, err, data)
		return e
	}
	_, err := message.As[message.SystemAlert](decode(`{"type":"` + secret + `","payload":{}}`))
	require.ErrorIs(t, err, message.ErrInvalid)
	require.EqualError(t, err, "invalid message: type: want system_alert, got another")
	_, err = message.As[*message.SystemAlert](decode(`{"type":"system_alert","payload":{}}`))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.As[message.Payload](decode(`{"type":"system_alert","payload":{}}`))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.As[report](decode(`{"type":"match_reports","payload":{"reports":["` + secret + `"]}}`))
	require.EqualError(t, err, "invalid message: payload: does not fit into *message_test.report")
	_, err = message.As[message.MatchUpdates](decode(`{"type":"match_updates","payload":{"detailed_changes":[{},"` + secret + `"]}}`))
	require.EqualError(t, err, "invalid message: payload.detailed_changes[1]: want an object, got a string")
	for data, want := range map[string]string{
		`{"type":"processing_status","payload":{}}`:              "payload.status: missing",
		`{"type":"processing_status","payload":{"status":""}}`:   "payload.status: missing",
		`{"type":"processing_status","payload":{"status":[]}}`:   "payload.status: want a string, got a list",
		`{"type":"processing_status","payload":{"status":null}}`: "payload.status: missing",
	} {
		_, err := message.As[message.ProcessingStatus](decode(data))
		require.EqualError(t, err, "invalid message: "+want, data)
	}
	for data, want := range map[string]string{
		`{"type":"system_alert","payload":{"message":"x"}}`:                    "payload.alert_type: missing",
		`{"type":"system_alert","payload":{"alert_type":1}}`:                   "payload.alert_type: want a string, got a number",
		`{"type":"system_alert","payload":{"alert_type":"x","severity":{}}}`:   "payload.severity: want a string, got an object",
		`{"type":"system_alert","payload":{"alert_type":"x","message":false}}`: "payload.message: want a string, got true or false",
	} {
		_, err := message.As[message.SystemAlert](decode(data))
		require.EqualError(t, err, "invalid message: "+want, data)
	}
}

func TestAs_envelopeMadeByHand(t *testing.T) {
	t.Parallel()
	e := &message.Envelope{Header: message.Header{Type: message.TypeMatchUpdates}, Payload: []byte(`{"matches":[{"matchid":7}]}`)}
	require.Equal(t, 1, e.MatchCount())
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	require.Equal(t, int64(7), m.Payload.Matches[0].ID.Int)
	for payload, want := range map[string]string{
		``:                     "payload: is empty",
		`{"matches":[7]}`:      "payload.matches[0]: want an object, got a number",
		`{"matches":[{}`:       "payload.matches[0]: ends in the middle of a value: it was cut off on the way (after byte 14)",
		`{"matches":[{"a":NaN`: "payload.matches[0]: ends in the middle of a value: it was cut off on the way (after byte 20)",
		`{"a":NaN}`:            "payload: holds NaN or Infinity, which is not JSON: write null (at byte 5)",
		`[]`:                   "payload: want an object, got a list",
	} {
		e.Payload = []byte(payload)
		require.Zero(t, len(e.RawMatches())&^1)
		_, err := message.As[message.MatchUpdates](e)
		require.EqualError(t, err, "invalid message: "+want, payload)
	}
}

func TestParseMatch_refuses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``:                         "match: is empty",
		`1`:                        "match: want an object, got a number",
		`{"matchid":1}x`:           "match: has more data after its end (at byte 13)",
		"{\"tid\":\"\xff\"}":       "match.tid: holds invalid UTF-8 (at byte 8)",
		strings.Repeat("[", 1_000): "match[0][0][0][0][0][0]: is nested deeper than 500 levels (at byte 500)",
	} {
		_, err := message.ParseMatch([]byte(raw))
		require.ErrorIs(t, err, message.ErrInvalid)
		require.EqualError(t, err, "invalid message: "+want, raw)
	}
	_, err := message.ParseMatches([]byte(`{"matches":[]}`))
	require.EqualError(t, err, "invalid message: matches: want a list, got an object")
	_, err = message.ParseMatches([]byte(`[{},"` + secret + `"]`))
	require.EqualError(t, err, "invalid message: matches[1]: want an object, got a string")
	_, err = message.ParseMatches([]byte(`[{},`))
	require.EqualError(t, err, "invalid message: matches[1]: ends in the middle of a value: it was cut off on the way (after byte 4)")
	none, err := message.ParseMatches([]byte(" null "))
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestMatchUpdates_Validate(t *testing.T) {
	t.Parallel()
	raw := func(text string) message.MatchUpdates {
		return message.MatchUpdates{Matches: []message.Match{{Raw: []byte(`{"matchid":null}`)}, {Raw: []byte(text)}}}
	}
	one := func(m message.Match) message.MatchUpdates { return message.MatchUpdates{Matches: []message.Match{m}} }
	change := func(c message.Change) message.MatchUpdates {
		return message.MatchUpdates{Changes: []message.Change{c}}
	}
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	for want, m := range map[string]message.MatchUpdates{
		"payload.matches[1]: has neither matchid nor match_id":                                                              raw(`{"matchnr":"` + secret + `"}`),
		"payload.matches[1]: want an object, got a list":                                                                    raw(` [1]`),
		"payload.matches[1]: is empty":                                                                                      raw(` `),
		"payload.matches[1].adress: holds invalid UTF-8 (at byte 11)":                                                       raw("{\"adress\":\"\xff\"}"),
		"payload.matches[1].tid: holds NaN or Infinity, which is not JSON: write null (at byte 20)":                         raw(`{"matchid":1, "tid":NaN}`),
		"payload.matches[1]: has more data after its end (at byte 13)":                                                      raw(`{"matchid":1}{`),
		"payload.matches[1].matchid: ends in the middle of a value: it was cut off on the way (after byte 12)":              raw(`{"matchid":1`),
		"payload.matches[1].matchid: ends in the middle of a value: it was cut off on the way (after byte 11)":              raw(`{"matchid":`),
		"payload.matches[1].matchid[0][0][0][0][0]: is nested deeper than 500 levels (at byte 507)":                         raw(`{"matchid":` + deep + `}`),
		"payload.matches[0].matchid: missing":                                                                               one(message.Match{Number: "1"}),
		"payload.matches[0]: holds invalid UTF-8":                                                                           one(message.Match{ID: message.NewMatchID(1), Contacts: []message.Contact{{City: "\xff"}}}),
		"payload.matches[0]: holds NaN or Infinity, which is not JSON: write null":                                          one(message.Match{ID: message.NewMatchID(1), Venue: message.Venue{Latitude: math.Inf(1)}}),
		"payload.detailed_changes[0]: want an object, got null":                                                             change(message.Change{Raw: []byte("null")}),
		"payload.detailed_changes[0]: holds invalid UTF-8":                                                                  change(message.Change{Affected: []string{"\xff"}}),
		"payload.detailed_changes[0]: is not JSON (at byte 0)":                                                              change(message.Change{From: []byte("x")}),
		"payload.metadata: is not JSON (at byte 0)":                                                                         {Metadata: map[string]json.RawMessage{"a": []byte("x")}},
		"payload.metadata: holds invalid UTF-8":                                                                             {Metadata: map[string]json.RawMessage{"\xff": nil}},
		"payload.metadata.change_summary: holds invalid UTF-8":                                                              {Summary: message.ChangeSummary{Text: "\xff"}},
		"payload.metadata: has more data after its end (at byte 1)":                                                         {Metadata: map[string]json.RawMessage{"a": []byte("1,")}},
		"payload.matches[1].domaruppdraglista[0]: ends in the middle of a value: it was cut off on the way (after byte 22)": raw(`{"domaruppdraglista":[`),
	} {
		err := m.Validate()
		require.ErrorIs(t, err, message.ErrInvalid)
		require.EqualError(t, err, "invalid message: "+want)
		dst := []byte("kept")
		out, err := message.AppendEncode(dst, message.Header{}, m)
		require.EqualError(t, err, "invalid message: "+want)
		require.Equal(t, dst, out)
	}
	for _, text := range []string{
		`{"match_id":""}`, `{"match\u0069d":{}}`, `{"matchid":0,"matchid":null,"x":[{}]}`, ` {"matchid":1} `,
	} {
		require.NoError(t, raw(text).Validate(), text)
	}
	require.NoError(t, message.MatchUpdates{}.Validate())
}

func TestProcessingStatus_Validate(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]message.ProcessingStatus{
		"payload.status: missing":                                                           {},
		"payload.status: holds invalid UTF-8":                                               {Status: "\xff"},
		"payload.details: is not JSON (at byte 0)":                                          {Status: "x", Details: map[string]json.RawMessage{"a": []byte("x")}},
		"payload.details: holds NaN or Infinity, which is not JSON: write null (at byte 0)": {Status: "x", Details: map[string]json.RawMessage{"a": []byte("NaN")}},
	} {
		require.EqualError(t, s.Validate(), "invalid message: "+want)
	}
	require.NoError(t, message.ProcessingStatus{Status: "anything", Details: map[string]json.RawMessage{"a": nil}}.Validate())
}

func TestSystemAlert_Validate(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]message.SystemAlert{
		"payload.alert_type: missing":             {Message: "x"},
		"payload.alert_type: holds invalid UTF-8": {AlertType: "\xff"},
		"payload.severity: holds invalid UTF-8":   {AlertType: "x", Severity: "\xff"},
		"payload.message: holds invalid UTF-8":    {AlertType: "x", Message: "\xff"},
		"payload.details: holds invalid UTF-8":    {AlertType: "x", Details: map[string]json.RawMessage{"\xff": nil}},
	} {
		require.EqualError(t, a.Validate(), "invalid message: "+want)
	}
}

func TestAppendEncode_refuses(t *testing.T) {
	t.Parallel()
	status := message.ProcessingStatus{Status: "started"}
	for want, h := range map[string]message.Header{
		"message_id: holds invalid UTF-8": {ID: "\xff"},
		"source: holds invalid UTF-8":     {Source: "\xff"},
		"seq.epoch: holds invalid UTF-8":  {Seq: message.Seq{Epoch: "\xff", N: 1}},
	} {
		_, err := message.AppendEncode(nil, h, status)
		require.EqualError(t, err, "invalid message: "+want)
	}
	for _, p := range []message.Payload{nil, (*message.MatchUpdates)(nil), (*message.ProcessingStatus)(nil), (*message.SystemAlert)(nil)} {
		_, err := message.AppendEncode(nil, message.Header{}, p)
		require.EqualError(t, err, "invalid message: payload: missing")
	}
	_, err := message.AppendEncode(nil, message.Header{}, list{})
	require.EqualError(t, err, "invalid message: payload: want an object, got a list")
	_, err = message.AppendEncode(nil, message.Header{}, channel{})
	require.EqualError(t, err, "invalid message: payload: encoding/json cannot encode message_test.channel")
	_, err = message.AppendEncode(nil, message.Header{}, nameless{})
	require.EqualError(t, err, "invalid message: type: missing: MessageType must name one")
}

type list []int

func (list) MessageType() message.Type { return "list" }
func (list) Validate() error           { return nil }

type channel struct{ C chan int }

func (channel) MessageType() message.Type { return "channel" }
func (channel) Validate() error           { return nil }

type nameless struct{}

func (nameless) MessageType() message.Type { return "" }
func (nameless) Validate() error           { return nil }

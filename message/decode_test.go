package message_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden views anew")

// view is what a reader of a message sees, without the raw JSON.
type view struct {
	ID            string `json:",omitempty"`
	IDGenerated   bool   `json:",omitempty"`
	Type          message.Type
	Source        string
	Version       string
	SchemaVersion string
	Timestamp     stamp
	Seq           *message.Seq  `json:",omitempty"`
	Part          *message.Part `json:",omitempty"`
	Sanitized     bool          `json:",omitempty"`
	MatchCount    int           `json:",omitempty"`
	Updates       *updatesView  `json:",omitempty"`
	Status        *message.ProcessingStatus
	Alert         *message.SystemAlert
	Payload       json.RawMessage `json:",omitempty"` // of a type that is not ours
}

type stamp struct {
	Time      string `json:",omitempty"`
	Text      string `json:",omitempty"`
	Uncertain bool   `json:",omitempty"`
}

type updatesView struct {
	Matches      []message.Match
	Changes      []changeView
	HasChanges   *bool
	High         bool
	Flag         bool
	Summary      message.ChangeSummary
	ProcessedAt  stamp
	Metadata     map[string]json.RawMessage
	KickoffTexts []string
}

type changeView struct {
	message.Change
	Timestamp stamp
}

func stampOf(t message.Timestamp) stamp {
	s := stamp{Text: t.Text, Uncertain: t.Uncertain}
	if !t.IsZero() {
		s.Time = t.UTC().Format(time.RFC3339Nano)
	}
	return s
}

func viewOf(t *testing.T, e *message.Envelope) view {
	t.Helper()
	v := view{ID: e.ID, IDGenerated: e.IDGenerated, Type: e.Type, Source: e.Source, Version: e.Version,
		SchemaVersion: e.SchemaVersion, Timestamp: stampOf(e.Timestamp), Sanitized: e.Sanitized, MatchCount: e.MatchCount()}
	if e.IDGenerated {
		require.NotEmpty(t, e.ID)
		v.ID = ""
	}
	if e.Seq != (message.Seq{}) {
		v.Seq = &e.Seq
	}
	if e.Part != (message.Part{}) {
		v.Part = &e.Part
	}
	switch e.Type {
	case message.TypeMatchUpdates:
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		u := m.Payload
		v.Updates = &updatesView{Matches: u.Matches, HasChanges: u.HasChanges, High: u.HighPriority(), Flag: u.HighPriorityFlag,
			Summary: u.Summary, ProcessedAt: stampOf(u.ProcessedAt), Metadata: u.Metadata}
		for i := range u.Matches {
			v.Updates.KickoffTexts = append(v.Updates.KickoffTexts, u.Matches[i].Kickoff.Format(time.RFC3339))
			require.Equal(t, string(e.RawMatches()[i]), string(u.Matches[i].Raw))
			u.Matches[i].Raw = nil
			u.Matches[i].Kickoff = time.Time{}
		}
		for _, c := range u.Changes {
			require.True(t, json.Valid(c.Raw))
			c.Raw = nil
			v.Updates.Changes = append(v.Updates.Changes, changeView{c, stampOf(c.Timestamp)})
		}
	case message.TypeProcessingStatus:
		m, err := message.As[message.ProcessingStatus](e)
		require.NoError(t, err)
		v.Status = &m.Payload
	case message.TypeSystemAlert:
		m, err := message.As[message.SystemAlert](e)
		require.NoError(t, err)
		v.Alert = &m.Payload
	default:
		v.Payload = e.Payload
	}
	return v
}

// golden files by name.
func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/envelopes/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := make(map[string][]byte)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = bytes.TrimSpace(data)
	}
	return all
}

func TestDecode_everyKnownEnvelope(t *testing.T) {
	t.Parallel()
	for name, data := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := message.Decode(data)
			require.NoError(t, err)
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", " ")
			require.NoError(t, enc.Encode(viewOf(t, e)))
			file := filepath.Join("testdata", "views", name+".json")
			if *update {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func TestDecode_headIsOptional(t *testing.T) {
	t.Parallel()
	first, err := message.Decode([]byte(`{"type":"match_updates","payload":{}}`))
	require.NoError(t, err)
	second, err := message.Decode([]byte(`{"message_id":null,"type":"match_updates","payload":{}}`))
	require.NoError(t, err)
	require.True(t, first.IDGenerated)
	require.True(t, second.IDGenerated)
	require.NotEqual(t, first.ID, second.ID)
}

func TestDecode_probes(t *testing.T) {
	t.Parallel()
	for _, probe := range []string{
		"health_check_1759566600", "test_message_1759566600", " test_message_1\n",
		`{"test": true}`, `{"test":true,"timestamp":"2031-05-06T17:00:00.123456"}`,
	} {
		_, err := message.Decode([]byte(probe))
		require.ErrorIs(t, err, message.ErrProbe, probe)
		require.NotErrorIs(t, err, message.ErrInvalid)
	}
	for _, other := range []string{"health_check_", "health_check_x", "test_message_1 2", `{"test":false}`, `{"test":true,"type":"x"}x`} {
		_, err := message.Decode([]byte(other))
		require.ErrorIs(t, err, message.ErrInvalid, other)
	}
	for data, want := range map[string]message.Type{
		`{"test":true,"matches":[]}`:              message.TypeMatchUpdates,
		`{"test":true,"matches":null}`:            message.TypeMatchUpdates,
		`{"test":true,"type":"x"}`:                "x",
		`{"test":true,"event_type":"y"}`:          "y",
		`{"test":true,"type":"x","payload":null}`: "x",
	} {
		e, err := message.Decode([]byte(data))
		require.NoError(t, err)
		require.Equal(t, want, e.Type)
	}
}

func TestDecode_ofKeysThatComeTwiceTheLastCounts(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]int{
		`{"type":"match_updates","payload":{"matches":[{},{}]},"payload":{}}`:                             0,
		`{"type":"match_updates","payload":{"matches":[{},{}],"matches":null}}`:                           0,
		`{"type":"match_updates","payload":{"matches":null,"matches":[{}]}}`:                              1,
		`{"matches":[1],"matches":[{},{}]}`:                                                               2,
		`{"type":"match_updates","typ\u0065":"match_updates","payload":5,"payload":{"matches":[{}]}}`:     1,
		`{"event_type":"matches.all","data":[{},{}],"data":{"matches":[{}]}}`:                             1,
		`{"type":"match_updates","matches":[{},{},{}],"payload":{"metadata":{}}}`:                         3,
		`{"type":"match_updates","matches":[{},{},{}],"payload":{"matches":[{}]}}`:                        1,
		`{"type":"match_updates","payload":{"m\u0061tches":[{}]}}`:                                        1,
		`{"type":"match_updates","matches":[{}],"payload":null}`:                                          1,
		`{"type":"match_updates","matches":[{}],"data":[{},{}],"event_type":"matches.all"}`:               1,
		`{"type":"match_updates","event_type":"service.started","data":[{},{}],"payload":{"matches":[]}}`: 0,
	} {
		e, err := message.Decode([]byte(data))
		require.NoError(t, err, data)
		require.Equal(t, message.TypeMatchUpdates, e.Type)
		require.Equal(t, want, e.MatchCount(), data)
		m, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		require.Len(t, m.Payload.Matches, want)
	}
}

func TestDecode_seqAndPart(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]message.Header{
		`"seq":{"epoch":"e","n":7},"part":{"n":1,"of":1}`: {Seq: message.Seq{Epoch: "e", N: 7}, Part: message.Part{N: 1, Of: 1}},
		`"seq":{"epoch":"e","n":18446744073709551615}`:    {Seq: message.Seq{Epoch: "e", N: 18446744073709551615}},
		`"seq":{"epoch":"e","n":0},"part":{"n":2,"of":1}`: {},
		`"seq":{"epoch":"e"},"part":{"n":0,"of":1}`:       {},
		`"stream":true`:                          {Stream: true},
		`"stream":true,"stream":false`:           {},
		`"stream":"true"`:                        {},
		`"seq":5,"part":"two"`:                   {},
		`"seq":null,"part":[1,2]`:                {},
		`"seq":{"n":-1},"part":{"n":1.5,"of":2}`: {},
	} {
		e, err := message.Decode([]byte(`{"type":"x",` + data + `}`))
		require.NoError(t, err, data)
		require.Equal(t, want.Seq, e.Seq, data)
		require.Equal(t, want.Part, e.Part, data)
		require.Equal(t, want.Stream, e.Stream, data)
	}
}

func TestAs_detailsOfEveryForm(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]map[string]json.RawMessage{
		`"payload":{"status":"x","details":[1]}`:                              {"details": json.RawMessage("[1]")},
		`"payload":{"status":"x","details":null,"n":1}`:                       {"n": json.RawMessage("1")},
		`"payload":{"status":"x","details":{"n":2},"n":1}`:                    {"n": json.RawMessage("2")},
		`"payload":{"n":1,"details":{},"n":null,"status":"x","timestamp":""}`: {"n": json.RawMessage("null")},
		`"status":"x","metadata":{},"source":"s"`:                             {"metadata": json.RawMessage("{}")},
		`"status":"x"`: nil,
	} {
		e, err := message.Decode([]byte(`{"type":"processing_status",` + data + `}`))
		require.NoError(t, err)
		m, err := message.As[message.ProcessingStatus](e)
		require.NoError(t, err)
		require.Equal(t, "x", m.Payload.Status)
		require.Equal(t, want, m.Payload.Details, data)
	}
}

func TestDecode_sharesMemoryWithTheMessage(t *testing.T) {
	t.Parallel()
	data := goldens(t)["e3"]
	e, err := message.Decode(data)
	require.NoError(t, err)
	require.Equal(t, 2, e.MatchCount())
	raw := e.RawMatches()[1]
	at := bytes.Index(data, raw)
	require.Positive(t, at)
	require.Same(t, &data[at], &raw[0])
	require.Equal(t, len(raw), cap(raw), "appending to a match must not write into the message")
}

func TestDecode_bounds(t *testing.T) {
	t.Parallel()
	nested := func(depth int) []byte {
		return []byte(`{"type":"x","payload":{"a":` + strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2) + `}}`)
	}
	_, err := message.Decode(nested(message.DefaultMaxDepth))
	require.NoError(t, err)
	_, err = message.Decode(nested(message.DefaultMaxDepth + 1))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decode(nested(1_000_000))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decoder{MaxDepth: -1}.Decode(nested(10_000))
	require.NoError(t, err)
	_, err = message.Decoder{MaxDepth: -1}.Decode(nested(10_001))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decoder{MaxDepth: 3}.Decode(nested(4))
	require.EqualError(t, err, "invalid message: payload: is nested deeper than 3 levels (at byte 28)")

	many := func(n int, element string) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	_, err = message.Decode([]byte(`{"matches":` + many(50_000, "{}") + `}`))
	require.NoError(t, err)
	_, err = message.Decode([]byte(`{"matches":` + many(50_001, "{}") + `}`))
	require.EqualError(t, err, "invalid message: matches[50000]: has more than 50000 elements (at byte 150012)")
	_, err = message.ParseMatches([]byte(many(50_001, "{}")))
	require.EqualError(t, err, "invalid message: matches[50000]: has more than 50000 elements (at byte 150001)")
	e, err := message.Decode([]byte(`{"type":"match_updates","payload":{"detailed_changes":` + many(50_001, "{}") + `}}`))
	require.NoError(t, err)
	_, err = message.As[message.MatchUpdates](e)
	require.EqualError(t, err, "invalid message: payload.detailed_changes: has more than 50000 elements")

	large := []byte(`{"type":"x","payload":{}}` + strings.Repeat(" ", message.DefaultMaxBytes))
	_, err = message.Decode(large)
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decoder{MaxBytes: -1}.Decode(large)
	require.NoError(t, err)
	_, err = message.Decoder{MaxBytes: 12}.Decode([]byte(`{"type":"x"}`))
	require.NoError(t, err)
	_, err = message.Decoder{MaxBytes: 11}.Decode([]byte(`{"type":"x"}`))
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decoder{MaxBytes: 10}.Decode([]byte(`{"type":"x"}`))
	require.EqualError(t, err, "invalid message: has 12 bytes, more than the 10 allowed: send less in one message, or raise MaxMessageBytes of publisher and subscriber")
}

func TestDecoder_Zone(t *testing.T) {
	t.Parallel()
	e, err := message.Decoder{Zone: time.UTC}.Decode([]byte(`{"matches":[],"timestamp":"2031-05-06T17:00:00","metadata":{"processing_timestamp":"2031-05-06T17:00:01"}}`))
	require.NoError(t, err)
	require.True(t, e.Timestamp.Uncertain)
	require.True(t, e.Timestamp.Equal(time.Date(2031, 5, 6, 17, 0, 0, 0, time.UTC)))
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	require.True(t, m.Payload.ProcessedAt.Equal(time.Date(2031, 5, 6, 17, 0, 1, 0, time.UTC)))
}

func TestPeekType(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]message.Type{
		`{"message_id":"x","type":"match_updates","payload":{}}`:      message.TypeMatchUpdates,
		` {"new_fields":["type",{"type":"no"}],"type":"system_alert"`: message.TypeSystemAlert,
		`{"event_type":"service.started"}`:                            message.TypeProcessingStatus,
		`{"type":"match_reports"}`:                                    "match_reports",
		`{"payload":{"type":"no"},"type":"system_alert"}`:             "",
		`{"matches":[]}`:             "",
		`{"type":1}`:                 "",
		`{"type":""}`:                "",
		`health_check_1`:             "",
		``:                           "",
		`{`:                          "",
		`{"type`:                     "",
		`{"type":`:                   "",
		`{"type":,"type":"x"}`:       "",
		`{"type":"match_upd`:         "",
		`{"a":[[`:                    "",
		`{"a":"\`:                    "",
		`[{"type":"match_updates"}]`: "",
		`{"a":{"b":"}\"}"},"type":"processing_status","payload":{"a":1}`: message.TypeProcessingStatus,
	} {
		require.Equal(t, want, message.PeekType([]byte(data)), data)
	}
	for name, data := range goldens(t) {
		e, err := message.Decode(data)
		require.NoError(t, err)
		if got := message.PeekType(data); got != "" {
			require.Equal(t, e.Type, got, name)
		}
	}
}

// The short texts of the head, in each spelling that JSON has for them.
func TestDecode_headTexts(t *testing.T) {
	t.Parallel()
	e, err := message.Decode([]byte(`{"message_id":"\u0061-\"1\"","timestamp":"2026\u002d06-01T12:00:00Z","seq":{"epoch":"x\/y","n":7},"type":"system_alert","payload":{}}`))
	require.NoError(t, err)
	require.Equal(t, `a-"1"`, e.ID)
	require.Equal(t, "2026-06-01T12:00:00Z", e.Timestamp.Text)
	require.Equal(t, message.Seq{Epoch: "x/y", N: 7}, e.Seq)

	e, err = message.Decode([]byte(`{"message_id":4711,"timestamp":1780315200,"seq":3,"type":"system_alert","payload":{}}`))
	require.NoError(t, err)
	require.Equal(t, "4711", e.ID)
	require.Equal(t, "1780315200", e.Timestamp.Text)
	require.Zero(t, e.Seq)

	e, err = message.Decode([]byte(`{"message_id":"","timestamp":null,"seq":{"epoch":"x","n":0},"type":"system_alert","payload":{}}`))
	require.NoError(t, err)
	require.True(t, e.IDGenerated)
	require.Empty(t, e.Timestamp.Text)
	require.Zero(t, e.Seq)
}

package message_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// mostInUse is what a message of size bytes may take beside its own bytes.
func mostInUse(size int) int { return 10*size + 1<<20 }

// inUse measures what make keeps of the heap. Others allocate too, so the
// smallest of some tries counts. What make allocates in all is an upper bound
// that costs no collection of garbage; mostly it is enough.
func inUse(most int, make func() any) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.KeepAlive(make())
	runtime.ReadMemStats(&after)
	least := int(after.TotalAlloc - before.TotalAlloc)
	if least <= most {
		return least
	}
	for range 5 {
		runtime.GC()
		runtime.ReadMemStats(&before)
		kept := make()
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		least = min(least, int(after.HeapAlloc)-int(before.HeapAlloc))
		if least <= most {
			break
		}
	}
	return least
}

// views is all that can be made of a message.
func views(data []byte) (kept []any, errs []error) {
	e, err := message.Decode(data)
	kept, errs = append(kept, e), append(errs, err)
	if err != nil {
		return kept, errs
	}
	updates, err := message.As[message.MatchUpdates](e)
	kept, errs = append(kept, updates), append(errs, err)
	status, err := message.As[message.ProcessingStatus](e)
	kept, errs = append(kept, status), append(errs, err)
	alert, err := message.As[message.SystemAlert](e)
	return append(kept, alert), append(errs, err)
}

// full repeats an element in a list of about size bytes.
func full(size int, element string) string {
	return "[" + strings.Repeat(element+",", size/(len(element)+1)) + element + "]"
}

// distinct is an object of about size bytes, of which no two keys are equal.
func distinct(size int) string {
	var b strings.Builder
	b.WriteString(`{"a":1`)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `,"%s":1`, fmt.Sprintf("%x", i))
	}
	return b.String() + "}"
}

func monsters(size int) map[string]string {
	match := func(inside string) string {
		return `{"type":"match_updates","payload":{"matches":[{"matchid":1,` + inside + `}]}}`
	}
	change := func(list string) string {
		return `{"type":"match_updates","payload":{"matches":[],"detailed_changes":` + list + `}}`
	}
	return map[string]string{
		"officials by name":     match(`"referees":` + full(size, `"a"`)),
		"officials":             match(`"domaruppdraglista":` + full(size, `{"id":1}`)),
		"assistants":            match(`"domare":"a","assistant_referees":` + full(size, `"a"`)),
		"officials thrice":      match(`"domaruppdraglista":` + full(size/3, `"a"`) + `,"referees":` + full(size/3, `"a"`) + `,"assistant_referees":` + full(size/3, `"a"`)),
		"officials and nulls":   match(`"referees":` + full(size, `"a",null,null`)),
		"contacts":              match(`"kontaktpersoner":` + full(size, `{"lagid":1}`)),
		"team contacts":         match(`"team_contacts":` + full(size, `{"name":"a"}`)),
		"escaped names":         match(`"referees":` + full(size, `"\/"`)),
		"matches":               `{"type":"match_updates","payload":{"matches":` + full(min(size, 150_000), `{}`) + `}}`,
		"matches of a match":    `{"type":"match_updates","payload":{"matches":` + full(min(size, 900_000), `{"referees":["a"]}`) + `}}`,
		"matches with one each": `{"type":"match_updates","payload":{"matches":` + full(min(size, 700_000), `{"domare":"a"}`) + `}}`,
		"bare numbers":          `{"type":"x","matches":` + full(min(size, 98_000), `1`) + `}`,
		"changes":               change(full(min(size, 150_000), `{}`)),
		"null changes":          change(full(min(size, 200_000), `null`)),
		"stakeholders":          change(`[{"affected_stakeholders":` + full(size, `""`) + `}]`),
		"stakeholders of many":  change(full(min(size, 2_000_000), `{"affected_stakeholders":["",""]}`)),
		"metadata":              `{"type":"match_updates","payload":{"matches":[],"metadata":` + distinct(size) + `}}`,
		"details":               `{"type":"processing_status","payload":{"status":"x","details":` + distinct(size) + `}}`,
		"beside the status":     `{"type":"processing_status","status":"x",` + distinct(size)[1:],
		"details of an alert":   `{"type":"system_alert","payload":{"alert_type":"x","details":` + distinct(size) + `}}`,
		"deep":                  `{"type":"processing_status","payload":{"status":"x","details":{"a":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2) + `}}}`,
		"NaN":                   `{"type":"processing_status","payload":{"status":"x","details":{"a":` + full(size, "NaN") + `}}}`,
		"an ID":                 `{"type":"system_alert","message_id":"` + strings.Repeat("a", size) + `","payload":{"alert_type":"x"}}`,
		"a sequence":            `{"type":"system_alert","message_id":"a","seq":{"epoch":"e","n":1,"junk":"` + strings.Repeat("a", size) + `"},"payload":{"alert_type":"x"}}`,
	}
}

// No message, whatever its size, takes more than ten times its bytes and a
// mebibyte.
func TestAs_takesTenTimesTheMessageAtMost(t *testing.T) {
	for _, size := range []int{10_000, 300_000, 2_000_000} {
		for name, text := range monsters(size) {
			data := []byte(text)
			require.LessOrEqual(t, len(data), message.DefaultMaxBytes, name)
			most := mostInUse(len(data))
			require.LessOrEqual(t, inUse(most, func() any { kept, _ := views(data); return kept }), most, "%s of %d bytes", name, size)
		}
	}
}

// A refusal comes before the memory is taken: the sum of all that is allocated
// on the way is bounded too.
func TestAs_refusesALongListBeforeItIsRead(t *testing.T) {
	data := []byte(monsters(8_000_000)["officials by name"])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, errs := views(data)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, errs[1], message.ErrTooLarge)
	require.EqualError(t, errs[1], "invalid message: payload.matches[0]: has too many elements for its size: send fewer in one message")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*len(data)))
}

// FuzzMemory: whatever the bytes, all views of a message together take no more
// than ten times its size and a mebibyte.
func FuzzMemory(f *testing.F) {
	seed(f)
	for _, text := range monsters(20_000) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		most := mostInUse(len(data))
		require.LessOrEqual(t, inUse(most, func() any { kept, _ := views(data); return kept }), most)
	})
}

// What Validate takes, a reader takes; what no reader takes, Validate refuses.
func TestValidate_hasTheBoundsOfTheReader(t *testing.T) {
	t.Parallel()
	raw := func(texts ...string) message.MatchUpdates {
		var m message.MatchUpdates
		for _, text := range texts {
			m.Matches = append(m.Matches, message.Match{Raw: json.RawMessage(text)})
		}
		return m
	}
	details := func(n int) map[string]json.RawMessage {
		m := make(map[string]json.RawMessage)
		for i := range n {
			m[fmt.Sprintf("%x", i)] = json.RawMessage("1")
		}
		return m
	}
	full50 := make([]message.Match, 50_000)
	for i := range full50 {
		full50[i].ID = message.NewMatchID(int64(i + 1))
	}
	for name, c := range map[string]struct {
		payload message.Payload
		err     string
	}{
		"officials":             {raw(`{"matchid":1,"referees":` + full(100_000, `"a"`) + `}`), "payload.matches[0]: " + dense},
		"officials of FOGIS":    {raw(`{"matchid":1,"domaruppdraglista":` + full(1_000_000, `{"personnamn":"Anna Andersson","domarrollkortnamn":"Dom"}`) + `}`), ""},
		"second match":          {raw(`{"matchid":1}`, `{"matchid":1,"kontaktpersoner":`+full(100_000, `{"lagid":1}`)+`}`), "payload.matches[1]: " + dense},
		"unread lists":          {raw(`{"matchid":1,"nytt":` + full(100_000, `1`) + `}`), ""},
		"a few officials":       {raw(`{"matchid":1,"referees":` + full(4_000, `"a"`) + `}`), ""},
		"stakeholders, raw":     {message.MatchUpdates{Changes: []message.Change{{Raw: json.RawMessage(`{"affected_stakeholders":` + full(2_000_000, `"a"`) + `}`)}}}, ""},
		"stakeholders":          {message.MatchUpdates{Changes: []message.Change{{Affected: make([]string, 500_000)}}}, ""},
		"metadata":              {message.MatchUpdates{Metadata: details(50_000)}, "payload.metadata: " + dense},
		"some metadata":         {message.MatchUpdates{Metadata: details(1_000)}, ""},
		"details":               {message.ProcessingStatus{Status: "x", Details: details(50_000)}, "payload.details: " + dense},
		"details of an alert":   {message.SystemAlert{AlertType: "x", Details: details(50_000)}, "payload.details: " + dense},
		"one match too many":    {message.MatchUpdates{Matches: append(full50[:50_000:50_000], full50[0])}, "payload.matches: has more than 50000 elements"},
		"one change too many":   {message.MatchUpdates{Changes: make([]message.Change, 50_001)}, "payload.detailed_changes: has more than 50000 elements"},
		"as many as may be":     {message.MatchUpdates{Matches: full50, Changes: make([]message.Change, 50_000)}, ""},
		"many officials, typed": {message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1), Officials: make([]message.Official, 20_000), Contacts: make([]message.Contact, 20_000)}}}, ""},
	} {
		err := c.payload.Validate()
		body, encodeErr := message.AppendEncode(nil, fixedHeader, c.payload)
		if c.err != "" {
			require.EqualError(t, err, "invalid message: "+c.err, name)
			require.ErrorIs(t, err, message.ErrTooLarge)
			require.ErrorIs(t, err, message.ErrInvalid)
			require.EqualError(t, encodeErr, "invalid message: "+c.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, encodeErr, name)
		e, err := message.Decoder{MaxBytes: -1}.Decode(body)
		require.NoError(t, err, name)
		switch c.payload.(type) {
		case message.MatchUpdates:
			_, err = message.As[message.MatchUpdates](e)
		case message.ProcessingStatus:
			_, err = message.As[message.ProcessingStatus](e)
		case message.SystemAlert:
			_, err = message.As[message.SystemAlert](e)
		}
		require.NoError(t, err, name)
	}
}

const dense = "has too many elements for its size: send fewer in one message"

func TestErrTooLarge(t *testing.T) {
	t.Parallel()
	_, err := message.Decoder{MaxBytes: 10}.Decode([]byte(`{"type":"x"}`))
	require.ErrorIs(t, err, message.ErrTooLarge)
	require.ErrorIs(t, err, message.ErrInvalid)
	_, err = message.Decode([]byte(`{"matches":` + full(200_000, `{}`) + `}`))
	require.ErrorIs(t, err, message.ErrTooLarge)
	_, err = message.Decode([]byte(`{`))
	require.False(t, errors.Is(err, message.ErrTooLarge))
	_, err = message.ParseMatch([]byte(`{"referees":` + full(100_000, `"a"`) + `}`))
	require.ErrorIs(t, err, message.ErrTooLarge)
	_, err = message.ParseMatches([]byte(`[{},{"referees":` + full(100_000, `"a"`) + `}]`))
	require.EqualError(t, err, "invalid message: matches[1]: "+dense)
}

// The names that a sender chooses are kept longer than its message, so each has
// a bound.
func TestNames_haveABound(t *testing.T) {
	t.Parallel()
	const fault = ": is longer than 256 bytes"
	good, bad := strings.Repeat("a", 256), strings.Repeat("a", 257)
	for path, data := range map[string]string{
		"message_id":             `{"type":"x","message_id":"%s"}`,
		"source":                 `{"type":"x","source":"%s"}`,
		"version":                `{"type":"x","version":"%s"}`,
		"timestamp":              `{"type":"x","timestamp":"%s"}`,
		"schema_version":         `{"type":"x","schema_version":"%s"}`,
		"payload.schema_version": `{"type":"match_updates","payload":{"schema_version":"%s"}}`,
		"seq.epoch":              `{"type":"x","seq":{"epoch":"%s","n":1}}`,
		"after":                  `{"type":"x","after":"%s"}`,
		"type":                   `{"type":"%s"}`,
		"event_type":             `{"event_type":"%s"}`,
	} {
		read := func(name string) error {
			_, errs := views([]byte(fmt.Sprintf(data, name)))
			return errs[0]
		}
		require.NoError(t, read(good), path)
		require.NoError(t, read(strings.Repeat(`\u00e5`, 128)), path)
		require.EqualError(t, read(bad), "invalid message: "+path+fault)
		require.EqualError(t, read(strings.Repeat(`\u00e5`, 129)), "invalid message: "+path+fault)
	}
	status := message.ProcessingStatus{Status: "x"}
	for path, send := range map[string]func(name string) (message.Header, message.Payload){
		"message_id": func(name string) (message.Header, message.Payload) { return message.Header{ID: name}, status },
		"source":     func(name string) (message.Header, message.Payload) { return message.Header{Source: name}, status },
		"seq.epoch": func(name string) (message.Header, message.Payload) {
			return message.Header{Seq: message.Seq{Epoch: name, N: 1}}, status
		},
		"type": func(name string) (message.Header, message.Payload) { return message.Header{}, named(name) },
	} {
		h, p := send(good)
		_, err := message.AppendEncode(nil, h, p)
		require.NoError(t, err, path)
		h, p = send(bad)
		_, err = message.AppendEncode(nil, h, p)
		require.EqualError(t, err, "invalid message: "+path+fault)
	}
}

type named string

func (n named) MessageType() message.Type { return message.Type(n) }
func (named) Validate() error             { return nil }
func (named) MarshalJSON() ([]byte, error) {
	return []byte("{}"), nil
}

func TestValidate_refusesYearsThatNobodyReads(t *testing.T) {
	t.Parallel()
	const fault = ": the year lies outside 1 to 9999"
	year := func(y int) time.Time { return time.Date(y, 6, 1, 12, 0, 0, 0, time.UTC) }
	sends := map[string]func(time.Time) message.MatchUpdates{
		"payload.matches[0].tid": func(at time.Time) message.MatchUpdates {
			return message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1), Kickoff: at}}}
		},
		"payload.detailed_changes[0].timestamp": func(at time.Time) message.MatchUpdates {
			return message.MatchUpdates{Changes: []message.Change{{Timestamp: message.Timestamp{Time: at}}}}
		},
		"payload.metadata.processing_timestamp": func(at time.Time) message.MatchUpdates {
			return message.MatchUpdates{ProcessedAt: message.Timestamp{Time: at}}
		},
	}
	for path, send := range sends {
		for _, bad := range []time.Time{year(10_000), year(0), year(-5), year(292_000_000), time.Time{}.Add(1)} {
			require.EqualError(t, send(bad).Validate(), "invalid message: "+path+fault, "%v", bad)
		}
		for _, good := range []time.Time{{}, year(1), year(2031), year(9999)} {
			require.NoError(t, send(good).Validate(), path)
			body, err := message.AppendEncode(nil, fixedHeader, send(good))
			require.NoError(t, err)
			e, err := message.Decode(body)
			require.NoError(t, err)
			m, err := message.As[message.MatchUpdates](e)
			require.NoError(t, err)
			got := m.Payload.ProcessedAt.Time
			if len(m.Payload.Matches) > 0 {
				got = m.Payload.Matches[0].Kickoff
			}
			if len(m.Payload.Changes) > 0 {
				got = m.Payload.Changes[0].Timestamp.Time
			}
			if !good.IsZero() {
				require.True(t, good.Equal(got), "%s: %v %v", path, good, got)
			}
		}
	}
	_, err := message.AppendEncode(nil, message.Header{Timestamp: message.Timestamp{Time: year(10_000)}}, message.MatchUpdates{})
	require.EqualError(t, err, "invalid message: timestamp"+fault)
}

type notes struct {
	Title string            `json:"title"`
	By    map[string]string `json:"by,omitempty"`
	Raw   json.RawMessage   `json:"raw,omitempty"`
	Any   any               `json:"any,omitempty"`
}

func (notes) MessageType() message.Type { return "notes" }
func (notes) Validate() error           { return nil }

func TestAppendEncode_refusesInvalidUTF8InAPayloadOfOnesOwn(t *testing.T) {
	t.Parallel()
	for _, p := range []notes{
		{Title: "\xff"}, {By: map[string]string{"\xff": "a"}}, {By: map[string]string{"a": "\xff"}},
		{Raw: json.RawMessage("\"\xff\"")}, {Any: []any{map[string]any{"a": "\xff"}}}, {Any: &notes{Title: "a\xffb"}},
	} {
		_, err := message.AppendEncode(nil, fixedHeader, p)
		require.ErrorIs(t, err, message.ErrInvalid)
		require.ErrorContains(t, err, "invalid message: payload")
		require.ErrorContains(t, err, "holds invalid UTF-8")
	}
	for _, p := range []notes{{Title: "\ufffd"}, {Title: "å"}, {Raw: json.RawMessage(`"\ufffd"`)}} {
		_, err := message.AppendEncode(nil, fixedHeader, p)
		require.NoError(t, err)
	}
}

package message_test

import (
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// Spellings that have one meaning only.
func TestParseMatch_readsTimesAndFlagsAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	nine, seven := "2031-05-06 09:00", "2031-05-06 19:00"
	for raw, want := range map[string]string{
		`{"datum":"2031-05-06","tid":"9:00"}`:                  nine,
		`{"datum":"2031-05-06","tid":"19.00"}`:                 seven,
		`{"speldatum":"2031-05-06","avsparkstid":"9.00"}`:      nine,
		`{"date":"2031-05-06","time":"19:00"}`:                 seven,
		`{"tidsangivelse":"2031-05-06, 9:00"}`:                 nine,
		`{"formatted_datetime":"2031-05-06 19.00"}`:            seven,
		`{"tid":1935846000000}`:                                "2031-05-06 17:00",
		`{"tid":"1935846000000"}`:                              "2031-05-06 17:00",
		`{"tid":1935846000}`:                                   "", // seconds or milliseconds
		`{"datum":"2031-05-06","tid":"19.5"}`:                  "",
		`{"datum":"2031-05-06","tid":"119:00"}`:                "",
		`{"datum":"2031-05-06","tid":"25.00"}`:                 "",
		`{"tid":"/Date(1935846000000)/","avsparkstid":"9:00"}`: "2031-05-06 17:00",
		`{"datum":"2031-05-06","tid":"","time":"9:00"}`:        nine,
	} {
		m, err := message.ParseMatch([]byte(raw))
		require.NoError(t, err)
		got := ""
		if !m.Kickoff.IsZero() {
			got = m.Kickoff.Format("2006-01-02 15:04")
		}
		require.Equal(t, want, got, raw)
	}
	for raw, want := range map[string]bool{
		`true`: true, `"true"`: true, `"True"`: true, `1`: true, `"1"`: true,
		`false`: false, `"false"`: false, `0`: false, `"0"`: false, `""`: false, `null`: false, `10`: false, `"no"`: false, `[1]`: false,
	} {
		m, err := message.ParseMatch([]byte(`{"installd":` + raw + `}`))
		require.NoError(t, err)
		require.Equal(t, want, m.Cancelled, raw)
	}
}

func TestDecode_saysThatAMessageIsUTF16(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"\xff\xfe{\x00}\x00", "\xfe\xff\x00{\x00}", "{\x00}\x00", "\x00{\x00}"} {
		_, err := message.Decode([]byte(data))
		require.EqualError(t, err, "invalid message: is UTF-16: send UTF-8")
	}
}

// A message of two types would be another one to a reader that stops at the
// first.
func TestPeekType_readsWhatDecodeReads(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`{"type":"system_alert","type":"match_updates","payload":{"matches":[]}}`,
		`{"type":"system_alert","matches":[],"typ\u0065":"match_updates"}`,
		`{"type":"system_alert","matches":[],"type":null}`,
		`{"type":null,"matches":[],"type":"x"}`,
	} {
		_, err := message.Decode([]byte(data))
		require.EqualError(t, err, "invalid message: type: stands twice, with different values", data)
	}
	for _, data := range []string{
		`{"type":"match_updates","type":"match_updates","payload":{"matches":[]}}`,
		`{"event_type":"system.error","type":"match_updates","payload":{"matches":[]}}`,
		`{"event_type":"system.error","data":{},"type":"processing_status"}`,
		`{"event_type":"system.error","event_type":"service.started"}`,
		`{"event_type":"system.error"}`,
		`{"type":"","event_type":"system.error"}`,
	} {
		e, err := message.Decode([]byte(data))
		require.NoError(t, err, data)
		if peeked := message.PeekType([]byte(data)); peeked != "" {
			require.Equal(t, e.Type, peeked, data)
		}
	}
}

// The flag on the wire is the publisher's rule, priority alone; what a handler
// acts on is the wider one.
func TestMatchUpdates_HighPriority_isWrittenByPriority(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change     message.Change
		sent, high bool
	}{
		{message.Change{Category: message.CategoryVenueChange, Priority: message.PriorityMedium}, false, true},
		{message.Change{Category: message.CategoryPostponement, Priority: message.PriorityMedium}, false, true},
		{message.Change{Category: message.CategoryInterruption, Priority: message.PriorityMedium}, false, true},
		{message.Change{Category: message.CategoryTeamChange, Priority: message.PriorityMedium}, false, false},
		{message.Change{Category: message.CategoryTeamChange, Priority: message.PriorityCritical}, true, true},
		{message.Change{Category: message.CategoryVenueChange, Priority: message.PriorityHigh}, true, true},
		{message.Change{Raw: []byte(`{"category":"venue_change","priority":"high"}`)}, true, true},
		{message.Change{Raw: []byte(`{"category":"venue_change","priority":"medium"}`)}, false, true},
	} {
		m := message.MatchUpdates{Changes: []message.Change{c.change}}
		require.Equal(t, c.high, m.HighPriority())
		body, err := message.AppendEncode(nil, message.Header{Timestamp: message.Timestamp{Time: time.Unix(1, 0)}}, m)
		require.NoError(t, err)
		e, err := message.Decode(body)
		require.NoError(t, err)
		read, err := message.As[message.MatchUpdates](e)
		require.NoError(t, err)
		require.Equal(t, c.sent, read.Payload.HighPriorityFlag)
		require.Equal(t, c.high, read.Payload.HighPriority())
	}
	m := message.MatchUpdates{HighPriorityFlag: true}
	body, err := message.AppendEncode(nil, message.Header{}, m)
	require.NoError(t, err)
	require.Contains(t, string(body), `"high_priority":true`)
}

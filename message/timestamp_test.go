package message_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTimestamp_everySpelling(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2031-05-06T15:00:00.123456Z":         "2031-05-06T15:00:00.123456Z",
		"2031-05-06T15:00:00Z":                "2031-05-06T15:00:00Z",
		"2031-05-06T15:00:00.000Z":            "2031-05-06T15:00:00Z",
		"2031-05-06T15:00:00.123450+00:00":    "2031-05-06T15:00:00.12345Z",
		"2031-05-06T17:00:00+02:00":           "2031-05-06T15:00:00Z",
		"2031-05-06T10:00:00-0500":            "2031-05-06T15:00:00Z",
		"2031-05-06T17:00+02":                 "2031-05-06T15:00:00Z",
		"2031-05-06t15:00:00.1234567891z":     "2031-05-06T15:00:00.123456789Z",
		"2031-05-06 15:00:00,5Z":              "2031-05-06T15:00:00.5Z",
		"2031-05-06T17:00:00.123456":          "2031-05-06T15:00:00.123456Z?",
		"2031-01-06T17:00:00":                 "2031-01-06T16:00:00Z?",
		"2031-01-06 17:00":                    "2031-01-06T16:00:00Z?",
		"":                                    "",
		"yesterday":                           "",
		"2031-05-06":                          "",
		"2031-02-29T15:00:00Z":                "",
		"2031-13-01T15:00:00Z":                "",
		"2031-05-06T24:00:00Z":                "",
		"2031-05-06T15:60:00Z":                "",
		"2031-05-06T15:00:60Z":                "",
		"2031-05-06T15:00:00.Z":               "",
		"2031-05-06T15:00:00+2:00":            "",
		"2031-05-06T15:00:00+25:00":           "",
		"2031-05-06T15:00:00UTC":              "",
		"2031-05-06X15:00:00Z":                "",
		"+031-05-06T15:00:00Z":                "",
		"2031-05-06T15:00:00.123456Z and yet": "",
		"1935846000":                          "",
		"0001-01-01T00:00:00+02:00":           "",
		"9999-12-31T23:59:59-02:00":           "",
		"9999-12-31T23:59:59Z":                "9999-12-31T23:59:59Z",
	} {
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		e, err := message.Decode([]byte(`{"type":"x","timestamp":` + string(quoted) + `}`))
		require.NoError(t, err)
		require.Equal(t, text, e.Timestamp.Text)
		got := ""
		if !e.Timestamp.IsZero() {
			got = e.Timestamp.UTC().Format(time.RFC3339Nano)
		}
		if e.Timestamp.Uncertain {
			got += "?"
		}
		require.Equal(t, want, got, text)
	}
}

// What is written is what AppendFormat would write, for every time.
func TestAppendEncode_timestamp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62_000_000_000, 253_402_300_799).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		body, err := message.AppendEncode(nil, message.Header{ID: "1", Timestamp: message.Timestamp{Time: at}}, message.ProcessingStatus{Status: "started"})
		require.NoError(t, err)
		var envelope struct{ Timestamp string }
		require.NoError(t, json.Unmarshal(body, &envelope))
		require.Equal(t, at.UTC().Format("2006-01-02T15:04:05.000000Z"), envelope.Timestamp)
	})
}

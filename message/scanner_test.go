package message_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// Every byte at every place of a string, in keys and in values: the verdict is
// that of encoding/json, but for invalid UTF-8.
func TestScanner_everyByteInEveryPlace(t *testing.T) {
	t.Parallel()
	for place := range 20 {
		for c := range 256 {
			text := []byte(strings.Repeat("x", 20))
			text[place] = byte(c)
			for _, data := range [][]byte{
				[]byte(`{"type":"x","payload":{"a":"` + string(text) + `"}}`),
				[]byte(`{"type":"x","payload":{"` + string(text) + `":1}}`),
			} {
				e, err := message.Decode(data)
				require.Equal(t, json.Valid(data) && utf8.Valid(data), err == nil, "%q: %v", data, err)
				if err == nil {
					require.True(t, json.Valid(e.Payload))
				}
			}
		}
	}
}

// Characters of every length, whole, cut off, overlong and out of range.
func TestScanner_utf8(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"å", "€", "😀", "ååååååååå", "xxxxxxå", "xxxxxxxå", "\ufffd", "\u2028", "\x7f",
		"\xc3", "\xc3x", "\xe2\x82", "\xf0\x9f\x98", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\x80", "\xbf", "\xfe", "\xff",
	} {
		for pad := range 9 {
			data := []byte(`{"type":"x","payload":{"a":"` + strings.Repeat("x", pad) + text + `y"}}`)
			_, err := message.Decode(data)
			require.Equal(t, utf8.Valid(data), err == nil, "%q: %v", data, err)
		}
	}
}

func TestScanner_depthOfEveryContainer(t *testing.T) {
	t.Parallel()
	for name, around := range map[string][2]string{
		"object":  {`{"type":"x","payload":{"a":{"b":`, `}}}`},
		"list":    {`{"type":"x","payload":{"a":[`, `]}}`},
		"matches": {`{"type":"x","payload":{"matches":[`, `]}}`},
		"data":    {`{"event_type":"x","data":[[`, `]]}`},
		"top":     {`{"type":"x","matches":[[`, `]]}`},
		"payload": {`{"type":"x","a":1,"payload":{"a":[`, `]}}`},
	} {
		data := []byte(around[0] + "1" + around[1])
		_, err := message.Decoder{MaxDepth: 3}.Decode(data)
		require.NoError(t, err, name)
		_, err = message.Decoder{MaxDepth: 2}.Decode(data)
		require.ErrorContains(t, err, "is nested deeper than 2 levels", name)
		_, err = message.Decoder{MaxDepth: 1}.Decode(data)
		require.ErrorContains(t, err, "is nested deeper than 1 levels", name)
	}
}

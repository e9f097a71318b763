package message_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

func seed(f *testing.F) {
	f.Helper()
	for _, data := range goldens(f) {
		f.Add(data)
	}
	for _, name := range []string{"fogis", "cancelled", "simple"} {
		f.Add(example(f, name))
	}
}

// FuzzDecode: whatever the bytes, Decode refuses them by name or gives a
// message that comes back equal when it is encoded and decoded again.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Add([]byte(`health_check_1`))
	f.Add([]byte(`{"test":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := string(data)
		checkStable(t, data)
		require.Equal(t, kept, string(data), "Decode wrote into the message")
		peeked := message.PeekType(data)
		e, err := message.Decode(data)
		if err != nil {
			return
		}
		if peeked != "" && !strings.Contains(kept, `\`) && strings.Count(kept, `type"`) == 1 {
			require.Equal(t, e.Type, peeked)
		}
		if e.Type != message.TypeMatchUpdates {
			return
		}
		part, err := e.AppendPart(nil, message.Part{N: 1, Of: 1}, e.RawMatches())
		require.NoError(t, err)
		split, err := message.Decode(part)
		require.NoError(t, err, "%q", part)
		require.Equal(t, texts(e.RawMatches()), texts(split.RawMatches()))
	})
}

// FuzzScanner: the scanner's verdict and the values it reads are those of
// encoding/json, but for the leniencies and the strictness that Decode
// documents: NaN and Infinity, UTF-8, depth.
func FuzzScanner(f *testing.F) {
	seed(f)
	for _, text := range []string{`[1,-0,1.5e-7,"\u00e5\ud83d\ude00\ud83d"]`, `"åäö"`, `{"a":{"a":[[],{}]},"a":null}`, `NaN`, "\"\xff\"", ` 1 `, `01`, `"\x"`, `[[[[`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wrapped := append(append([]byte(`{"type":"x","source":"s","payload":{"v":`), data...), `}}`...)
		e, err := message.Decode(wrapped)
		valid := json.Valid(wrapped)
		switch {
		case err == nil && !valid:
			require.True(t, e.Sanitized, "Decode takes what encoding/json refuses: %q", wrapped)
			require.True(t, json.Valid(e.Payload))
			return
		case errors.Is(err, message.ErrInvalid) && valid:
			allowed := !utf8.Valid(wrapped) || strings.Contains(err.Error(), "nested deeper") || saysMore(wrapped)
			require.True(t, allowed, "Decode refuses what encoding/json takes: %v: %q", err, wrapped)
			return
		case err != nil:
			return
		}
		var want struct {
			Payload json.RawMessage `json:"payload"`
			Source  json.RawMessage `json:"source"`
		}
		if saysMore(wrapped) {
			return // encoding/json would also match keys in another case
		}
		require.NoError(t, json.Unmarshal(wrapped, &want))
		require.Equal(t, string(want.Payload), string(e.Payload))
		require.Equal(t, "s", e.Source)

		// The text of a string, as encoding/json reads it.
		var text string
		if len(data) > 0 && json.Unmarshal(data, &text) == nil {
			m, err := message.ParseMatch([]byte(`{"lag1namn":` + string(data) + `}`))
			require.NoError(t, err)
			if strings.Contains(string(data), `"`) {
				require.Equal(t, text, m.Home.Name)
			}
		}
	})
}

// saysMore tells whether the fuzzed value closed the payload around it and
// went on with members of the envelope.
func saysMore(wrapped []byte) bool {
	var payload struct {
		Type    json.RawMessage            `json:"type"`
		Payload map[string]json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(wrapped, &payload); err != nil {
		return true
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(wrapped, &top); err != nil {
		return true
	}
	return len(top) != 3 || len(payload.Payload) != 1 || string(payload.Type) != `"x"`
}

// FuzzParseMatch: a match is refused by name or kept byte for byte, and what
// the view shows of it can be written and read again.
func FuzzParseMatch(f *testing.F) {
	seed(f)
	f.Add([]byte(`{"matchid":1,"tid":"19:00","datum":"2025-08-23","teams":"a vs b","referees":["x"]}`))
	f.Add([]byte(`{"match_id":"x","status":{"cancelled":true},"venue":{"coordinates":{"latitude":NaN}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := message.ParseMatch(data)
		if err != nil {
			require.ErrorIs(t, err, message.ErrInvalid)
			return
		}
		require.True(t, json.Valid(m.Raw))
		if json.Valid(data) {
			require.Equal(t, strings.Trim(string(data), " \t\r\n"), string(m.Raw))
		}
		again, err := message.ParseMatch(m.Raw)
		require.NoError(t, err)
		require.Equal(t, m, again)
		checkStableView(t, m)
	})
}

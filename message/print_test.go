package message_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// TestPrint_noPersonalData prints and logs every type that holds people, in
// every way, and looks for anything that is about them.
func TestPrint_noPersonalData(t *testing.T) {
	t.Parallel()
	personal := regexp.MustCompile(`070-174|@example|Åke|Märta|Göran|Björn|Sölve|Påhitt|vägen|gatan|999 0|91001|Ängsvik\b`)
	for name, data := range goldens(t) {
		e, err := message.Decode(data)
		require.NoError(t, err)
		values := []any{e, *e, message.Outgoing{ID: e.ID, Type: e.Type, Body: data}}
		switch e.Type {
		case message.TypeMatchUpdates:
			m, err := message.As[message.MatchUpdates](e)
			require.NoError(t, err)
			values = append(values, m, &m, m.Payload, &m.Payload)
			for i := range m.Payload.Matches {
				match := m.Payload.Matches[i]
				values = append(values, match, &match)
				for j := range match.Officials {
					values = append(values, match.Officials[j], &match.Officials[j])
				}
				for j := range match.Contacts {
					values = append(values, match.Contacts[j], &match.Contacts[j])
				}
			}
			for i := range m.Payload.Changes {
				values = append(values, m.Payload.Changes[i], &m.Payload.Changes[i])
			}
		case message.TypeProcessingStatus:
			m, err := message.As[message.ProcessingStatus](e)
			require.NoError(t, err)
			m.Payload.Details = map[string]json.RawMessage{"error_message": json.RawMessage(`"no answer from ake@example.com"`)}
			values = append(values, m, &m, m.Payload, &m.Payload)
		case message.TypeSystemAlert:
			m, err := message.As[message.SystemAlert](e)
			require.NoError(t, err)
			m.Payload.Message = "no answer from ake@example.com"
			values = append(values, m, &m, m.Payload, &m.Payload)
		}
		for _, v := range values {
			// All verbs but %p, which asks no method and which go vet refuses
			// for a struct.
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%e", "%10.3v", "%T"} {
				text := fmt.Sprintf(verb, v)
				require.NotRegexp(t, personal, text, "%s %s %T", name, verb, v)
				require.Less(t, len(text), 200, "%s %s %T: the bytes of a message in another spelling?", name, verb, v)
				text = fmt.Sprintf(verb, []any{v, map[string]any{"k": v}, struct{ V any }{v}})
				require.NotRegexp(t, personal, text, "%s %s in containers %T", name, verb, v)
			}
			require.NotRegexp(t, personal, fmt.Sprint(v)+fmt.Sprintln(v))
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v, slog.Group("g", "v", v))
			slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v, "list", []any{v})
			require.NotRegexp(t, personal, b.String(), "%s %T", name, v)
			require.NotEmpty(t, fmt.Sprint(v))
		}
	}
}

func TestPrint_whatIsShown(t *testing.T) {
	t.Parallel()
	e, err := message.Decode(goldens(t)["e3"])
	require.NoError(t, err)
	m, err := message.As[message.MatchUpdates](e)
	require.NoError(t, err)
	require.Equal(t, "match_updates 00000000-0000-4000-8000-000000000030 from match-list-processor", fmt.Sprint(e))
	require.Equal(t, fmt.Sprint(e), fmt.Sprintf("%+v", m))
	require.Equal(t, "match updates (matches: 2, changes: 2, high priority: true)", fmt.Sprintf("%#v", m.Payload))
	require.Equal(t, "match 6200001 (000402011, officials: 3, contacts: 2)", fmt.Sprint(m.Payload.Matches[0]))
	require.Equal(t, "[official (Dom) official (AD1) official (AD2)]", fmt.Sprint(m.Payload.Matches[0].Officials))
	require.Equal(t, "contact (Ängsviks IF)", fmt.Sprint(m.Payload.Matches[0].Contacts[0]))
	require.Equal(t, "change of match 6200001 (referee_change, high, domaruppdraglista)", fmt.Sprint(m.Payload.Changes[0]))
	require.Equal(t, "official (Huvuddomare)", message.Official{Role: "Huvuddomare"}.String())
	require.Equal(t, "processing status (started)", message.ProcessingStatus{Status: "started"}.String())
	require.Equal(t, "system alert (error, high)", message.SystemAlert{AlertType: "error", Severity: "high"}.String())
	require.Equal(t, "system_alert x", message.Outgoing{ID: "x", Type: message.TypeSystemAlert}.String())

	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).Info("got", "message", m, "outgoing", message.Outgoing{ID: "x", Type: "y", Body: []byte("z")})
	require.JSONEq(t, `{"level":"INFO","msg":"got","message":{"type":"match_updates","message_id":"00000000-0000-4000-8000-000000000030","source":"match-list-processor","channel":""},"outgoing":{"type":"y","message_id":"x"}}`, b.String())
}

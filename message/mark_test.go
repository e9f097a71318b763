package message_test

import (
	"testing"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

func TestOutgoing_marks(t *testing.T) {
	t.Parallel()
	encoded := func(stream, repeat bool) message.Outgoing {
		h := fixedHeader
		h.Stream, h.Repeat = stream, repeat
		return message.Outgoing{ID: h.ID, Type: message.TypeProcessingStatus, Body: encode(t, h, message.ProcessingStatus{Status: "started"})}
	}
	plain, stream, repeat := encoded(false, false), encoded(true, false), encoded(false, true)
	require.Equal(t, `{"stream":true,"message_id":`, string(stream.Body[:28]))
	require.Equal(t, `{"repeat":true,"message_id":`, string(repeat.Body[:28]))

	after := plain.WithAfter("1764268800000-7")
	require.Equal(t, `{"after":"1764268800000-7","message_id":`, string(after.Body[:40]))
	later := after.WithAfter("1764268800000-12")
	require.Equal(t, `{"after":"1764268800000-12","message_id":`, string(later.Body[:41]))

	for _, m := range []message.Outgoing{plain, stream, repeat, after} {
		before := string(m.Body)
		require.Equal(t, string(plain.Body), string(m.WithoutStream().Body))
		require.Equal(t, string(stream.Body), string(m.WithStream().Body))
		require.Equal(t, string(repeat.Body), string(m.WithRepeat().Body))
		require.Equal(t, string(after.Body), string(m.WithAfter("1764268800000-7").Body))
		require.Equal(t, before, string(m.Body), "the giver's body stays")

		e, err := message.Decode(m.Body)
		require.NoError(t, err)
		require.Equal(t, m.ID, e.ID)
		require.Equal(t, string(m.Body) == string(stream.Body), e.Stream)
		require.Equal(t, string(m.Body) == string(repeat.Body), e.Repeat)
		if string(m.Body) == string(after.Body) {
			require.Equal(t, "1764268800000-7", e.After)
		} else {
			require.Empty(t, e.After)
		}
	}
	require.Same(t, &stream.Body[0], &stream.WithStream().Body[0], "nothing to change, nothing to copy")
}

func TestOutgoing_marks_ofABodyThatIsNone(t *testing.T) {
	t.Parallel()
	require.Empty(t, message.Outgoing{}.WithStream().Body)
	for body, bare := range map[string]string{`{"after":"1-0"`: `{"after":"1-0"`, `{"after":"`: `{"after":"`, `{"after":"1-0",`: `{`} {
		require.Equal(t, bare, string(message.Outgoing{Body: []byte(body)}.WithoutStream().Body))
	}
	require.Equal(t, "{}", string(message.Outgoing{Body: []byte(`{}`)}.WithoutStream().Body))
}

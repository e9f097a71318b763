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

	for _, m := range []message.Outgoing{plain, stream, repeat} {
		before := string(m.Body)
		require.Equal(t, string(plain.Body), string(m.WithoutStream().Body))
		require.Equal(t, string(stream.Body), string(m.WithStream().Body))
		require.Equal(t, string(repeat.Body), string(m.WithRepeat().Body))
		require.Equal(t, before, string(m.Body), "the giver's body stays")

		e, err := message.Decode(m.Body)
		require.NoError(t, err)
		require.Equal(t, m.ID, e.ID)
		require.Equal(t, string(m.Body) == string(stream.Body), e.Stream)
		require.Equal(t, string(m.Body) == string(repeat.Body), e.Repeat)
	}
	require.Same(t, &stream.Body[0], &stream.WithStream().Body[0], "nothing to change, nothing to copy")
}

func TestOutgoing_marks_ofABodyThatIsNone(t *testing.T) {
	t.Parallel()
	require.Empty(t, message.Outgoing{}.WithStream().Body)
	require.Equal(t, "{}", string(message.Outgoing{Body: []byte(`{}`)}.WithoutStream().Body))
}

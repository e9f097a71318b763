package message_test

import (
	"encoding/json"
	"errors"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/stretchr/testify/require"
)

// checkStable decodes data and, if it is a message, encodes it, decodes that
// and demands the same values and the same raw matches.
func checkStable(t require.TestingT, data []byte) {
	e, err := message.Decode(data)
	if err != nil {
		require.True(t, errors.Is(err, message.ErrInvalid) || errors.Is(err, message.ErrProbe), "%v", err)
		require.Nil(t, e)
		return
	}
	require.NotEmpty(t, e.ID)
	require.NotEmpty(t, e.Type)
	require.Len(t, e.RawMatches(), e.MatchCount())
	require.True(t, json.Valid(e.Payload), "%q", e.Payload)
	switch e.Type {
	case message.TypeMatchUpdates:
		checkStableUpdates(t, e)
	case message.TypeProcessingStatus:
		checkStablePayload[message.ProcessingStatus](t, e)
	case message.TypeSystemAlert:
		checkStablePayload[message.SystemAlert](t, e)
	}
}

// reencode sends a decoded message on and decodes it again; ok tells that it
// may be sent.
func reencode(t require.TestingT, h message.Header, p message.Payload) (*message.Envelope, bool) {
	body, err := message.AppendEncode(nil, h, p)
	if err != nil {
		require.ErrorIs(t, err, message.ErrInvalid)
		require.Error(t, p.Validate())
		return nil, false
	}
	require.NoError(t, p.Validate())
	require.True(t, json.Valid(body), "%q", body)
	e, err := message.Decode(body)
	require.NoError(t, err, "%q", body)
	require.False(t, e.Sanitized)
	require.Equal(t, h.ID, e.ID)
	require.Equal(t, h.Source, e.Source)
	require.Equal(t, h.Type, e.Type)
	require.Equal(t, h.Seq, e.Seq)
	require.Equal(t, h.Part, e.Part)
	require.Equal(t, "2.0", e.SchemaVersion)
	require.Equal(t, "1.0", e.Version)
	if h.Timestamp.Year() > 0 && !h.Timestamp.IsZero() {
		require.Equal(t, h.Timestamp.UnixMicro(), e.Timestamp.UnixMicro())
	}
	return e, true
}

func checkStablePayload[P message.Payload](t require.TestingT, e *message.Envelope) {
	first, err := message.As[P](e)
	if err != nil {
		require.ErrorIs(t, err, message.ErrInvalid)
		return
	}
	again, ok := reencode(t, first.Header, first.Payload)
	if !ok {
		return
	}
	second, err := message.As[P](again)
	require.NoError(t, err)
	if a, ok := any(&first.Payload).(*message.SystemAlert); ok && a.Severity == "" {
		a.Severity = "info"
	}
	require.Equal(t, first.Payload, second.Payload)
}

func checkStableUpdates(t require.TestingT, e *message.Envelope) {
	first, err := message.As[message.MatchUpdates](e)
	if err != nil {
		require.ErrorIs(t, err, message.ErrInvalid)
		return
	}
	require.Len(t, first.Payload.Matches, e.MatchCount())
	again, ok := reencode(t, first.Header, first.Payload)
	if !ok {
		return
	}
	require.Equal(t, texts(e.RawMatches()), texts(again.RawMatches()))
	second, err := message.As[message.MatchUpdates](again)
	require.NoError(t, err)
	a, b := &first.Payload, &second.Payload
	require.Equal(t, a.Matches, b.Matches)
	require.Equal(t, a.Changes, b.Changes)
	require.Equal(t, a.HasChanges == nil || *a.HasChanges, *b.HasChanges)
	require.Equal(t, a.HighPriority(), b.HighPriority())
	urgent := a.HighPriorityFlag
	for _, c := range a.Changes {
		urgent = urgent || c.Priority == message.PriorityCritical || c.Priority == message.PriorityHigh
	}
	require.Equal(t, urgent, b.HighPriorityFlag)
	require.Equal(t, a.Summary, b.Summary)
	require.Equal(t, a.Metadata, b.Metadata)
	if !a.ProcessedAt.IsZero() {
		require.Equal(t, a.ProcessedAt.UnixMicro(), b.ProcessedAt.UnixMicro())
	}
	// What the view says of a match survives without the raw JSON too.
	for i := range a.Matches {
		checkStableView(t, a.Matches[i])
	}
}

// checkStableView writes a match from its view alone and reads it back.
func checkStableView(t require.TestingT, m message.Match) {
	m.Raw = nil
	body, err := message.AppendEncode(nil, message.Header{}, message.MatchUpdates{Matches: []message.Match{m}})
	if err != nil {
		require.ErrorIs(t, err, message.ErrInvalid)
		return
	}
	e, err := message.Decode(body)
	require.NoError(t, err)
	back, err := message.ParseMatch(e.RawMatches()[0])
	require.NoError(t, err)
	back.Raw = nil
	require.True(t, m.Kickoff.Equal(back.Kickoff), "%v %v", m.Kickoff, back.Kickoff)
	back.Kickoff = m.Kickoff
	require.Equal(t, m, back)
}

func texts(raws []json.RawMessage) []string {
	list := make([]string, len(raws))
	for i, raw := range raws {
		list[i] = string(raw)
	}
	return list
}

package message_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// snapshot is 12 matches as FOGIS has them, about 65 KB with their envelope.
func snapshot(tb testing.TB) (matches []json.RawMessage, envelope []byte) {
	tb.Helper()
	raw, err := os.ReadFile("testdata/matches/fogis.json")
	if err != nil {
		tb.Fatal(err)
	}
	raw = bytes.TrimSpace(raw)
	m := message.MatchUpdates{}
	for i := range 12 {
		one := json.RawMessage(strings.ReplaceAll(string(raw), "6200001", fmt.Sprint(6200001+i)))
		matches = append(matches, one)
		m.Matches = append(m.Matches, message.Match{Raw: one})
	}
	h := message.Header{ID: "00000000-0000-4000-8000-000000000001", Source: "match-list-processor",
		Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)}}
	envelope, err = message.AppendEncode(nil, h, m)
	if err != nil {
		tb.Fatal(err)
	}
	return matches, envelope
}

const statusLine = `{"message_id": "00000000-0000-4000-8000-000000000002", "timestamp": "2031-05-06T15:00:00.123456Z", "source": "match-list-processor", "version": "1.0", "type": "processing_status", "payload": {"status": "completed", "timestamp": "2031-05-06T15:00:00.123460Z", "details": {"matches_processed": 12, "changes_detected": true, "processor_type": "UnifiedMatchProcessor"}}}`

// What a service would write by hand with encoding/json.
type (
	handEnvelope struct {
		MessageID string          `json:"message_id"`
		Timestamp string          `json:"timestamp"`
		Source    string          `json:"source"`
		Version   string          `json:"version"`
		Type      string          `json:"type"`
		Payload   json.RawMessage `json:"payload"`
	}
	handSnapshot struct {
		MessageID string `json:"message_id"`
		Timestamp string `json:"timestamp"`
		Source    string `json:"source"`
		Version   string `json:"version"`
		Type      string `json:"type"`
		Payload   struct {
			Matches []handMatch `json:"matches"`
		} `json:"payload"`
	}
	handMatch struct {
		ID        int64          `json:"matchid"`
		Home      string         `json:"lag1namn"`
		Away      string         `json:"lag2namn"`
		Tid       string         `json:"tid"`
		Venue     string         `json:"anlaggningnamn"`
		Officials []handOfficial `json:"domaruppdraglista"`
	}
	handOfficial struct {
		ID         int64  `json:"domareid"`
		Number     string `json:"domarnr"`
		PersonID   int64  `json:"personid"`
		Role       string `json:"domarrollnamn"`
		RoleShort  string `json:"domarrollkortnamn"`
		Name       string `json:"personnamn"`
		Mobile     string `json:"mobiltelefon"`
		Phone      string `json:"telefon"`
		WorkPhone  string `json:"telefonarbete"`
		Email      string `json:"epostadress"`
		Address    string `json:"adress"`
		CareOf     string `json:"coadress"`
		PostalCode string `json:"postnr"`
		City       string `json:"postort"`
		Country    string `json:"land"`
	}
	handStatus struct {
		Status    string                     `json:"status"`
		Timestamp string                     `json:"timestamp"`
		Details   map[string]json.RawMessage `json:"details"`
	}
)

func BenchmarkSnapshotDecode(b *testing.B) {
	_, envelope := snapshot(b)
	b.Run("message", func(b *testing.B) {
		b.SetBytes(int64(len(envelope)))
		b.ReportAllocs()
		for b.Loop() {
			e, err := message.Decode(envelope)
			if err != nil {
				b.Fatal(err)
			}
			m, err := message.As[message.MatchUpdates](e)
			if err != nil || len(m.Payload.Matches) != 12 || len(m.Payload.Matches[11].Officials) != 3 {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(envelope)))
		b.ReportAllocs()
		for b.Loop() {
			var m handSnapshot
			if err := json.Unmarshal(envelope, &m); err != nil || len(m.Payload.Matches[11].Officials) != 3 {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode-only", func(b *testing.B) {
		b.SetBytes(int64(len(envelope)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := message.Decode(envelope); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("peek-type", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if message.PeekType(envelope) != message.TypeMatchUpdates {
				b.Fatal("wrong type")
			}
		}
	})
}

func BenchmarkSnapshotEncode(b *testing.B) {
	matches, envelope := snapshot(b)
	_, list, _ := bytes.Cut(envelope, []byte(`"payload":`))
	m := message.MatchUpdates{Matches: make([]message.Match, len(matches))}
	for i := range matches {
		m.Matches[i].Raw = matches[i]
	}
	dst := make([]byte, 0, 2*len(envelope))
	b.Run("message", func(b *testing.B) {
		b.SetBytes(int64(len(envelope)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := message.AppendEncode(dst, message.Header{ID: "x"}, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json-valid", func(b *testing.B) {
		b.SetBytes(int64(len(list) - 1))
		b.ReportAllocs()
		for b.Loop() {
			if !json.Valid(list[:len(list)-1]) {
				b.Fatal("invalid")
			}
		}
	})
}

// BenchmarkTypedEncode writes matches that were made in Go.
func BenchmarkTypedEncode(b *testing.B) {
	matches, envelope := snapshot(b)
	var m message.MatchUpdates
	for _, raw := range matches {
		match, err := message.ParseMatch(raw)
		if err != nil {
			b.Fatal(err)
		}
		match.Raw = nil
		m.Matches = append(m.Matches, match)
	}
	var hand handSnapshot
	if err := json.Unmarshal(envelope, &hand); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 2*len(envelope))
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := message.AppendEncode(dst, message.Header{ID: "x"}, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(hand); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStatusDecode(b *testing.B) {
	line := []byte(statusLine)
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e, err := message.Decode(line)
			if err != nil {
				b.Fatal(err)
			}
			if m, err := message.As[message.ProcessingStatus](e); err != nil || m.Payload.Status != "completed" {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e handEnvelope
			if err := json.Unmarshal(line, &e); err != nil {
				b.Fatal(err)
			}
			var s handStatus
			if err := json.Unmarshal(e.Payload, &s); err != nil || s.Status != "completed" {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStatusEncode(b *testing.B) {
	dst := make([]byte, 0, 1024)
	s := message.ProcessingStatus{Status: message.StatusCompleted, Details: map[string]json.RawMessage{
		"matches_processed": json.RawMessage("12"), "changes_detected": json.RawMessage("true"), "processor_type": json.RawMessage(`"UnifiedMatchProcessor"`),
	}}
	h := message.Header{ID: "x", Source: "match-list-processor", Timestamp: message.Timestamp{Time: time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.AppendEncode(dst, h, s); err != nil {
			b.Fatal(err)
		}
	}
}

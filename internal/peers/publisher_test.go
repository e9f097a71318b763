package peers_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// TestPublisher_production compares the production form with a line that the
// service's own formatter wrote, byte for byte but for its ID and times.
func TestPublisher_production(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	p := peers.StartPublisher(t, server.URL())
	sent := p.Publish(peers.Order{
		Shape: "E3 of a dict",
		Matches: []json.RawMessage{json.RawMessage(
			`{"matchid": 6200001, "matchnr": "000402011", "lag1namn": "Åby IF", "lag2namn": "Östra BK", "tid": "/Date(1935846000000)/"}`)},
		Changes: []json.RawMessage{json.RawMessage(
			`{"field": "avsparkstid", "from": "16:00", "to": "17:00", "category": "time_change", "priority": "high", "description": "d"}`)},
	})
	require.Equal(t, base, sent.Channel)
	require.Zero(t, sent.Receivers)
	got := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z`).ReplaceAllString(string(sent.Body), "TIME")
	got = regexp.MustCompile(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`).ReplaceAllString(got, "ID")
	require.Equal(t, `{"message_id": "ID", "timestamp": "TIME", "source": "match-list-processor", "version": "1.0", "type": "match_updates", `+
		`"payload": {"matches": [{"matchid": 6200001, "matchnr": "000402011", "lag1namn": "Åby IF", "lag2namn": "Östra BK", "tid": "/Date(1935846000000)/"}], `+
		`"schema_version": "2.0", "detailed_changes": [{"field": "avsparkstid", "from": "16:00", "to": "17:00", "category": "time_change", "priority": "high", "description": "d"}], `+
		`"high_priority": true, "metadata": {"total_matches": 1, "has_changes": true, "change_summary": {"updated_matches": 1}, "processing_timestamp": "TIME", "processor_type": "UnifiedMatchProcessor"}}}`, got)
}

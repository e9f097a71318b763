package fogispubsub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// handled is what a handler got of one message.

type handled struct {
	message.Header
	updates message.MatchUpdates
	status  message.ProcessingStatus
	alert   message.SystemAlert
}

// listenAll registers a handler for each type.

func listenAll(client *fogispubsub.Client) <-chan handled {
	got := make(chan handled, 1000)
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.MatchUpdates]) error {
		got <- handled{Header: m.Header, updates: m.Payload}
		return nil
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.ProcessingStatus]) error {
		got <- handled{Header: m.Header, status: m.Payload}
		return nil
	})
	fogispubsub.On(client, func(_ context.Context, m message.Message[message.SystemAlert]) error {
		got <- handled{Header: m.Header, alert: m.Payload}
		return nil
	})
	return got
}

// otherChannels are those of old documents and of prototypes.

// Both forms of a change, as the services write them.

const (
	productionChange = `{"match_id":6200001,"match_nr":"000402011","category":"cancellation","priority":"critical","affected_stakeholders":["all"],` +
		`"field_name":"installd","previous_value":false,"current_value":true,"change_description":"Match cancelled","timestamp":"2031-05-06T14:59:59.123456+00:00"}`
	documentedChange = `{"field":"avsparkstid","from":"16:00","to":"17:00","category":"time_change","priority":"medium","description":"Match time changed from 16:00 to 17:00"}`
)

// pythonShape says what a shape of the Python services is in Go.

// kickoff is that of the full match, 17:00 in Sweden.

// viewFull checks the match of fixture "fogis" in FOGIS's own form.

// viewNaN is viewFull for a place that is nowhere.

// pythonMatches are the matches in a message's bytes, as encoding/json reads

// them, with null for what is no JSON.

func pythonMatches(t *testing.T, body []byte) []json.RawMessage {
	t.Helper()
	body = []byte(strings.NewReplacer(": NaN", ": null", ": -Infinity", ": null").Replace(string(body)))
	type list []json.RawMessage
	var whole struct {
		Matches list
		Payload struct{ Matches list }
		Data    json.RawMessage
	}
	require.NoError(t, json.Unmarshal(body, &whole))
	switch {
	case whole.Payload.Matches != nil:
		return whole.Payload.Matches
	case whole.Matches != nil:
		return whole.Matches
	}
	var matches list
	if json.Unmarshal(whole.Data, &matches) == nil {
		return matches
	}
	var data struct{ Matches list }
	require.NoError(t, json.Unmarshal(whole.Data, &data))
	if data.Matches != nil {
		return data.Matches
	}
	return list{whole.Data}
}

// values reads JSON with the text of its numbers.

func values(t *testing.T, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

func TestClient_pythonPublisher_matchUpdates(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)

	full := fixture(t, "fogis")
	for _, shape := range updateShapes {
		order := peers.Order{Shape: shape.name, Changes: []json.RawMessage{json.RawMessage(productionChange), json.RawMessage(documentedChange)}}
		if order.Matches = []json.RawMessage{full}; !shape.only {
			order.Matches = append(order.Matches, fixture(t, "cancelled"), fixture(t, "simple"))
		}
		before := client.Stats().Subscriber
		sent := python.Publish(order)
		require.Equal(t, 1, sent.Receivers, shape.name)
		m := receive(t, got)

		require.Equal(t, message.TypeMatchUpdates, m.Type, shape.name)
		require.Equal(t, sent.Channel, m.Channel, shape.name)
		require.Equal(t, message.ViaPubSub, m.Via, shape.name)
		require.Equal(t, shape.schema, m.SchemaVersion, shape.name)
		require.Equal(t, shape.noID, m.IDGenerated, shape.name)
		require.NotEmpty(t, m.ID, shape.name)
		requireHead(t, shape.name, sent.Body, m.Header)
		require.Equal(t, shape.naive, m.Timestamp.Uncertain, shape.name)
		changed := ""
		if m.updates.HasChanges != nil {
			changed = map[bool]string{true: "true", false: "false"}[*m.updates.HasChanges]
		}
		require.Equal(t, shape.changed, changed, shape.name)
		require.Equal(t, shape.high, m.updates.HighPriority(), shape.name)
		require.Equal(t, shape.summary, m.updates.Summary, shape.name)
		require.Len(t, m.updates.Changes, shape.changes, shape.name)
		if shape.changes > 0 {
			requireChanges(t, m.updates.Changes)
		}

		want := pythonMatches(t, sent.Body)
		require.Len(t, m.updates.Matches, len(want), shape.name)
		for i, raw := range want {
			require.Equal(t, string(raw), string(m.updates.Matches[i].Raw), "%s: match %d", shape.name, i)
			require.Equal(t, values(t, raw), values(t, m.updates.Matches[i].Raw), "%s: match %d", shape.name, i)
		}
		view := viewFull
		if shape.view != nil {
			view = shape.view
		}
		view(t, m.updates.Matches[0])
		if !shape.only {
			requireOtherMatches(t, m.updates.Matches[1], m.updates.Matches[2])
		}
		sanitized := uint64(0)
		if shape.sanitized {
			sanitized = 1
		}
		require.Equal(t, before.Sanitized+sanitized, client.Stats().Subscriber.Sanitized, shape.name)
	}
	requireAllShapesTested(t, python)
}

// requireHead compares the head with the message's own text.

func requireHead(t *testing.T, name string, body []byte, h message.Header) {
	t.Helper()
	var want struct {
		ID        string `json:"message_id"`
		Source    string
		Version   string
		Timestamp string
	}
	require.NoError(t, json.Unmarshal([]byte(strings.NewReplacer(": NaN", ": 0", ": -Infinity", ": 0").Replace(string(body))), &want))
	if want.ID != "" {
		require.Equal(t, want.ID, h.ID, name)
	}
	require.Equal(t, want.Source, h.Source, name)
	require.Equal(t, want.Version, h.Version, name)
	require.Equal(t, want.Timestamp, h.Timestamp.Text, name)
	require.False(t, h.Timestamp.IsZero(), name)
	zone, layout := time.UTC, time.RFC3339Nano
	if !strings.HasSuffix(want.Timestamp, "Z") {
		var err error
		zone, err = time.LoadLocation("Europe/Stockholm")
		require.NoError(t, err)
		layout = "2006-01-02T15:04:05.999999999"
	}
	at, err := time.ParseInLocation(layout, want.Timestamp, zone)
	require.NoError(t, err)
	require.True(t, at.Equal(h.Timestamp.Time), "%s: %s read as %s", name, want.Timestamp, h.Timestamp.Time)
}

func requireChanges(t *testing.T, changes []message.Change) {
	t.Helper()
	c := changes[0]
	require.Equal(t, message.NewMatchID(6200001), c.MatchID)
	require.Equal(t, "000402011", c.MatchNumber)
	require.Equal(t, message.CategoryCancellation, c.Category)
	require.Equal(t, message.PriorityCritical, c.Priority)
	require.Equal(t, []string{"all"}, c.Affected)
	require.Equal(t, "installd", c.Field)
	require.Equal(t, "false true", string(c.From)+" "+string(c.To))
	require.Equal(t, "Match cancelled", c.Description)
	require.True(t, time.Date(2031, 5, 6, 14, 59, 59, 123456000, time.UTC).Equal(c.Timestamp.Time))
	c = changes[1]
	require.Equal(t, message.CategoryTimeChange, c.Category)
	require.Equal(t, "avsparkstid", c.Field)
	require.Equal(t, `"16:00" "17:00"`, string(c.From)+" "+string(c.To))
	require.Equal(t, "Match time changed from 16:00 to 17:00", c.Description)
}

func requireOtherMatches(t *testing.T, cancelled, simple message.Match) {
	t.Helper()
	require.Equal(t, message.MatchID{Int: 6200045, Text: "6200045", Quoted: true}, cancelled.ID)
	require.Equal(t, `Kärrtorps "Stjärnor" & Co F13`, cancelled.Away.Name)
	require.True(t, cancelled.Cancelled)
	require.True(t, time.Date(2025, 10, 4, 8, 30, 0, 0, time.UTC).Equal(cancelled.Kickoff), "backslashes and all")
	require.Len(t, cancelled.Officials, 1)
	require.Equal(t, "81045", cancelled.Officials[0].ID)
	require.Equal(t, "solve@example.com", cancelled.Officials[0].Email)
	require.Equal(t, "BK Åkerö", simple.Home.Name)
	require.Equal(t, "Åkerövallen", simple.Venue.Name)
	require.True(t, time.Date(2025, 8, 23, 17, 0, 0, 0, time.UTC).Equal(simple.Kickoff))
	require.Len(t, simple.Officials, 2)
}

func TestClient_pythonPublisher_statusesAndAlerts(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)
	for _, row := range noticeShapes {
		sent := python.Publish(peers.Order{Shape: row.name, Matches: []json.RawMessage{fixture(t, "fogis")}})
		require.Equal(t, 1, sent.Receivers, row.name)
		m := receive(t, got)
		require.Equal(t, row.kind, m.Type, row.name)
		require.Equal(t, row.noID, m.IDGenerated, row.name)
		require.Equal(t, row.naive, m.Timestamp.Uncertain, row.name)
		requireHead(t, row.name, sent.Body, m.Header)
		details := m.status.Details
		if m.Type == message.TypeSystemAlert {
			details = m.alert.Details
		}
		require.Equal(t, row.status, m.status.Status, row.name)
		require.Equal(t, row.alert, [3]string{m.alert.AlertType, m.alert.Severity, m.alert.Message}, row.name)
		for key, want := range row.details {
			require.Contains(t, details, key, row.name)
			require.Equal(t, values(t, []byte(want)), values(t, details[key]), "%s: %s", row.name, key)
		}
		for key := range details {
			if _, listed := row.details[key]; !listed {
				require.Contains(t, "redis_publishing start_time end_time", key, row.name)
			}
		}
	}
}

// nuisances are what operators and accidents put on the channels, with the

// counter that each raises.

// Each is counted where it belongs and the next good message is handled, over

// the same connection.

func TestClient_pythonPublisher_probesAndRubbish(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	python := peers.StartPublisher(t, server.URL())
	client := newClient(t, environment{"REDIS_URL": server.URL()}, fogispubsub.Options{
		Subscriber: subscriber.Options{Channels: otherChannels},
	})
	got := listenAll(client)
	runSubscribed(t, client)
	for _, row := range nuisances {
		before := client.Stats().Subscriber
		order := peers.Order{Shape: row.name, Matches: []json.RawMessage{fixture(t, "fogis")}}
		require.Equal(t, 1, python.Publish(order).Receivers, row.name)
		order.Shape = "E3"
		good := python.Publish(order)
		require.Equal(t, string(pythonMatches(t, good.Body)[0]), string(receive(t, got).updates.Matches[0].Raw), row.name)
		wait(t, row.name, func() bool {
			now := client.Stats().Subscriber // what the handler got counts when it has returned
			return row.count(now) == row.count(before)+1 && now.Handled > before.Handled
		})
		after := client.Stats().Subscriber
		require.Equal(t, before.Handled+1, after.Handled, row.name)
		require.Equal(t, before.Failed+before.Invalid+before.Probes+1, after.Failed+after.Invalid+after.Probes, row.name)
	}
	require.Empty(t, got)
	require.Zero(t, client.Stats().Subscriber.Gaps)
}

// requireAllShapesTested keeps the tables of this file complete.

// The Python calendar beside a Go subscriber on the same channels gets what

// the Go client publishes, and can use all of it.

package fogispubsub_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/peers"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// The incident that this library was made for: the calendar was down when an
// update came. It gets the newest snapshot when it is back, and only that, once.
func TestClient_durable_pythonCalendarStartsAgain(t *testing.T) {
	t.Parallel()
	url := realredis.Start(t).URL()
	client := newClient(t, environment{"REDIS_URL": url, "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "match-list-processor"}, fogispubsub.Options{})
	run(t, client)
	var newest string
	for n := range 3 {
		receipt, err := client.Publish(t.Context(), snapshot(t, 6200000+100*n, 2))
		require.NoError(t, err)
		require.Equal(t, publisher.RouteStream, receipt.Route)
		require.Zero(t, receipt.Receivers, "nobody listens")
		newest = receipt.ID
	}

	calendar := peers.StartCalendar(t, url)
	r := calendar.Next()
	require.Equal(t, newest, r.ID)
	require.Equal(t, "v2.0", r.Route)
	require.Len(t, r.Matches, 2)
	require.True(t, *r.Result)
	require.Equal(t, "inserted", r.Matches[0].Event)

	// A second listener makes for a repeat too, not before ten seconds have
	// passed. Until then nothing comes but what is new.
	receipt, err := client.Publish(t.Context(), snapshot(t, 6200300, 1))
	require.NoError(t, err)
	require.EqualValues(t, 1, receipt.Receivers)
	require.Equal(t, receipt.ID, calendar.Next().ID)
}

// The calendar's subscription has died and its web server lives.
func TestClient_durable_pythonCalendarWithADeadSubscription(t *testing.T) {
	t.Parallel()
	manual := peers.StartManualSync(t, "httpfallback/testdata/manual_sync.py")
	client := newClient(t, environment{"REDIS_URL": realredis.Start(t).URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "match-list-processor",
		"FOGIS_FALLBACK_URL": manual.URL()}, fogispubsub.Options{})
	run(t, client)
	receipt, err := client.Publish(t.Context(), message.MatchUpdates{Matches: snapshot(t, 6200000, 2).Matches})
	require.NoError(t, err)
	require.Equal(t, publisher.RouteStream, receipt.Route, "and it is kept")
	require.Equal(t, publisher.FallbackPending, receipt.Fallback, "nobody waits for HTTP")
	wait(t, "the copies", func() bool { return len(manual.Posts()) == 2 })
	posts := manual.Posts()
	require.Len(t, posts, 2, "a match each, as its partial failures are answered with 200")
	for i, post := range posts {
		require.Contains(t, post.Body, []string{"6200000", "6200001"}[i])
		require.Equal(t, receipt.StreamID, headerOf(post, "Fogis-Stream-ID"))
	}
}

// headerOf is a header in whichever spelling the program noted it.
func headerOf(p peers.Post, name string) string {
	for key, value := range p.Headers {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

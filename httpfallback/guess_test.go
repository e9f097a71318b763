package httpfallback_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
)

// A receiver that breaks the connection has not said what it takes: a message of
// another type than match updates waits for its answer.
func TestClient_Notify_otherTypeIsNotRefusedForGoodByAGuess(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	c, err := httpfallback.New(server.URL, httpfallback.Options{Timeout: 5 * time.Second, Retries: -1})
	require.NoError(t, err)
	err = c.Notify(t.Context(), message.Outgoing{ID: "1", Type: message.TypeSystemAlert, Body: []byte("{}")})
	require.ErrorContains(t, err, "does not say what it takes")
	require.NotErrorIs(t, err, message.ErrRefused)
}

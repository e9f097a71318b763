package fogispubsub_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/stretchr/testify/require"
)

func TestClient_outboxThatNeedsAnOperator_isLoggedAndAHealthFinding(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "outbox")
	require.NoError(t, os.WriteFile(path+".set-aside-20260101T000000.000Z", []byte("x"), 0o600))
	file, err := outbox.Open(path, outbox.Options{})
	require.NoError(t, err)
	require.NoError(t, file.Put(message.Outgoing{ID: "a", Type: message.TypeSystemAlert, Body: []byte("{}")}, ""))
	require.NoError(t, file.SetAside(message.TypeSystemAlert, "a", "the receiver answered 413"))
	require.NoError(t, file.Put(message.Outgoing{ID: "b", Type: "own", Body: []byte("{}")}, ""))
	require.NoError(t, file.Close())

	logger, log := logcheck.NewLog(t)
	env := map[string]string{"FOGIS_OUTBOX_PATH": path, "REDIS_URL": "redis://127.0.0.1:1", "REDIS_CONNECTION_TIMEOUT": "1"}
	client, err := fogispubsub.FromEnv(fogispubsub.Options{
		Getenv:     func(name string) string { return env[name] },
		Logger:     logger,
		OpenOutbox: func(path string) (publisher.Outbox, error) { return outbox.Open(path, outbox.Options{}) },
	})
	require.NoError(t, err)
	defer client.Close()
	_, _ = client.Publish(t.Context(), message.ProcessingStatus{Status: "completed"})
	require.Contains(t, log.Text(), "the outbox needs an operator")
	require.Contains(t, log.Text(), ".set-aside-20260101T000000.000Z")
	require.Contains(t, log.Text(), "set aside in the outbox: 1")

	var check health.Check
	for _, c := range client.Health(t.Context()).Checks {
		if c.Name == "outbox" {
			check = c
		}
	}
	require.Equal(t, health.Degraded, check.Status)
	var text string
	for _, f := range check.Findings {
		text += f.Reason + " " + f.Cure + "\n"
	}
	require.Contains(t, text, "outbox salvage")
	require.Contains(t, text, "requeue or discard")
	require.Contains(t, text, "1 messages of type own wait in the outbox and have no route")
}

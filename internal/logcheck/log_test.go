package logcheck_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/stretchr/testify/require"
)

// recorder stands for a test: it keeps what it is told and ends on demand.
type recorder struct {
	testing.TB
	errors, logs []string
	cleanups     []func()
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}
func (r *recorder) Logf(f string, args ...any) { r.logs = append(r.logs, fmt.Sprintf(f, args...)) }
func (r *recorder) Failed() bool               { return len(r.errors) > 0 }
func (r *recorder) Cleanup(f func())           { r.cleanups = append(r.cleanups, f) }

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestNew_harmlessLogPasses(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	logcheck.New(r).Debug("message handled", "type", "match_updates", "attempt", 1)
	r.end()
	require.Empty(t, r.errors)
	require.Empty(t, r.logs)
}

func TestNew_leakFailsAndShowsTheLog(t *testing.T) {
	t.Parallel()
	type contact struct{ Mobile string }
	for name, log := range map[string]func(*slog.Logger){
		"message": func(l *slog.Logger) { l.Info("call 070-174 06 10") },
		"attr":    func(l *slog.Logger) { l.Debug("m", "err", fmt.Errorf("bad %s", "marta@example.com")) },
		"with": func(l *slog.Logger) {
			l.With("url", "redis://:"+logcheck.Password+"@h").WithGroup("g").Info("m", "a", 1)
		},
		"struct":   func(l *slog.Logger) { l.Info("m", "contact", contact{"070-174 06 10"}) },
		"bytes":    func(l *slog.Logger) { l.Info("m", "payload", []byte(`{"adress":"Påhittsvägen 3"}`)) },
		"short":    func(l *slog.Logger) { l.Info("m", "payload", []byte("hemligt")) },
		"raw JSON": func(l *slog.Logger) { l.Info("m", "payload", json.RawMessage(`{"adress":"P\u00e5hittsv\u00e4gen 3"}`)) },
	} {
		r := &recorder{TB: t}
		log(logcheck.New(r))
		r.end()
		require.NotEmpty(t, r.errors, name)
		require.NotEmpty(t, r.logs, name)
	}
}

func TestNew_lateRecordsAreHarmless(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	logger, log := logcheck.NewLog(r)
	logger.Info("in time")
	r.end()
	logger.Info("late: marta@example.com")
	require.Empty(t, r.errors)
	require.Equal(t, 1, len(log.Records()))
}

func TestLog_countsAndReads(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	logger.Warn("reconnecting", "attempt", 1, "channel", "fogis:matches:updates")
	logger.With("route", "pubsub").Info("published")
	logger.Warn("reconnecting", "attempt", 2)
	require.Equal(t, 2, log.Count("reconnecting"))
	require.Equal(t, 0, log.Count("reconnect"))
	records := log.Records()
	require.Len(t, records, 3)
	require.Equal(t, logcheck.Record{
		Level:   slog.LevelWarn,
		Message: "reconnecting",
		Attrs:   map[string]any{"attempt": json.Number("1"), "channel": "fogis:matches:updates"},
	}, records[0])
	require.Equal(t, "pubsub", records[1].Attrs["route"])
	require.Equal(t, 3, strings.Count(log.Text(), "\n"))
}

func TestLog_concurrentUse(t *testing.T) {
	t.Parallel()
	logger, log := logcheck.NewLog(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				logger.Info("tick")
				log.Count("tick")
			}
		})
	}
	wg.Wait()
	require.Equal(t, 240, log.Count("tick"))
}

func TestLog_worksInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, log := logcheck.NewLog(t)
		go logger.Info("tick")
		synctest.Wait()
		require.Equal(t, 1, log.Count("tick"))
	})
}

func TestNew_appendsToTheCommonFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.log")
	t.Setenv(logcheck.LogFileVariable, file)
	r := &recorder{TB: t}
	first, second := logcheck.New(r), logcheck.New(r)
	first.Info("one")
	second.Debug("two")
	r.end()
	first.Info("late")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(text), "\n"))
	for _, msg := range []string{"one", "two", "late"} {
		require.Contains(t, string(text), `"msg":"`+msg+`"`)
	}
}

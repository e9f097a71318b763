package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// asideProblem and asideCure are said of each file that was set aside.
const (
	asideProblem = "a damaged outbox file was set aside, its messages were not sent: %s"
	asideCure    = "fogis-pubsub outbox list --path %s, then outbox salvage"
)

// filesAside are the damaged files that lie beside an outbox.
func filesAside(path string) (found []string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil // the outbox itself cannot be read either, which is said
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), filepath.Base(path)+".set-aside-") {
			found = append(found, filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
	return found
}

// outboxHealth judges an outbox from outside, because a service may have it open.
// It changes nothing.
func outboxHealth(path string, now time.Time) health.Check {
	check := health.Check{Name: "outbox", Status: health.Healthy}
	for _, file := range filesAside(path) {
		check.Find(health.Degraded, fmt.Sprintf(asideProblem, file), fmt.Sprintf(asideCure, file))
	}
	records, err := outbox.Read(path)
	if errors.Is(err, fs.ErrNotExist) { // nothing was ever put there
		records, err = nil, nil
	}
	if err != nil {
		check.Find(health.Degraded, err.Error(), "restart the service that has it; see fogis-pubsub outbox list")
	}
	var waiting, aside int
	var oldest time.Time
	for _, r := range records {
		if r.State != outbox.Waiting {
			aside++
			continue
		}
		waiting++
		if oldest.IsZero() || r.PutAt.Before(oldest) {
			oldest = r.PutAt
		}
	}
	check.Details = map[string]any{"waiting": waiting, "set_aside": aside}
	if aside > 0 {
		check.Find(health.Degraded, fmt.Sprintf("messages are set aside in the outbox: %d", aside),
			"fogis-pubsub outbox list --aside, then requeue or discard")
	}
	if age := now.Sub(oldest); waiting > 0 && age > time.Minute {
		check.Find(health.Degraded, fmt.Sprintf("a message has waited in the outbox for %v", age.Round(time.Second)),
			"see what Redis and the fallback answer; fogis-pubsub outbox list")
	}
	return check
}

// Package health asks a Redis server the questions of an operator: does it
// answer, does a published message really come back, does it keep what it is
// given, and may its user do what the services do. Each question is asked once,
// when its function is called; nothing runs in the background.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// State is the answer of a check, in the words of the FOGIS health monitor.
type State string

// The states, best first.
const (
	Healthy   State = "healthy"
	Degraded  State = "degraded"
	Unhealthy State = "unhealthy"
	Unknown   State = "unknown" // it could not be asked
)

// The names of the checks. The first four are those of the health monitor.
const (
	NameConnectivity = "connectivity"
	NamePubSub       = "pubsub"
	NamePerformance  = "performance"
	NamePersistence  = "persistence"
	NameEviction     = "eviction"
	NameOutputBuffer = "output_buffer"
	NameClock        = "clock"
	NamePermissions  = "permissions"
	NameFallback     = "fallback"
)

// Check is the outcome of one question.
type Check struct {
	Name   string
	Status State
	// Elapsed is how long the answer took; zero when there was none or it took
	// no question to a server.
	Elapsed time.Duration
	// Findings are why the state is not healthy, and notes that change no state.
	// They hold no password.
	Findings []Finding
	// Details are the figures that were looked at, by name.
	Details map[string]any
}

// Finding is one thing that an operator should know.
type Finding struct {
	// Status is what it makes of the check; Healthy is a mere note.
	Status State  `json:"status"`
	Reason string `json:"reason"`
	Cure   string `json:"cure,omitempty"`
}

// String is the reason with its cure.
func (f Finding) String() string {
	if f.Cure == "" {
		return f.Reason
	}
	return f.Reason + "; " + f.Cure
}

// Err joins the findings that are no mere notes; nil when there are none.
func (c Check) Err() error {
	var faults []error
	for _, f := range c.Findings {
		if f.Status != Healthy {
			faults = append(faults, errors.New(f.String()))
		}
	}
	return errors.Join(faults...)
}

// Find adds a finding, and makes the check's state worse if need be.
func (c *Check) Find(status State, reason, cure string) {
	c.Findings = append(c.Findings, Finding{status, reason, cure})
	if worse(status, c.Status) {
		c.Status = status
	}
}

// worse tells whether a is worse than b. What is unknown is worse than
// degraded only in so far as it hides it: a check that found anything keeps it.
func worse(a, b State) bool { return rank(a) > rank(b) }

func rank(s State) int {
	switch s {
	case Unhealthy:
		return 3
	case Degraded:
		return 2
	case Unknown:
		return 1
	}
	return 0
}

// MarshalJSON gives status, response_time_ms, findings and details.
func (c Check) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Status       State          `json:"status"`
		ResponseTime float64        `json:"response_time_ms"`
		Findings     []Finding      `json:"findings,omitempty"`
		Details      map[string]any `json:"details,omitempty"`
	}{c.Status, float64(c.Elapsed.Microseconds()) / 1000, c.Findings, c.Details})
}

// The summaries that the deployment's validation prints.
const (
	SummaryHealthy  = "✅ Healthy: Redis pub/sub available"
	SummaryFallback = "⚠️ Degraded: Redis unavailable - HTTP fallback active"
)

// Report is all checks together.
type Report struct {
	Overall   State
	Timestamp time.Time
	Checks    []Check // each name once
	Summary   string  // one line for people
}

// NewReport judges the checks together. Without Redis, a fallback that answers
// makes it degraded instead of unhealthy. Anything else that is not healthy
// makes it degraded, since messages still go; what is unknown alone does not.
// When nothing could be asked it is unknown.
func NewReport(at time.Time, checks ...Check) Report {
	r := Report{Overall: Healthy, Timestamp: at.UTC(), Checks: checks, Summary: SummaryHealthy}
	connection, pubsub, fallback := r.Check(NameConnectivity).Status, r.Check(NamePubSub).Status, r.Check(NameFallback).Status
	var bad []string
	for _, c := range checks {
		if rank(c.Status) > rank(Unknown) {
			bad = append(bad, c.Name)
		}
	}
	switch {
	case connection == Unknown && pubsub == Unknown:
		r.Overall, r.Summary = Unknown, "❔ Unknown: Redis was not asked"
	case connection != Unhealthy && pubsub != Unhealthy:
		if len(bad) > 0 {
			r.Overall, r.Summary = Degraded, "⚠️ Degraded: Redis pub/sub available - see "+strings.Join(bad, ", ")
		}
	case fallback == Healthy:
		r.Overall, r.Summary = Degraded, SummaryFallback
	default:
		r.Overall, r.Summary = Unhealthy, "❌ Unhealthy: Redis unavailable and no working HTTP fallback"
	}
	return r
}

// Check returns the check of that name, and the zero Check when there is none.
func (r Report) Check(name string) Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return Check{}
}

// MarshalJSON gives overall_status, timestamp, health_checks and summary, the
// keys of the FOGIS health monitor.
func (r Report) MarshalJSON() ([]byte, error) {
	checks := make(map[string]Check, len(r.Checks))
	for _, c := range r.Checks {
		checks[c.Name] = c
	}
	return json.Marshal(struct {
		Overall   State            `json:"overall_status"`
		Timestamp time.Time        `json:"timestamp"`
		Checks    map[string]Check `json:"health_checks"`
		Summary   string           `json:"summary"`
	}{r.Overall, r.Timestamp, checks, r.Summary})
}

// DefaultTimeout bounds a check whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

// unasked is a check whose question was not answered.
func unasked(name string, err error, cure string) Check {
	c := Check{Name: name, Status: Unknown}
	c.Find(Unknown, fmt.Sprintf("it could not be asked: %v", err), cure)
	return c
}

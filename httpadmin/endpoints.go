package httpadmin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/PitchConnect/fogispubsub/health"
)

// The texts with which the guide's errors begin, and its solutions.
const (
	connectionFailed   = "Redis connection failed"
	connectionCure     = "Check Redis URL and ensure Redis service is running"
	subscriptionFailed = "Failed to subscribe to Redis channels"
	subscriptionCure   = "Check Redis permissions and channel configuration"
	handlingFailed     = "Calendar synchronization failed"
	handlingCure       = "Check what the handler of match updates waits for"
)

func explained(text, cure string, err error) string {
	return fmt.Sprintf("%s: %v. Solution: %s", text, err, cure)
}

// head is what every answer of the guide begins with.
type head struct {
	Success   bool   `json:"success"`
	Timestamp string `json:"timestamp"`
}

type statusAnswer struct {
	head
	Status redisStatus `json:"redis_status"`
}

type redisStatus struct {
	Enabled      bool               `json:"enabled"`
	Status       string             `json:"status"`
	URL          string             `json:"redis_url"`
	Subscription subscriptionStatus `json:"subscription_status"`
}

type subscriptionStatus struct {
	Active   bool     `json:"subscription_active"`
	Channels []string `json:"active_channels"`
}

func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	st := h.opts.Source.Status()
	answer(w, http.StatusOK, statusAnswer{head{true, now()}, redisStatus{
		Enabled: h.enabled(), Status: st.State, URL: h.url(),
		Subscription: subscriptionStatus{Active: st.active(), Channels: st.confirmed()},
	}})
}

func (h *Handler) enabled() bool { return !h.opts.Config.Redis.Disabled }

// url is the address without user and password.
func (h *Handler) url() string { return h.opts.Config.WithDefaults().Redis.URL.String() }

func (st *Status) active() bool { return st.State == StateConnected }

// confirmed are the channels on which messages come now.
func (st *Status) confirmed() []string {
	channels := []string{}
	for _, s := range st.Subscriptions {
		channels = append(channels, s.Confirmed...)
	}
	return channels
}

type statsAnswer struct {
	head
	Statistics statistics `json:"statistics"`
}

type statistics struct {
	Enabled    bool `json:"enabled"`
	Active     bool `json:"subscription_active"`
	Statistics struct {
		Subscription subscriptionStats `json:"subscription_stats"`
		Publisher    publisherStats    `json:"publisher_stats"`
		HTTP         httpStats         `json:"http_stats"`
	} `json:"statistics"`
}

type configAnswer struct {
	head
	Configuration configuration `json:"configuration"`
}

type configuration struct {
	Enabled  bool           `json:"enabled"`
	URL      string         `json:"url"`
	Valid    bool           `json:"valid"`
	Channels configChannels `json:"channels"`
}

type configChannels struct {
	MatchUpdates    string `json:"match_updates"`
	ProcessorStatus string `json:"processor_status"`
	SystemAlerts    string `json:"system_alerts"`
}

func (h *Handler) config(w http.ResponseWriter, _ *http.Request) {
	c := h.opts.Config.WithDefaults()
	answer(w, http.StatusOK, configAnswer{head{true, now()}, configuration{
		Enabled: h.enabled(), URL: h.url(), Valid: c.Validate() == nil,
		Channels: configChannels{c.Channels.MatchUpdates, c.Channels.ProcessorStatus, c.Channels.SystemAlerts},
	}})
}

func (h *Handler) history(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		head
		History historyView `json:"history"`
	}{head{true, now()}, h.opts.History.view()})
}

func (h *Handler) health(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), actionTime)
	defer cancel()
	report, err := h.live.report(ctx)
	switch {
	case errors.Is(err, errPanicked):
		refuse(w, http.StatusInternalServerError, "Internal error")
		return
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, "The health report is not ready yet: ask again")
		return
	}
	status := http.StatusOK
	if report.Overall == health.Unhealthy {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, report)
}

type testAnswer struct {
	head
	Results testResults `json:"test_results"`
}

type testResults struct {
	Overall      bool     `json:"overall_success"`
	Connection   bool     `json:"connection_test"`
	Subscription bool     `json:"subscription_test"`
	Handling     bool     `json:"message_handling_test"`
	Errors       []string `json:"errors"`
	Durations    struct {
		Connection   float64 `json:"connection_test"`
		Subscription float64 `json:"subscription_test"`
		Handling     float64 `json:"message_handling_test"`
	} `json:"durations_ms"`
}

func (h *Handler) test(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), actionTime)
	defer cancel()
	result := h.opts.Source.Test(ctx)
	r := testResults{
		Connection: result.Connection == nil, Subscription: result.Subscription == nil, Handling: result.Handling == nil,
		Errors: []string{},
	}
	r.Overall = r.Connection && r.Subscription && r.Handling
	r.Durations.Connection, r.Durations.Subscription, r.Durations.Handling = millis(result.ConnectionTook), millis(result.SubscriptionTook), millis(result.HandlingTook)
	if !r.Connection {
		r.Errors = append(r.Errors, explained(connectionFailed, connectionCure, result.Connection))
	}
	if !r.Subscription {
		r.Errors = append(r.Errors, explained(subscriptionFailed, subscriptionCure, result.Subscription))
	}
	if !r.Handling {
		r.Errors = append(r.Errors, explained(handlingFailed, handlingCure, result.Handling))
	}
	status := http.StatusOK
	if !r.Overall {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, testAnswer{head{r.Overall, now()}, r})
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type restartAnswer struct {
	head
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

func (h *Handler) restart(w http.ResponseWriter, req *http.Request) {
	if !h.enabled() {
		answer(w, http.StatusBadRequest, restartAnswer{head{false, now()}, "Redis is disabled", ""})
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), actionTime)
	defer cancel()
	if err := h.opts.Source.Restart(ctx); err != nil {
		answer(w, http.StatusServiceUnavailable, restartAnswer{head{false, now()}, "Failed to restart subscription", explained(subscriptionFailed, subscriptionCure, err)})
		return
	}
	answer(w, http.StatusOK, restartAnswer{head{true, now()}, "Redis subscription restarted", ""})
}

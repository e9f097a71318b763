package httpadmin

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// probeAnswer is for orchestrators, which look at the status alone.
type probeAnswer struct {
	Status string `json:"status"`
	// Routes are the ways by which updates can come now.
	Routes        []string       `json:"routes,omitempty"`
	Reasons       []string       `json:"reasons,omitempty"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// The routes of a ready service.
const (
	routeRedis = "redis"
	routeHTTP  = "http"
)

// livez fails when the service ran and has ended: only a new process helps.
func (h *Handler) livez(w http.ResponseWriter, _ *http.Request) {
	if st := h.opts.Source.Status(); st.Ended {
		answer(w, http.StatusServiceUnavailable, probeAnswer{Status: "ended", Reasons: []string{"Run has returned: the process handles nothing any more"}})
		return
	}
	answer(w, http.StatusOK, probeAnswer{Status: "alive"})
}

// readyz fails when no update can come by any route: an orchestrator then sends
// no requests here. While Redis is away /manual-sync is the only way, so Redis
// alone must not make the service unready. Reasons say what is wrong with the
// subscription all the same.
func (h *Handler) readyz(w http.ResponseWriter, _ *http.Request) {
	st := h.opts.Source.Status()
	ready, routes, reasons := h.ways(&st, time.Now())
	code, status := http.StatusOK, "ready"
	if !ready {
		code, status = http.StatusServiceUnavailable, "not ready"
	}
	answer(w, code, probeAnswer{status, routes, reasons, st.Subscriptions})
}

// ways tells whether updates can come, by which routes, and what is wrong with the
// subscription. With Redis disabled, or nothing to subscribe for, nothing is
// missing.
func (h *Handler) ways(st *Status, at time.Time) (ready bool, routes, reasons []string) {
	routes = []string{}
	reasons = st.unready(at)
	if st.Ended || st.State == StateStopped {
		return false, routes, reasons
	}
	if len(reasons) == 0 && len(st.Subscriptions) > 0 {
		routes = append(routes, routeRedis)
	}
	if h.opts.ManualSync != nil {
		routes = append(routes, routeHTTP)
	}
	return len(reasons) == 0 || len(routes) > 0, routes, reasons
}

func (st *Status) unready(at time.Time) (reasons []string) {
	switch {
	case st.Ended:
		return []string{"Run has returned"}
	case st.State == StateStopped:
		return []string{"Run has not been called"}
	}
	for _, s := range st.Subscriptions {
		switch {
		case s.State != StateConnected || len(s.Confirmed) < len(s.Channels):
			reasons = append(reasons, fmt.Sprintf("%s: %s", s.Name, strings.TrimSuffix(s.State+": "+s.Problem, ": ")))
		case st.Fresh > 0 && at.Sub(later(s.LastProof, s.Since)) > st.Fresh:
			reasons = append(reasons, fmt.Sprintf("%s: no sign of life from Redis for more than %v", s.Name, st.Fresh))
		case s.Probe == "failed":
			reasons = append(reasons, fmt.Sprintf("%s: the last probe failed: %s", s.Name, s.Problem))
		}
	}
	return reasons
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

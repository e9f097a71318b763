package httpadmin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/health"
)

//go:embed page.html
var pageText []byte

// page is one file without anything from elsewhere; its script and style are
// in it, so that is all that the policy lets run.
func (h *Handler) page(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(pageText)
}

const (
	tick         = time.Second      // between two events of a stream
	healthAge    = 10 * time.Second // of the report that pages show
	reportTime   = 15 * time.Second // that a report may take
	maxStreams   = 200              // pages open at once
	maxPerClient = 20               // of them from one address
	writeTime    = 10 * time.Second // that a reader may take for one event
	longestLive  = time.Hour        // of one stream; the page opens another
)

// live feeds the open pages. One snapshot, and one report, is made for all.
type live struct {
	h         *Handler
	mu        sync.Mutex
	streams   int
	perClient map[string]int // streams
	made      time.Time
	text      []byte
	last      health.Report
	asked     time.Time // when last was made
	tried     time.Time // when a report was made or failed
	making    *making   // under way
}

// snapshot is what a page shows.
type snapshot struct {
	Timestamp     string            `json:"timestamp"`
	State         string            `json:"state"`
	Enabled       bool              `json:"enabled"`
	URL           string            `json:"redis_url"`
	Ready         bool              `json:"ready"`
	Routes        []string          `json:"routes"`
	Reasons       []string          `json:"reasons"`
	Subscriptions []Subscription    `json:"subscriptions"`
	Stats         subscriptionStats `json:"stats"`
	Publishing    publisherStats    `json:"publisher_stats"`
	Refusals      httpStats         `json:"http_stats"`
	Queued        int               `json:"queued"`
	Outbox        int               `json:"outbox"`
	History       historyView       `json:"history"`
	Health        *health.Report    `json:"health"`
}

func (l *live) events(w http.ResponseWriter, req *http.Request) {
	client := clientOf(req.RemoteAddr)
	if !l.enter(client) {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "Too many status pages are open, or too many from this address")
		return
	}
	defer l.leave(client)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if req.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), longestLive)
	defer cancel()
	control := http.NewResponseController(w)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // not every writer can
		if _, err := fmt.Fprintf(w, "data: %s\n\n", l.snapshot()); err != nil || control.Flush() != nil {
			return
		}
		if h := l.h; h.opts.Source.Status().Ended {
			return // the server may want to end too
		}
		l.refresh()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// snapshot returns one that is at most half a tick old.
func (l *live) snapshot() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.made) < tick/2 {
		return l.text
	}
	h, st := l.h, l.h.opts.Source.Status()
	ready, routes, reasons := h.ways(&st, time.Now())
	s := snapshot{
		Timestamp: now(), State: st.State, Enabled: h.enabled(), URL: h.url(), Ready: ready, Routes: routes, Reasons: append([]string{}, reasons...),
		Subscriptions: st.Subscriptions, Stats: st.stats(), Publishing: st.publishing(), Refusals: st.refused(), Queued: st.Queued, Outbox: st.Outbox, History: h.opts.History.view(),
	}
	// The minute that has not ended yet.
	s.History.Minutes = append(s.History.Minutes, st.Counters.Received-min(st.Counters.Received, s.History.last))
	if !l.asked.IsZero() {
		report := l.last
		s.Health = &report
	}
	l.text, _ = json.Marshal(s) // of plain values
	l.made = time.Now()
	return l.text
}

// enter counts a stream, unless there are too many already.
func (l *live) enter(client string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams >= maxStreams || l.perClient[client] >= maxPerClient {
		return false
	}
	l.streams++
	l.perClient[client]++
	return true
}

func (l *live) leave(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams--
	if l.perClient[client]--; l.perClient[client] == 0 {
		delete(l.perClient, client)
	}
}

// clientOf is an address without its port, of IPv6 the network that one customer
// has.
func clientOf(remote string) string {
	addr, err := netip.ParseAddr(hostOf(remote))
	if err != nil {
		return ""
	}
	if addr = addr.Unmap(); addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// refresh has a report made if the last one is old, and does not wait for it.
func (l *live) refresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.tried) > healthAge {
		l.begin()
	}
}

var errPanicked = errors.New("the health report panicked")

// making is a report under way. The others are set when done is closed.
type making struct {
	done   chan struct{}
	report health.Report
	err    error
}

// report returns one that is at most a tick old, so that callers in numbers do
// not become a load on Redis. A caller that goes away ends its own wait only.
func (l *live) report(ctx context.Context) (health.Report, error) {
	l.mu.Lock()
	if time.Since(l.asked) < tick {
		defer l.mu.Unlock()
		return l.last, nil
	}
	m := l.begin()
	l.mu.Unlock()
	select {
	case <-m.done:
		return m.report, m.err
	case <-ctx.Done():
		return health.Report{}, ctx.Err()
	}
}

// begin has a report made, unless one is under way. The lock is held. Whoever
// asked for it, the report has its own time: it is for all.
func (l *live) begin() *making {
	if l.making != nil {
		return l.making
	}
	m := &making{done: make(chan struct{}), err: errPanicked}
	l.making = m
	go func() {
		defer close(m.done)
		defer func() {
			v := recover()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.making, l.tried = nil, time.Now()
			if v == nil {
				l.last, l.asked = m.report, l.tried
				return
			}
			l.h.opts.Logger.Error("health report panicked", "err", fmt.Sprintf("panic of type %T\n%s", v, debug.Stack()))
		}()
		ctx, cancel := context.WithTimeout(context.Background(), reportTime)
		defer cancel()
		m.report = l.h.opts.Source.Health(ctx)
		m.err = nil
	}()
	return m
}

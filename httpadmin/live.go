package httpadmin

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
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
	tick        = time.Second      // between two events of a stream
	healthAge   = 10 * time.Second // of the report that pages show
	maxStreams  = 200              // pages open at once
	writeTime   = 10 * time.Second // that a reader may take for one event
	longestLive = time.Hour        // of one stream; the page opens another
)

// live feeds the open pages. One snapshot, and one report, is made for all.
type live struct {
	h       *Handler
	asking  chan struct{} // holds a token while nobody asks for a report
	mu      sync.Mutex
	streams int
	made    time.Time
	text    []byte
	last    health.Report
	asked   time.Time
}

func (l *live) init(h *Handler) {
	l.h, l.asking = h, make(chan struct{}, 1)
	l.asking <- struct{}{}
}

// snapshot is what a page shows.
type snapshot struct {
	Timestamp     string            `json:"timestamp"`
	State         string            `json:"state"`
	Enabled       bool              `json:"enabled"`
	URL           string            `json:"redis_url"`
	Ready         bool              `json:"ready"`
	Reasons       []string          `json:"reasons"`
	Subscriptions []Subscription    `json:"subscriptions"`
	Stats         subscriptionStats `json:"stats"`
	Queued        int               `json:"queued"`
	Outbox        int               `json:"outbox"`
	History       historyView       `json:"history"`
	Health        *health.Report    `json:"health"`
}

func (l *live) events(w http.ResponseWriter, req *http.Request) {
	l.mu.Lock()
	full := l.streams >= maxStreams
	if !full {
		l.streams++
	}
	l.mu.Unlock()
	if full {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "Too many status pages are open")
		return
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.streams--
	}()
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
	reasons := st.unready(time.Now())
	s := snapshot{
		Timestamp: now(), State: st.State, Enabled: h.enabled(), URL: h.url(), Ready: len(reasons) == 0, Reasons: append([]string{}, reasons...),
		Subscriptions: st.Subscriptions, Stats: st.stats(), Queued: st.Queued, Outbox: st.Outbox, History: h.opts.History.view(),
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

// refresh has a report made if the last one is old, and does not wait for it.
func (l *live) refresh() {
	l.mu.Lock()
	old := time.Since(l.asked) > healthAge
	l.mu.Unlock()
	if !old {
		return
	}
	select {
	case <-l.asking:
	default:
		return // it is being made
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), healthAge)
		defer cancel()
		l.make(ctx)
	}()
}

// report returns one that is at most a tick old, so that callers in numbers do
// not become a load on Redis.
func (l *live) report(ctx context.Context) health.Report {
	select {
	case <-l.asking:
	case <-ctx.Done():
		return health.NewReport(time.Now(), health.Check{Name: health.NameConnectivity, Status: health.Unknown}, health.Check{Name: health.NamePubSub, Status: health.Unknown})
	}
	l.mu.Lock()
	report, fresh := l.last, time.Since(l.asked) < tick
	l.mu.Unlock()
	if fresh {
		l.asking <- struct{}{}
		return report
	}
	return l.make(ctx)
}

// make asks for a report. The caller has the token, which is given back.
func (l *live) make(ctx context.Context) health.Report {
	defer func() { l.asking <- struct{}{} }()
	defer func() {
		if v := recover(); v != nil {
			l.h.opts.Logger.ErrorContext(ctx, "health report panicked", "err", fmt.Sprintf("panic of type %T", v))
		}
	}()
	report := l.h.opts.Source.Health(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.asked = report, time.Now()
	return report
}

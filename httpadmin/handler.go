package httpadmin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/PitchConnect/fogispubsub/config"
)

// Options is what [New] needs. Config and Source are required.
type Options struct {
	Config config.Config
	Source Source
	// History is what /redis-history and the page show; nil is none.
	History *History
	// ManualSync takes POST /manual-sync and looks after its own bodies and
	// callers; nil leaves the path out. With it the service is ready as long as it
	// runs, since it takes updates by HTTP while Redis is away.
	ManualSync http.Handler

	// Token is the bearer token that a POST must carry.
	Token config.Secret
	// Authorize decides instead of a Token who may POST.
	Authorize func(*http.Request) bool `json:"-"`
	// AllowUnauthenticated lets everybody who reaches the handler POST. It must
	// be set when there is neither Token nor Authorize. Requests that a browser
	// makes for pages of other origins are refused even so.
	AllowUnauthenticated bool

	// Hosts are further names under which the service is reached without the
	// Token, as calendar.example.com of a proxy in front of it. IP addresses,
	// localhost, names without a dot and those under .local, .internal and .svc
	// need not be named. Under any other name only requests with the Token are
	// answered: a page on the internet can have its own name lead to this service,
	// and a browser then lets the page read it.
	Hosts []string

	// Logger gets panics, and what is refused for its host, origin or token, at
	// most a line in 10 s; nil is [slog.Default].
	Logger *slog.Logger
}

// Handler serves the endpoints. It may be used by several goroutines. It starts
// one for a health report, which ends within 15 s.
type Handler struct {
	opts     Options
	token    [sha256.Size]byte // hashed, so that comparing tells nothing of its length
	hosts    map[string]bool
	cross    *http.CrossOriginProtection
	routes   map[string]route
	live     live
	refusals limiter
	busy     atomic.Bool // a test or a restart is under way
}

type route struct {
	method string
	serve  http.HandlerFunc
}

// The bounds of what a request may ask for.
const (
	maxBody    = 64 << 10
	actionTime = 20 * time.Second // of a test, restart or report
)

// New returns the handler. The error names every fault of the options.
func New(opts Options) (*Handler, error) {
	var faults []error
	if opts.Source == nil {
		faults = append(faults, errors.New("httpadmin: no Source"))
	}
	ways := 0
	for _, set := range []bool{!opts.Token.IsZero(), opts.Authorize != nil, opts.AllowUnauthenticated} {
		if set {
			ways++
		}
	}
	switch {
	case ways == 0:
		faults = append(faults, errors.New("httpadmin: no token; set Token (FOGIS_FALLBACK_TOKEN) or Authorize, or set AllowUnauthenticated to let everybody restart the subscription"))
	case ways > 1:
		faults = append(faults, errors.New("httpadmin: more than one of Token, Authorize and AllowUnauthenticated; choose one"))
	}
	hosts := make(map[string]bool, len(opts.Hosts))
	for _, host := range opts.Hosts {
		if host == "" || strings.ContainsAny(host, "/:*@ ") {
			faults = append(faults, fmt.Errorf("httpadmin: Options.Hosts: %q is no host name; give it without scheme, port and wildcard", host))
		}
		hosts[strings.TrimSuffix(strings.ToLower(host), ".")] = true
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.History == nil {
		opts.History = &History{}
	}
	h := &Handler{opts: opts, token: sha256.Sum256([]byte(opts.Token.Reveal())), hosts: hosts, cross: http.NewCrossOriginProtection()}
	h.live = live{h: h, perClient: map[string]int{}}
	h.routes = map[string]route{
		"/redis-status":           {http.MethodGet, h.status},
		"/redis-stats":            {http.MethodGet, h.stats},
		"/redis-config":           {http.MethodGet, h.config},
		"/redis-history":          {http.MethodGet, h.history},
		"/redis-health":           {http.MethodGet, h.health},
		"/redis-dashboard":        {http.MethodGet, h.page},
		"/redis-dashboard/events": {http.MethodGet, h.live.events},
		"/livez":                  {http.MethodGet, h.livez},
		"/readyz":                 {http.MethodGet, h.readyz},
		"/redis-test":             {http.MethodPost, h.action(h.test)},
		"/redis-restart":          {http.MethodPost, h.action(h.restart)},
	}
	return h, nil
}

// Router is what [Handler.Mount] needs of a router, for example of an
// [http.ServeMux].
type Router interface {
	Handle(pattern string, handler http.Handler)
}

// Mount registers every path of the handler below a prefix, "" for none; other
// paths stay the router's.
func (h *Handler) Mount(r Router, prefix string) {
	prefix = strings.TrimSuffix(prefix, "/")
	paths := slices.Collect(maps.Keys(h.routes))
	if h.opts.ManualSync != nil {
		paths = append(paths, manualSync)
	}
	for _, path := range paths {
		r.Handle(prefix+path, http.StripPrefix(prefix, h))
	}
}

const manualSync = "/manual-sync"

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	defer h.recovered(w, req)
	switch {
	case !h.hostAllowed(req):
		h.forbid(w, req, http.StatusForbidden, wrongHost)
		return
	case h.cross.Check(req) != nil:
		h.forbid(w, req, http.StatusForbidden, crossOrigin)
		return
	case req.URL.Path == manualSync && h.opts.ManualSync != nil:
		h.opts.ManualSync.ServeHTTP(w, req)
		return
	}
	r, ok := h.routes[req.URL.Path]
	if !ok {
		refuse(w, http.StatusNotFound, "Not found: the paths are "+strings.Join(slices.Sorted(maps.Keys(h.routes)), " "))
		return
	}
	allowed := r.method
	if r.method == http.MethodGet {
		allowed = "GET, HEAD"
	}
	if req.Method != r.method && !(r.method == http.MethodGet && req.Method == http.MethodHead) {
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed: use "+allowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	r.serve(w, req)
}

// recovered answers for a panic of the source.
func (h *Handler) recovered(w http.ResponseWriter, req *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	h.opts.Logger.ErrorContext(req.Context(), "admin endpoint panicked", "route", req.URL.Path, "err", fmt.Sprintf("panic of type %T\n%s", v, debug.Stack()))
	refuse(w, http.StatusInternalServerError, "Internal error")
}

// action guards what changes something: who may, with what body, one at a time.
func (h *Handler) action(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !h.authorized(req) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			h.forbid(w, req, http.StatusUnauthorized, "Missing or wrong bearer token")
			return
		}
		if status, fault := emptyBody(w, req); fault != "" {
			refuse(w, status, fault)
			return
		}
		if !h.busy.CompareAndSwap(false, true) {
			w.Header().Set("Retry-After", "5")
			refuse(w, http.StatusServiceUnavailable, "Another test or restart is under way")
			return
		}
		defer h.busy.Store(false)
		serve(w, req)
	}
}

// emptyBody reads a body that says nothing: none, or a JSON object.
func emptyBody(w http.ResponseWriter, req *http.Request) (status int, fault string) {
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("Request is longer than %d bytes", maxBody)
	case err != nil:
		return http.StatusBadRequest, "Request ended before its end"
	case len(bytes.TrimSpace(data)) == 0:
		return 0, ""
	}
	if media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return http.StatusUnsupportedMediaType, "Send no body, or a JSON object with Content-Type: application/json"
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return http.StatusBadRequest, "The body is no JSON object; none is needed"
	}
	return 0, ""
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // fails only when the caller has gone
}

func refuse(w http.ResponseWriter, status int, fault string) {
	answer(w, status, struct {
		Success   bool   `json:"success"`
		Timestamp string `json:"timestamp"`
		Error     string `json:"error"`
	}{false, now(), fault})
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

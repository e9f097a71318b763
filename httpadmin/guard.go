package httpadmin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	crossOrigin = "Refused: a browser sent this for a page of another origin"
	wrongHost   = "Refused: this host name is not one of the service's: use its IP address, or set httpadmin.Options.Hosts (serve --host)"
)

// hostAllowed reports whether a request names the service by a name that no web
// page can have, or shows the token. A page whose own name leads to this service's
// address (DNS rebinding) is of the same origin for its browser: only the name in
// Host gives it away.
func (h *Handler) hostAllowed(req *http.Request) bool {
	host := strings.TrimSuffix(strings.ToLower(hostOf(req.Host)), ".")
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true // an address, localhost, a service of the network, none (HTTP/1.0)
	}
	for _, private := range []string{".local", ".internal", ".svc"} {
		if strings.HasSuffix(host, private) {
			return true
		}
	}
	return h.hosts[host] || h.showsToken(req)
}

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// showsToken tells whether a request carries the bearer token.
func (h *Handler) showsToken(req *http.Request) bool {
	if h.opts.Token.IsZero() {
		return false
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

func (h *Handler) authorized(req *http.Request) bool {
	switch {
	case h.opts.AllowUnauthenticated:
		return true
	case h.opts.Authorize != nil:
		return h.opts.Authorize(req)
	}
	return h.showsToken(req)
}

// forbid refuses a request that is not allowed, and logs it.
func (h *Handler) forbid(w http.ResponseWriter, req *http.Request, status int, fault string) {
	if held, tell := h.refusals.next(time.Now()); tell {
		path := req.URL.Path
		if _, known := h.routes[path]; !known && path != manualSync {
			path = "(other)"
		}
		h.opts.Logger.LogAttrs(context.WithoutCancel(req.Context()), slog.LevelWarn, "request refused",
			slog.String("route", path), slog.Int("status", status), slog.String("err", fault), slog.Uint64("held_back", held))
	}
	refuse(w, status, fault)
}

// logPause is between two lines about refused requests.
const logPause = 10 * time.Second

// limiter lets a line pass every logPause and counts the others.
type limiter struct {
	mu   sync.Mutex
	last time.Time
	held uint64
}

func (l *limiter) next(now time.Time) (held uint64, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < logPause {
		l.held++
		return 0, false
	}
	held, l.held, l.last = l.held, 0, now
	return held, true
}

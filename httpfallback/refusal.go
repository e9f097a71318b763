package httpfallback

import (
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Refusal is why [Handler] did not take a message. None of these reached the
// receiver, except for RefusedBusy and some RefusedInvalid ones.
type Refusal string

// The refusals.
const (
	RefusedUnauthorized Refusal = "unauthorized" // no token, or a wrong one
	RefusedOrigin       Refusal = "origin"       // a browser sent it for a page of another origin
	RefusedMediaType    Refusal = "media_type"   // it does not call itself JSON
	RefusedTooLarge     Refusal = "too_large"    // longer than the limit
	RefusedCutShort     Refusal = "cut_short"    // it ended before its end
	RefusedInvalid      Refusal = "invalid"      // no message, or an invalid one
	RefusedPart         Refusal = "part"         // part of a message
	RefusedBusy         Refusal = "busy"         // the sender is asked to come back
)

// reject counts and logs a message that is not taken, and answers.
func (h *handler) reject(w http.ResponseWriter, req *http.Request, why Refusal, status int, fault string) {
	if h.refused != nil {
		h.refused(why)
	}
	if held, tell := h.lines.next(why, time.Now()); tell {
		h.logger.LogAttrs(req.Context(), slog.LevelWarn, "fallback message refused", slog.String("route", "fallback"),
			slog.String("reason", string(why)), slog.Int("status", status), slog.String("err", fault), slog.Uint64("held_back", held))
	}
	refuse(w, status, fault)
}

// isJSON tells whether a request calls its body JSON. A browser sends that for a
// page of another origin only if the service lets it.
func isJSON(req *http.Request) bool {
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	return err == nil && (media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
}

// logPause is between two lines about refusals of one kind.
const logPause = 10 * time.Second

// lines lets a line of each kind pass every logPause and counts the others.
type lines struct {
	mu   sync.Mutex
	kind map[Refusal]*line
}

type line struct {
	last time.Time
	held uint64
}

func (l *lines) next(why Refusal, now time.Time) (held uint64, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kind == nil {
		l.kind = map[Refusal]*line{}
	}
	k := l.kind[why]
	if k == nil {
		k = &line{}
		l.kind[why] = k
	} else if now.Sub(k.last) < logPause {
		k.held++
		return 0, false
	}
	held, k.held, k.last = k.held, 0, now
	return held, true
}

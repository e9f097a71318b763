package faults_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// ways writes down by which ways the messages of a sending seed go.
type ways struct {
	p      *process
	mu     sync.Mutex
	posted map[string]bool // by ID
}

func (w *ways) note(t message.Type, id, via string) {
	if w.p.Plan.Mode == faults.Sending {
		w.p.note(faults.Record{What: faults.Left, Type: t, N: faults.KeyOf(t, id).N, Via: via})
	}
}

// going is before a post.
func (w *ways) going(m message.Outgoing) { w.note(m.Type, m.ID, string(message.ViaHTTP)) }

// went is after a post.
func (w *ways) went(m message.Outgoing, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted[m.ID] = w.posted[m.ID] || err == nil
}

// left is after a removal from the outbox.
func (w *ways) left(t message.Type, id string) {
	w.mu.Lock()
	posted := w.posted[id]
	w.mu.Unlock()
	switch {
	case w.p.Runs == faults.RunsPlain && !posted:
		w.note(t, id, string(message.ViaPubSub))
	case w.p.Runs == faults.RunsDurable || w.p.Runs == faults.RunsAuto:
		w.note(t, id, string(message.ViaStream))
	default:
		w.note(t, id, string(message.ViaHTTP))
	}
}

// teller writes down what the log says of the outbox.
type teller struct {
	slog.Handler
	p *process
}

func (h *teller) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && strings.Contains(r.Message, "outbox") {
		h.p.tell(r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

// tell writes down what a caller, a log's reader or a page of health learnt of
// the outbox.
func (p *process) tell(what string) { p.note(faults.Record{What: faults.Told, Detail: what}) }

// openOutbox opens the outbox and does what its operator is told to.
func (p *process) openOutbox() (*outbox.File, error) {
	path := filepath.Join(filepath.Dir(p.Journal), "outbox")
	options := outbox.Options{MaxBytes: -1, Logger: p.logger}
	file, err := outbox.Open(path, options)
	if err != nil && p.Plan.Mode == faults.Sending {
		p.tell(err.Error())
		if err := os.Rename(path, path+".moved-"+p.Who); err != nil {
			return nil, err
		}
		file, err = outbox.Open(path, options)
	}
	if err != nil || !p.Last {
		return file, err
	}
	if p.Plan.Salvage {
		aside, err := filepath.Glob(path + ".set-aside-*")
		if err != nil {
			return file, err
		}
		for _, name := range aside {
			done, err := file.Salvage(name)
			p.logger.Info("salvaged", "records", done.Records, "doubles", done.Doubles, "damage", done.Damage, "err", err)
			if err != nil {
				return file, err
			}
		}
	}
	if p.Plan.Requeue {
		for r, err := range file.All() {
			if err == nil && r.State == outbox.SetAside {
				err = file.Requeue(r.Type, r.ID)
			}
			if err != nil {
				return file, err
			}
		}
	}
	return file, nil
}

// unwilling is a receiver that hangs when it is told to, and refuses the
// messages that the plan names.
func (w *worker) unwilling(receiver http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if w.Plan.Mode != faults.Sending || req.Method != http.MethodPost {
			receiver.ServeHTTP(rw, req)
			return
		}
		body, err := io.ReadAll(req.Body)
		w.mu.Lock()
		hangs := time.Until(w.hangs)
		w.mu.Unlock()
		select {
		case <-req.Context().Done():
			return
		case <-time.After(hangs):
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		if e, decoded := message.Decode(body); err == nil && decoded == nil {
			n, _ := numberOf(e)
			if status := faults.RefusalOf(w.Plan.Seed, e.Type, n); status != 0 {
				w.note(faults.Record{What: faults.ReceiverRefused, Type: e.Type, N: n})
				rw.Header().Set("Accept-Post", acceptPost(receiver))
				rw.WriteHeader(status)
				return
			}
		}
		receiver.ServeHTTP(rw, req)
	})
}

// acceptPost is the header by which a receiver says that it takes whole messages.
func acceptPost(receiver http.Handler) string {
	header := headers{}
	req, err := http.NewRequest(http.MethodOptions, "/", nil)
	if err == nil {
		receiver.ServeHTTP(header, req)
	}
	return http.Header(header).Get("Accept-Post")
}

// headers is an answer of which only the headers are kept.
type headers http.Header

func (h headers) Header() http.Header         { return http.Header(h) }
func (h headers) Write(b []byte) (int, error) { return len(b), nil }
func (h headers) WriteHeader(int)             {}

package fogispubsub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// sender is the publishing half with the outbox of the settings. The outbox
// belongs to the one process that publishes, but the settings are often those of
// all services. So it is opened when the client turns out to publish: by the first
// Publish, or by a Run without handlers.
type sender struct {
	conn    redis.UniversalClient
	options publisher.Options
	path    string // of the outbox that is to be opened; "" is none
	open    func(path string) (publisher.Outbox, error)

	current atomic.Pointer[publisher.Publisher]
	ready   chan struct{} // closed once current is the one that publishes
	problem atomic.Pointer[error]
	opened  atomic.Pointer[publisher.Outbox]
	refused atomic.Uint64 // messages, because the outbox could not be opened

	turn   chan struct{}    // capacity one; guards what follows, and the opening
	file   publisher.Outbox // opened here, else nil
	closed bool
}

var errClosed = errors.New("the client is closed")

// newSender reports the faults of the options; it does not open the outbox.
func newSender(conn redis.UniversalClient, o publisher.Options, path string, open func(string) (publisher.Outbox, error)) (*sender, error) {
	p, err := publisher.New(conn, o)
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, options: o, path: path, open: open, ready: make(chan struct{}), turn: make(chan struct{}, 1)}
	s.current.Store(p)
	if path == "" {
		close(s.ready)
	}
	return s, nil
}

// get returns the publisher, with the outbox opened.
func (s *sender) get(ctx context.Context) (*publisher.Publisher, error) {
	select {
	case <-s.ready:
		return s.current.Load(), nil
	default:
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-s.ready: // by who had the turn
		return s.current.Load(), nil
	default:
	}
	p, err := s.openOutbox()
	if err != nil {
		s.problem.Store(&err)
		return nil, err
	}
	s.problem.Store(nil)
	s.current.Store(p)
	close(s.ready)
	return p, nil
}

// openOutbox makes the publisher that has the outbox. Its caller has the turn.
func (s *sender) openOutbox() (*publisher.Publisher, error) {
	if s.closed {
		return nil, errClosed
	}
	if s.open == nil {
		return nil, errors.New("settings: FOGIS_OUTBOX_PATH is set, but this program opens no outbox; set Options.OpenOutbox, or unset the variable")
	}
	file, err := s.open(s.path)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, errors.New("Options.OpenOutbox returned no outbox; return one or an error")
	}
	o := s.options
	o.Outbox = file
	p, err := publisher.New(s.conn, o)
	if err != nil {
		return nil, errors.Join(err, closeOutbox(file))
	}
	s.file = file
	s.opened.Store(&file)
	s.tell(file)
	return p, nil
}

// publish opens the outbox first. A message whose outbox cannot be opened is
// refused: it would overtake those that wait there.
func (s *sender) publish(ctx context.Context, p message.Payload, opts []publisher.PublishOption) (publisher.Receipt, error) {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return s.current.Load().Publish(ctx, p, opts...) // which refuses it
	}
	sending, err := s.get(ctx)
	if err != nil {
		s.refused.Add(1)
		return publisher.Receipt{}, &publisher.Error{Type: p.MessageType(), Outbox: err}
	}
	return sending.Publish(ctx, p, opts...)
}

// run runs the publisher. Without an outbox yet it waits for the first Publish,
// unless the client only publishes.
func (s *sender) run(ctx context.Context, onlyPublishes bool) error {
	if onlyPublishes {
		if _, err := s.get(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the outbox is not opened: %w", err)
		}
	}
	select {
	case <-s.ready:
		return s.current.Load().Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// outbox is the one in use, nil if there is none.
func (s *sender) outbox() publisher.Outbox {
	if file := s.opened.Load(); file != nil {
		return *file
	}
	return s.options.Outbox
}

// troubled is an outbox that knows what an operator should look at, as
// outbox.File does.
type troubled interface {
	Problems() iter.Seq2[string, string]
}

// tell logs what is wrong with the outbox when it is opened.
func (s *sender) tell(file publisher.Outbox) {
	if t, ok := file.(troubled); ok {
		for problem, cure := range t.Problems() {
			s.options.Logger.Error("the outbox needs an operator", slog.String("problem", problem), slog.String("cure", cure))
		}
	}
}

// aging is an outbox that knows how old its records are, as outbox.File does.
type aging interface {
	Types() []message.Type
	Oldest(types ...message.Type) time.Time
}

// check judges the outbox; ok is false if there is none. routed tells whether a
// type has a channel or a fallback.
func (s *sender) check(routed func(message.Type) bool) (check health.Check, ok bool) {
	file := s.outbox()
	if file == nil {
		return check, false
	}
	check = health.Check{Name: "outbox", Status: health.Healthy, Details: map[string]any{"waiting": file.Len()}}
	if t, ok := file.(troubled); ok {
		for problem, cure := range t.Problems() {
			check.Find(health.Degraded, problem, cure)
		}
	}
	if a, ok := file.(aging); ok {
		for _, t := range a.Types() {
			if !routed(t) {
				check.Find(health.Degraded, fmt.Sprintf("%d messages of type %s wait in the outbox and have no route", file.Len(t), t), "give the type a channel, or remove them with fogis-pubsub outbox")
			}
		}
		if oldest := a.Oldest(); !oldest.IsZero() {
			check.Details["oldest"] = oldest
			if age := time.Since(oldest); age > waitingAge {
				check.Find(health.Degraded, fmt.Sprintf("a message has waited in the outbox for %v", age.Round(time.Second)), "see what Redis and the fallback answer; fogis-pubsub outbox list")
			}
		}
	}
	return check, true
}

func (s *sender) stats() publisher.Stats {
	st := s.current.Load().Stats()
	st.Failed += s.refused.Load()
	return st
}

// openProblem is why the outbox could not be opened when it was last tried.
func (s *sender) openProblem() error {
	if err := s.problem.Load(); err != nil {
		return *err
	}
	return nil
}

// close closes the outbox that was opened here.
func (s *sender) close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.closed = true
	file := s.file
	s.file = nil
	return closeOutbox(file)
}

func closeOutbox(file publisher.Outbox) error {
	if c, ok := file.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

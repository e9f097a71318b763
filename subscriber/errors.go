package subscriber

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/PitchConnect/fogispubsub/message"
)

var (
	// ErrRunning is returned by a Run that starts while another one runs.
	ErrRunning = errors.New("subscriber: Run is already running")

	// ErrNotRunning is wrapped by Restart and Dispatch when Run does not run.
	ErrNotRunning = errors.New("subscriber: Run is not running")

	// ErrDrainTimeout is wrapped by Run, and given to OnError, when messages
	// were left unhandled because Options.DrainTimeout passed. It is also the
	// cause of the handler's context from then on.
	ErrDrainTimeout = errors.New("subscriber: drain timeout passed; raise Options.DrainTimeout or let the handler return when its context ends")

	// ErrUnhandled is wrapped by Dispatch for a type without a handler.
	ErrUnhandled = errors.New("subscriber: no handler for the message's type")
)

// HandlerError tells that a message was given up. Err is what the handler
// returned last, a *[PanicError], or [ErrDrainTimeout].
type HandlerError struct {
	Header   message.Header
	Attempts int // how often the handler was called; zero when it never was
	Err      error
}

// Error names the message by type and ID, never by its contents. The
// handler's own error is part of it.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("subscriber: %q message %q not handled after %d attempts: %v",
		clip(string(e.Header.Type)), clip(e.Header.ID), e.Attempts, e.Err)
}

// Unwrap returns Err.
func (e *HandlerError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler. A message that caused one is not
// handed over again.
type PanicError struct {
	// Value is what the handler panicked with, nil when it ended its
	// goroutine by runtime.Goexit. It may hold contents of the message.
	Value any
	Stack []byte
}

// Error gives the text of a runtime error, and of other values only the type,
// because the value may hold personal data.
func (e *PanicError) Error() string {
	switch v := e.Value.(type) {
	case nil:
		return "handler ended its goroutine"
	case runtime.Error:
		return "handler panicked: " + v.Error()
	default:
		return fmt.Sprintf("handler panicked with a %T", v)
	}
}

// Unwrap returns Value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Permanent marks a handler's error as one that another attempt will not
// cure: the message is given up at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// payloadError carries the refusal of [message.As] from the shell that On
// builds to the lane, which counts it as invalid and not as failed.
type payloadError struct{ err error }

func (e *payloadError) Error() string { return e.err.Error() }
func (e *payloadError) Unwrap() error { return e.err }

// clip bounds text that came over the wire before it is logged or shown.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

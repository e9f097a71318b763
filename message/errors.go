package message

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid is wrapped by every refusal of a message, received or to be
	// sent. The same bytes will be refused again: do not retry.
	ErrInvalid = errors.New("invalid message")

	// ErrTooLarge is wrapped by a refusal for the number of bytes or of elements.
	// It wraps [ErrInvalid]. Less in one message, or a larger bound on both sides,
	// is the cure.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrInvalid)

	// ErrRefused is wrapped when a receiver refuses a message for good: it would
	// refuse the same bytes again, so repeating them is of no use. A refusal that
	// a later attempt can overcome does not wrap it, nor does one that says
	// nothing about the message, such as a wrong token.
	ErrRefused = errors.New("message refused by the receiver")

	// ErrProbe is returned by [Decoder.Decode] for an operator's probe
	// ("health_check_<epoch>", "test_message_<epoch>", {"test":true}): no
	// failure, and nothing for a handler.
	ErrProbe = errors.New("probe message")

	// ErrBusy is wrapped when a receiver could not take a message now and
	// holds no claim on it: send the same message again later.
	ErrBusy = errors.New("receiver is busy")
)

// refusal is the error behind [ErrInvalid]: where the fault lies and what it
// is, in words that hold nothing of the message itself.
type refusal struct {
	path string // "payload.matches[3]"; "" for the message as a whole
	why  string
	kind error // nil for ErrInvalid alone
}

func (r *refusal) Error() string {
	if r.path == "" {
		return ErrInvalid.Error() + ": " + r.why
	}
	return ErrInvalid.Error() + ": " + r.path + ": " + r.why
}

func (r *refusal) Unwrap() error {
	if r.kind != nil {
		return r.kind
	}
	return ErrInvalid
}

// within puts the part of a message that err is about under path.
func within(path string, err error) error {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case !ok:
		return err
	case r.path == "":
		return &refusal{path: path, why: r.why, kind: r.kind}
	case r.path[0] == '[':
		return &refusal{path: path + r.path, why: r.why, kind: r.kind}
	}
	return &refusal{path: path + "." + r.path, why: r.why, kind: r.kind}
}

func refuse(path, why string) error { return &refusal{path: path, why: why} }

func refusef(path, format string, args ...any) error {
	return &refusal{path: path, why: fmt.Sprintf(format, args...)}
}

// wantError tells that raw is of another JSON kind than wanted.
func wantError(path, want string, raw []byte) error {
	return refusef(path, "want %s, got %s", want, kindOf(raw))
}

// kindOf names the kind of a valid JSON value.
func kindOf(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

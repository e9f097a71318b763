package message

import "errors"

var (
	// ErrInvalid is wrapped by every refusal of a message, received or to be
	// sent. The same bytes will be refused again: do not retry.
	ErrInvalid = errors.New("invalid message")

	// ErrProbe is returned by [Decoder.Decode] for an operator's probe
	// ("health_check_<epoch>", "test_message_<epoch>", {"test":true}): no
	// failure, and nothing for a handler.
	ErrProbe = errors.New("probe message")

	// ErrBusy is wrapped when a receiver could not take a message now and
	// holds no claim on it: send the same message again later.
	ErrBusy = errors.New("receiver is busy")
)

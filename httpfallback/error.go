package httpfallback

import (
	"fmt"
	"strings"

	"github.com/PitchConnect/fogispubsub/message"
)

// Error tells that a receiver has not accepted a message, or not all of it.
// Its text names the receiver, the outcome and the likely cure, and nothing
// of what the message or the receiver's answer holds.
//
// It wraps [message.ErrRefused] if the receiver refuses the message for good.
// That is so for a 4xx that says something about the message. All else may pass:
// every 5xx, 408, 409, 421, 423, 424, 425 and 429, faults of the network and of
// TLS, answers that cannot be read; and wrong settings, which say nothing about
// the message: 401, 403, 405, redirects, and 400 or 404 where the URL answers
// OPTIONS in the same way.
type Error struct {
	// URL is the receiver's, without user, password and query.
	URL string
	// Status is the HTTP status that ended the attempts, or the last one before
	// the time ran out; zero when there was none.
	Status int
	// Part is the part that failed, from 1, and Of how many parts the message
	// has. When several failed it is the one that ended the Notify, else the
	// first that was not refused for good, else the first. Both are zero for a
	// message that was sent whole.
	Part, Of int
	// Attempts is how often this part, or the whole message, was tried.
	Attempts int
	// Accepted is how many parts were accepted.
	Accepted int

	reason  string
	cause   error
	refused bool
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("httpfallback: " + e.URL)
	if e.Of > 0 {
		fmt.Fprintf(&b, " (part %d of %d, %d accepted)", e.Part, e.Of, e.Accepted)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts", e.Attempts)
	}
	b.WriteString(": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d: ", e.Status)
	}
	b.WriteString(e.reason)
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause: the network's error, the context's, one that wraps
// message.ErrInvalid, or nil when the receiver's answer was all there is.
func (e *Error) Unwrap() error { return e.cause }

// Is implements [errors.Is] for [message.ErrRefused].
func (e *Error) Is(target error) bool { return e.refused && target == message.ErrRefused }

package publisher

import (
	"errors"
	"strconv"
	"strings"

	"github.com/PitchConnect/fogispubsub/message"
)

// ErrTooFewReceivers is wrapped when Redis took a match_updates message but
// fewer listeners than Options.RequireReceivers were there to get it. The
// others may have it.
var ErrTooFewReceivers = errors.New("too few receivers")

// Error tells why no route took a message. It unwraps to every cause: to
// [message.ErrInvalid] for a message that nothing was done with, to
// [message.ErrTooLarge] also when the Redis server takes none of that length, to the
// context's error when the caller's context ended the attempts, to
// [ErrTooFewReceivers], to the errors of go-redis and the network, to that of
// the fallback, to that of the outbox. It holds nothing of the message's content, and no password.
type Error struct {
	ID      string // "" when the message was refused before it got one
	Type    message.Type
	Channel string
	// Addr is where Redis was looked for, "" if that is not known.
	Addr string
	// Attempts is how often PUBLISH was tried.
	Attempts int
	// Unknown reports that an answer was lost, of this Publish or of an earlier one
	// that it is a [Retry] of: the message may have been delivered. Publish it again with [Retry] and this error: the stream then
	// gets it once, and receivers know it by its ID.
	Unknown bool
	// Aside reports that the fallback or Redis refused the message for good and that
	// the outbox keeps it for an operator.
	Aside bool

	// Redis holds the failures there, in order; empty when it was not asked.
	Redis []error
	// Fallback is the fallback's failure; nil when it was not asked.
	Fallback error
	// Outbox is why the outbox did not take the message; nil when it was not
	// asked.
	Outbox error
	// Err is what else ended the publish: the refusal of the message or the
	// context's error.
	Err error

	mark string // a place in the stream that lies before every attempt
}

// Error names the message, each route with its address and failure, and what
// may cure it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("publish " + string(e.Type))
	if e.Channel != "" {
		b.WriteString(" on " + e.Channel)
	}
	if e.ID != "" {
		b.WriteString(" (message " + e.ID + ")")
	}
	sep := ": "
	part := func(s string) {
		b.WriteString(sep + s)
		sep = "; "
	}
	if e.Err != nil {
		part(e.Err.Error())
	}
	if len(e.Redis) > 0 {
		part("redis")
		if e.Addr != "" {
			b.WriteString(" " + e.Addr)
		}
		b.WriteString(": " + distinct(e.Redis))
		if e.Attempts > 1 {
			b.WriteString(" [" + strconv.Itoa(e.Attempts) + " attempts]")
		}
	}
	if e.Fallback != nil {
		part("fallback: " + e.Fallback.Error())
	} else if len(e.Redis) > 0 && e.Err == nil && e.Outbox == nil {
		if e.Type == message.TypeMatchUpdates {
			part("no fallback is set: FOGIS_FALLBACK_URL, or Options.Fallback")
		} else {
			part("no fallback for this type")
		}
	}
	if e.Outbox != nil {
		part(e.Outbox.Error())
	}
	if e.Aside {
		part("the outbox keeps it aside; see fogis-pubsub outbox list")
	}
	if e.Unknown {
		part("it may have been delivered all the same")
	}
	return b.String()
}

// Unwrap returns every cause.
func (e *Error) Unwrap() []error {
	causes := make([]error, 0, len(e.Redis)+3)
	if e.Err != nil {
		causes = append(causes, e.Err)
	}
	causes = append(causes, e.Redis...)
	for _, err := range []error{e.Fallback, e.Outbox} {
		if err != nil {
			causes = append(causes, err)
		}
	}
	return causes
}

// distinct joins the texts of errors, each text once.
func distinct(errs []error) string {
	var texts []string
	seen := make(map[string]bool, len(errs))
	for _, err := range errs {
		if text := err.Error(); !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", then ")
}

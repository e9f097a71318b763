package durable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

var (
	// ErrUnsupported is wrapped when the server does not know a command that
	// streams need: it is older than Redis 7, or the command was taken away by
	// rename-command.
	ErrUnsupported = errors.New("streams need Redis 7 or later")

	// ErrLeaseLost is wrapped by what is asked of a lease that is no longer
	// held, and is the cause of its context: another instance may handle the
	// channel now.
	ErrLeaseLost = errors.New("the lease was lost")

	// ErrNotFound is wrapped when there is no dead letter with the given ID.
	ErrNotFound = errors.New("no such dead letter")

	// ErrStale is wrapped when a dead letter was not requeued because the group
	// has handled, or will handle before it, a newer state of the matches.
	ErrStale = errors.New("a newer message makes it stale")

	// ErrUnsettled is wrapped when a [Purge] would delete what a group has not
	// handled.
	ErrUnsettled = errors.New("a group has not handled what is to be purged")
)

// Error tells what could not be done with the stream of a channel. It unwraps
// to the cause, and holds nothing of a message's content and no password.
type Error struct {
	Op      string // "append", "acquire", "read", …
	Channel string
	Group   string // "" where no group is concerned
	// Unknown tells that the answer was lost: what was asked for may have been
	// done.
	Unknown bool
	// Refused tells that a living server said no and will say so again until
	// somebody changes a right, a password or the server. With neither Unknown
	// nor Refused nothing was done, and another attempt may work.
	Refused bool
	Err     error
}

// Error names the operation, the channel, the cause and what may cure it.
func (e *Error) Error() string {
	text := "durable: " + e.Op + " on " + e.Channel
	if e.Group != "" {
		text += " for group " + e.Group
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// rights names what an operation needs of the server's ACL: commands, and
// whether it publishes.
type rights string

const (
	// +set is for the key {channel}:repeat of the publisher.
	writerRights rights = "+multi +exec +xadd +publish +evalsha +eval +xrange +xrevrange +xlen +xtrim +time +memory|usage +set"
	readerRights rights = "+evalsha +eval +get +set +pttl +pexpire +del +exists +xinfo +xgroup +xreadgroup +xpending +xack +xadd +xrange +xrevrange +xlen +xtrim +time +memory|usage +hget +hset +hdel"
	replayRights rights = "+xrange +xrevrange"
	deadRights   rights = "+evalsha +eval +xrange +xadd +xdel +xpending +xinfo +hget"
)

// fail makes an [Error] of what a command returned; err is not nil.
func fail(op, channel, group string, needs rights, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Op: op, Channel: channel, Group: group}
	var answer redis.Error
	switch {
	case redis.HasErrorPrefix(err, noLease):
		e.Err = fmt.Errorf("%w: another holder has it, or the key is gone", ErrLeaseLost)
	case isUnknownCommand(err):
		// Redis quotes the beginnings of the arguments.
		text, _, _ := strings.Cut(err.Error(), ", with args")
		e.Refused, e.Err = true, fmt.Errorf("%w (%s)", ErrUnsupported, text)
	case isForbidden(err):
		channels := ""
		if needs == writerRights {
			channels = ", channel &" + channel
		}
		e.Refused = true
		if !strings.Contains(err.Error(), "NOPERM") {
			err = fmt.Errorf("NOPERM: %w", err)
		}
		e.Err = fmt.Errorf("%w (give this user in the server's ACL: keys ~{%s}:*%s, commands %s)", err, channel, channels, needs)
	case redis.IsAuthError(err):
		e.Refused, e.Err = true, fmt.Errorf("%w (give the client the server's user and password)", err)
	case errors.Is(err, redis.Nil): // of Sentinels: no command's nil comes here
		e.Err = fmt.Errorf("%w of the client's MasterName yet", topology.ErrNoMaster)
	case errors.As(err, &answer):
		e.Refused, e.Err = !passes(err), err
		switch {
		case redis.IsOOMError(err):
			e.Err = fmt.Errorf("%w (Redis is full: raise maxmemory, or bound the streams)", err)
		case redis.HasErrorPrefix(err, "MISCONF"):
			e.Err = fmt.Errorf("%w (free the disk that Redis writes its snapshots to, or switch these off)", err)
		}
	// Of these go-redis tells while it waits for a connection.
	case err == context.DeadlineExceeded:
		e.Err = fmt.Errorf("no connection in time: %w (is Redis reachable at this address, with TLS if the URL is rediss://?)", err)
	case errors.Is(err, context.Canceled) && !topology.IsNetwork(err),
		errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		e.Err = err
	case errors.Is(err, redis.ErrClosed):
		e.Refused, e.Err = true, fmt.Errorf("%w (the Redis client was closed before its user)", err)
	case errors.Is(err, topology.ErrNotMaster), errors.Is(err, topology.ErrNoMaster):
		e.Err = err
	case isDial(err):
		e.Err = fmt.Errorf("%w (is Redis running at this address?)", err)
	case topology.IsNetwork(err):
		e.Unknown, e.Err = true, fmt.Errorf("no answer: %w", err)
	default:
		// What go-redis says of an answer that it cannot read quotes it.
		e.Unknown, e.Err = true, fmt.Errorf("no readable answer, %T (is this a Redis server?)", err)
	}
	return e
}

// passes tells whether a refusal ends by itself.
func passes(err error) bool {
	return redis.IsLoadingError(err) || redis.IsMasterDownError(err) ||
		redis.IsMaxClientsError(err) || redis.IsNoReplicasError(err) || redis.IsOOMError(err) || topology.IsMoving(err) ||
		redis.HasErrorPrefix(err, "BUSY ") || redis.HasErrorPrefix(err, "MISCONF")
}

// isUnknownCommand tells of a command that the server does not know, whether a
// client or a script of ours gave it.
func isUnknownCommand(err error) bool {
	return answers(err, "unknown command", "unknown redis command")
}

// isForbidden tells of a right that is missing. Redis has no code for one that a
// script of ours lacks, and says so in one way up to 7.0, and in another one since;
// for EXEC the code stands inside of another error.
func isForbidden(err error) bool {
	return redis.IsPermissionError(err) ||
		answers(err, "the user executing the script can't", "acl failure in script", "because of: noperm")
}

// answers tells whether an error is the server's and holds one of these texts,
// in any case.
func answers(err error, texts ...string) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	said := strings.ToLower(err.Error())
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(said, text) })
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// clip bounds text that came over the wire before it is shown.
func clip(s string) string { return clipTo(s, 64) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

package topology

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

const (
	// leastLimit is a little less than 1 MiB, below which neither of a server's
	// limits can be set: proto-max-bulk-len and client-query-buffer-limit.
	leastLimit = 1<<20 - 64<<10
	// sizeTrials is how often a long command must be cut off, and a short one
	// answered just before on the same connection, until it is the length.
	sizeTrials = 3
)

// IsTooLong reports whether a server refuses a command with an argument of so many
// bytes because of its length alone, so that it would refuse it again and a shorter
// one not. err is what became of the command.
//
// A server that refuses it says so and closes the connection, mostly before all of
// the command was written: then the answer is lost, and go-redis tells of a
// connection that was reset. For client-query-buffer-limit there is no answer at all.
// So it tries commands that do nothing, short ones and one of that length in turn.
// Without proof the answer is false.
func IsTooLong(ctx context.Context, node redis.UniversalClient, size int, err error) bool {
	if size < leastLimit || err == nil {
		return false
	}
	if isBulkRefused(err) {
		return true
	}
	if !isCut(err) {
		return false
	}
	long := make([]byte, size)
	for range sizeTrials {
		if err := swallow(ctx, node, nil); !isAnswer(err) {
			return false
		}
		switch err := swallow(ctx, node, long); {
		case isBulkRefused(err):
			return true
		case !isCut(err):
			return false
		}
	}
	return true
}

// swallow has the server read an argument. ECHO with a second one is refused when it
// has been read as a whole, before rights are looked at: the answer is short.
func swallow(ctx context.Context, node redis.UniversalClient, argument []byte) error {
	return node.Do(ctx, "echo", argument, "").Err()
}

// isBulkRefused reports whether an answer is that to an argument which is longer
// than proto-max-bulk-len.
func isBulkRefused(err error) bool {
	return redis.HasErrorPrefix(err, "Protocol error: invalid bulk length")
}

// isCut reports whether a connection ended that had been opened.
func isCut(err error) bool {
	if err == nil || isAnswer(err) || !IsNetwork(err) {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return false
	}
	timeout, ok := errors.AsType[net.Error](err)
	return !ok || !timeout.Timeout()
}

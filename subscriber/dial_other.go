//go:build !linux

package subscriber

import (
	"syscall"
	"time"
)

// limitUnacknowledged does nothing here: the read deadline alone has to find
// a vanished peer.
func limitUnacknowledged(syscall.RawConn, time.Duration) error { return nil }

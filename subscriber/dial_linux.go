package subscriber

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h; package syscall has it
// for some architectures only.
const tcpUserTimeout = 0x12

// limitUnacknowledged makes the kernel close the connection when sent bytes
// stay unacknowledged for longer than d. Without it a PING in flight puts off
// the keep-alive probes and a vanished peer is noticed after minutes.
func limitUnacknowledged(raw syscall.RawConn, d time.Duration) error {
	var result error
	err := raw.Control(func(fd uintptr) {
		result = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return result
}

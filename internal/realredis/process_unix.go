//go:build unix && !linux

package realredis

import (
	"os/exec"
	"syscall"
)

const (
	freeze = syscall.SIGSTOP
	thaw   = syscall.SIGCONT
)

// dieWithParent does nothing where the kernel offers no such tie: a server
// outlives a test binary that is killed.
func dieWithParent(*exec.Cmd) {}

// stopped takes the signal for the deed.
func stopped(int) bool { return true }

package realredis

import (
	"os/exec"
	"syscall"
)

// Windows knows neither signal; sending them fails the test.
const (
	freeze = syscall.Signal(0x13)
	thaw   = syscall.Signal(0x12)
)

func dieWithParent(*exec.Cmd) {}

func stopped(int) bool { return true }

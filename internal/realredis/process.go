package realredis

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a running program.
type process struct {
	os   *os.Process
	done chan struct{} // closed when the program has ended and was waited for
}

// spawn starts cmd. On Linux the program is tied to the thread that starts it,
// so a goroutine keeps that thread for as long as the program runs.
func spawn(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		dieWithParent(cmd)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is always killed, so the status says nothing
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.os = cmd.Process
	return p, nil
}

func (p *process) signal(s syscall.Signal) error { return p.os.Signal(s) }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

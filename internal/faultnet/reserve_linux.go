package faultnet

import (
	"fmt"
	"syscall"
)

// reserve binds a socket to a free loopback port and does not listen on it.
// Linux lets a second socket bind and listen there as long as both set
// SO_REUSEADDR and the first does not listen, and it gives a port that has
// such an owner to no outgoing connection and to no bind to port 0.
func reserve() (addr string, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = syscall.Close(fd) }
	defer func() {
		if err != nil {
			release()
		}
	}()
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", nil, err
	}
	// Only after the bind: with the option set, the kernel may answer a bind
	// to port 0 with the port of another reservation.
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", nil, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", nil, err
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return "", nil, fmt.Errorf("bound to a %T", name)
	}
	return fmt.Sprintf("127.0.0.1:%d", bound.Port), release, nil
}

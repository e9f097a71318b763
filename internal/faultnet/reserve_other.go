//go:build !linux

package faultnet

// reserve returns an address that was free a moment ago.
func reserve() (addr string, release func(), err error) {
	l, err := listen("127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	return addr, func() {}, l.Close()
}

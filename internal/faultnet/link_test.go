package faultnet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// pieces notes every write. How many of them a reader gets at once is the
// kernel's business, so that only this end can tell.
type pieces []string

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, string(b))
	return len(b), nil
}

func TestLink_write_byteByByte(t *testing.T) {
	t.Parallel()
	p := &Proxy{changed: make(chan struct{})}
	l := newLink(p, nil)
	var got pieces
	require.True(t, l.write(&got, []byte("Åby")))
	p.ByteByByte(true)
	require.True(t, l.write(&got, []byte("Åby")))
	require.Equal(t, pieces{"Åby", "\xc3", "\x85", "b", "y"}, got)
}

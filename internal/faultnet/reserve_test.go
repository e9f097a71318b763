package faultnet_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/stretchr/testify/require"
)

func TestReserve_refusesUntilSomebodyListens(t *testing.T) {
	t.Parallel()
	addr := faultnet.Reserve(t)
	for range 3 {
		_, err := net.Dial("tcp", addr)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
}

func TestReserve_givesEachAddressOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 200 {
		addr := faultnet.Reserve(t)
		require.False(t, seen[addr], addr)
		seen[addr] = true
	}
}

// A client that dials a closed port of the ephemeral range may be given that
// very port and connect to itself. A reserved port is never given away.
func TestReserve_neverConnectsToItself(t *testing.T) {
	t.Parallel()
	addr := faultnet.Reserve(t)
	for range 5000 {
		_, err := net.Dial("tcp", addr)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}

package durable

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// checkClient refuses a client that repeats commands by itself, so that an
// entry whose append was not answered would be there twice, or that waits
// beyond a deadline.
func checkClient(conn redis.UniversalClient) error {
	if err := topology.Check(conn); err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	return nil
}

package topology

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ErrNotMaster: Sentinel named a server that is none, as in the midst of a
// failover. Another connection, a moment later, finds the next one.
var ErrNotMaster = errors.New("the server that Sentinel named is not the master")

// BehindSentinel tells whether options are those of a client that asks Sentinel
// for the master.
func BehindSentinel(o *redis.Options) bool { return o.Addr == failoverAddr }

// DemandMaster has every new connection under o fail with [ErrNotMaster] unless
// its server is a master.
func DemandMaster(o *redis.Options) {
	before := o.OnConnect
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, cn); err != nil {
				return err
			}
		}
		role, err := roleOf(ctx, cn)
		if err == nil && role != "master" {
			err = ErrNotMaster
		}
		return err
	}
}

// roleOf asks by ROLE, and where the user has no right to that by HELLO, which
// most have.
func roleOf(ctx context.Context, cn *redis.Conn) (string, error) {
	answer, err := cn.Do(ctx, "ROLE").Slice()
	if err == nil && len(answer) > 0 {
		role, _ := answer[0].(string)
		return role, nil
	}
	if !redis.IsPermissionError(err) {
		return "", fmt.Errorf("asking for the server's role: %w", err)
	}
	hello, err := cn.Hello(ctx, 2, "", "", "").Result()
	if err != nil {
		return "", fmt.Errorf("asking for the server's role: %w (allow the user +role or +hello)", err)
	}
	role, _ := hello["role"].(string)
	return role, nil
}

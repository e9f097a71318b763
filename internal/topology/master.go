package topology

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// ErrNotMaster is returned when the server at the end of a connection is a
// replica, as during a failover. A new connection, a moment later, finds the
// master.
var ErrNotMaster = errors.New("the connected server is not a master; point the address to the master")

// ErrAnswer is wrapped when an answer does not belong to the command.
var ErrAnswer = errors.New("unexpected answer")

// ErrNoMaster is wrapped while the Sentinels answer, and know no master of the
// name that they were asked for.
var ErrNoMaster = errors.New("no Sentinel knows a master")

// NameMaster makes a Dialer that asks Sentinels return [ErrNoMaster] when they
// answer but know no master, so that this is no unreachable server.
func NameMaster(dial Dialer, name string) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			err = fmt.Errorf("%w named %q yet; wait, or correct the master's name in REDIS_URL", ErrNoMaster, name)
		}
		return conn, err
	}
}

func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// BehindSentinel tells whether options are those of a client that asks Sentinel
// for the master.
func BehindSentinel(o *redis.Options) bool { return o.Addr == failoverAddr }

// DemandMaster has every new connection under o fail with [ErrNotMaster] unless
// its server is a master, or a Sentinel: go-redis asks those under the same
// options.
func DemandMaster(o *redis.Options) {
	before := o.OnConnect
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, cn); err != nil {
				return err
			}
		}
		role, err := roleOf(ctx, cn)
		if err == nil && role != "master" && role != "sentinel" {
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

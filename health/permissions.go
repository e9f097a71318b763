package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// permissions queues the commands in a MULTI and discards them: on a connection of
// its own, which is closed afterwards whatever happened, so that no other command
// is ever queued there.
func (n *node) permissions(ctx context.Context, q Question) Check {
	c := Check{Name: NamePermissions, Status: Healthy}
	client, ok := n.conn.(*redis.Client)
	if !ok {
		return unasked(NamePermissions, fmt.Errorf("a %T has no connection of its own", n.conn), "")
	}
	own := redis.NewClient(oneConnection(client.Options()))
	defer own.Close()
	conn := own.Conn()
	defer conn.Close()
	began := time.Now()
	// Its answer is waited for: without a MULTI the others would take effect.
	if err := conn.Do(ctx, "MULTI").Err(); err != nil {
		return unasked(NamePermissions, err, "the check needs the rights +multi +discard")
	}
	var asked []*redis.Cmd
	_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, channel := range n.channels {
			for _, command := range q.Commands[channel] {
				asked = append(asked, p.Do(ctx, command...))
			}
		}
		p.Do(ctx, "DISCARD")
		return nil
	})
	if err != nil && !isReply(err) {
		return unasked(NamePermissions, err, "")
	}
	for _, command := range asked {
		if redis.HasErrorPrefix(command.Err(), "NOPERM") {
			args := command.Args()
			c.Find(Degraded, fmt.Sprintf("the Redis user may not %s on %s", clip(fmt.Sprint(args[0])), clip(fmt.Sprint(args[min(1, len(args)-1)]))), "ACL SETUSER <user> with that command, channel or key")
		}
	}
	c.Elapsed, c.Details = time.Since(began), map[string]any{"asked": len(asked)}
	return c
}

// oneConnection gives options that dial once: a second connection would know
// nothing of the MULTI on the first.
func oneConnection(of *redis.Options) *redis.Options {
	o := *of
	topology.Plain(&o)
	dial := o.Dialer
	var dialed atomic.Bool
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errors.New("the connection was lost in the middle of the check")
		}
		return dial(ctx, network, addr)
	}
	return &o
}

// isReply tells whether an error is what a living server answered.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !errors.Is(err, redis.Nil)
}

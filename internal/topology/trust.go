package topology

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxIdle bounds what DropIdle closes at once: others may put connections back
// meanwhile.
const maxIdle = 64

// DropIdle closes the idle connections of a node's client, so that the next
// command opens one. It sends nothing and waits for nothing. Connections in use
// are left to those who use them.
//
// go-redis closes a connection whose command failed, but knows only the first
// error of a pipeline and cannot ask a connection of its pool to go.
func DropIdle(node redis.UniversalClient) {
	// The deadline has passed, so that the write fails before a byte is sent, and
	// go-redis closes the connection.
	ctx := past{context.Background()}
	for range maxIdle {
		pools := node.PoolStats()
		single := pools.IdleConns > 0
		piped := pools.PipelineStats != nil && pools.PipelineStats.IdleConns > 0
		if single {
			_ = node.Ping(ctx).Err()
		}
		if piped {
			all := node.Pipeline()
			all.Ping(ctx)
			_ = Exec(ctx, all)
		}
		if !single && !piped {
			return
		}
	}
}

// past is a context whose deadline has passed and that has not ended: go-redis
// hands out a connection under it.
type past struct{ context.Context }

func (past) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

// roleQuestion is the question for a server's role, in a pipeline with other
// commands. It is asked by HELLO without arguments, which changes nothing and
// needs no right.
type roleQuestion struct{ cmd *redis.MapStringInterfaceCmd }

// askRole adds the question to a pipeline.
func askRole(ctx context.Context, p redis.Pipeliner) roleQuestion {
	q := roleQuestion{redis.NewMapStringInterfaceCmd(ctx, "hello")}
	_ = p.Process(ctx, q.cmd)
	return q
}

// err is [ErrNotMaster] if the server says that it is none, and nil if it is one
// or does not say.
func (q roleQuestion) err() error {
	answer, err := q.cmd.Result()
	if err != nil {
		return nil
	}
	if role, ok := answer["role"].(string); ok && role != "master" {
		return ErrNotMaster
	}
	return nil
}

// Exec runs a pipeline whose commands have their own errors. It returns the one that
// none of them has: where the greeting of a new connection is refused (WRONGPASS,
// LOADING), go-redis leaves the commands without an error and without an answer.
func Exec(ctx context.Context, p redis.Pipeliner) error {
	cmds, err := p.Exec(ctx)
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return nil
		}
	}
	return err
}

// single is a pipeline on a connection of the pool that takes single commands:
// go-redis has another one for pipelines. What it returns must be called.
func single(node redis.UniversalClient) (redis.Pipeliner, func()) {
	c, ok := node.(*redis.Client)
	if !ok {
		return node.Pipeline(), func() {}
	}
	conn := c.Conn()
	return conn.Pipeline(), func() { _ = conn.Close() }
}

// Probe asks whether a node's server answers and is a master. An error answer to
// PING is returned as it is. Whatever fails closes the idle connections.
func Probe(ctx context.Context, node redis.UniversalClient) error {
	both, giveBack := single(node)
	ping := both.Ping(ctx)
	role := askRole(ctx, both)
	greeted := Exec(ctx, both)
	giveBack()
	err := ping.Err()
	switch {
	case greeted != nil:
		err = greeted
		if isAnswer(err) {
			return err
		}
	case err != nil && !isAnswer(err):
	case err == nil && ping.Val() != "PONG": // QUEUED, as inside MULTI
		err = fmt.Errorf("%w to PING", ErrAnswer)
	case role.err() != nil:
		err = role.err()
	default:
		return err
	}
	DropIdle(node)
	return err
}

// Publish publishes and asks for the role on the same connection and in the same
// round trip. With [ErrNotMaster] the message went out at a replica, to so many
// listeners, and the idle connections are closed.
func Publish(ctx context.Context, node redis.UniversalClient, channel string, body any) (receivers int64, err error) {
	return count(ctx, node, func(p redis.Pipeliner) func() (int64, error) { return p.Publish(ctx, channel, body).Result })
}

// Listeners asks how many listen to a channel at the server, and for its role as
// Publish does.
func Listeners(ctx context.Context, node redis.UniversalClient, channel string) (int64, error) {
	return count(ctx, node, func(p redis.Pipeliner) func() (int64, error) {
		counts := p.PubSubNumSub(ctx, channel)
		return func() (int64, error) { return counts.Val()[channel], counts.Err() }
	})
}

func count(ctx context.Context, node redis.UniversalClient, ask func(redis.Pipeliner) func() (int64, error)) (receivers int64, err error) {
	both, giveBack := single(node)
	counted := ask(both)
	role := askRole(ctx, both)
	greeted := Exec(ctx, both)
	giveBack()
	if greeted != nil {
		return 0, greeted
	}
	if receivers, err = counted(); err != nil {
		return receivers, err
	}
	if err := role.err(); err != nil {
		DropIdle(node)
		return receivers, err
	}
	return receivers, nil
}

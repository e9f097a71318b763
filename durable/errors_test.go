package durable_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// refusal is what a server answers to every script.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func (refusal) DialHook(next redis.DialHook) redis.DialHook { return next }

func (refusal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r refusal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" {
			return next(ctx, cmd)
		}
		cmd.SetErr(r)
		return r
	}
}

// Servers of each version say in another way that a script lacks a right.
func TestReader_refusals_ofOtherServers(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	for version, text := range map[string]string{
		"Redis 6.2":            "ERR Error running script (call to f_1ada): @user_script:15: @user_script: 15: The user executing the script can't run this command or subcommand",
		"Redis 7.0":            "The user executing the script can't run this command or subcommand script: 1ada, on @user_script:15.",
		"Redis 8 and Valkey 8": "ERR ACL failure in script: User limited has no permissions to run the 'set' command script: 1ada, on @user_script:15.",
	} {
		conn := connect(t, server.Addr())
		conn.AddHook(refusal(text))
		_, err := newReader(t, conn, durable.ReaderOptions{}).Acquire(t.Context())
		failure := new(durable.Error)
		require.ErrorAs(t, err, &failure, version)
		require.True(t, failure.Refused, version)
		require.ErrorContains(t, err, "NOPERM", version)
		require.ErrorContains(t, err, "+set", version)
		require.ErrorContains(t, err, text, version)
	}
}

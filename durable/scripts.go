package durable

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a Lua script. It is run by its hash and sent whole to a server
// that does not have it, as after SCRIPT FLUSH.
type script struct {
	plain *text
	// full is the same for a server that is out of memory, where nil is not to
	// be run at all. Redis 7 allows it by a first line that other servers may
	// not read, so it is used only when needed.
	full *text
}

// text is a script's text and its hash.
type text struct{ lua, hash string }

func newText(lua string) *text { return &text{lua, redis.NewScript(lua).Hash()} }

func newScript(lua string) script { return script{plain: newText(lua)} }

// newSmallScript makes a script that writes so little that it may run when
// Redis is full: a full Redis can still be read.
func newSmallScript(lua string) script {
	return script{plain: newText(lua), full: newText("#!lua flags=allow-oom\n" + lua)}
}

// Every script's answer has a type. An answer of another type, such as the QUEUED
// of a connection that was left inside MULTI, is an error, and go-redis closes the
// connection. So no script answers with a status or a single text, which would
// look like QUEUED.

// number runs a script that answers with an integer.
func (s script) number(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) *redis.IntCmd {
	return run(ctx, c, s, keys, args, redis.NewIntCmd)
}

// list runs a script that answers with a list.
func (s script) list(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) *redis.SliceCmd {
	return run(ctx, c, s, keys, args, redis.NewSliceCmd)
}

// texts runs a script that answers with a list of texts.
func (s script) texts(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) *redis.StringSliceCmd {
	return run(ctx, c, s, keys, args, redis.NewStringSliceCmd)
}

// numbers runs a script that answers with a list of integers.
func (s script) numbers(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) *redis.IntSliceCmd {
	return run(ctx, c, s, keys, args, redis.NewIntSliceCmd)
}

func run[C redis.Cmder](ctx context.Context, c redis.UniversalClient, s script, keys []string, args []any, newCmd func(context.Context, ...any) C) C {
	cmd := call(ctx, c, s.plain, keys, args, newCmd)
	if s.full != nil && redis.IsOOMError(cmd.Err()) {
		return call(ctx, c, s.full, keys, args, newCmd)
	}
	return cmd
}

func call[C redis.Cmder](ctx context.Context, c redis.UniversalClient, s *text, keys []string, args []any, newCmd func(context.Context, ...any) C) C {
	send := func(name, script string) C {
		all := make([]any, 0, 3+len(keys)+len(args))
		all = append(all, name, script, len(keys))
		for i := range keys {
			all = append(all, &keys[i])
		}
		cmd := newCmd(ctx, append(all, args...)...)
		cmd.SetFirstKeyPos(3)
		_ = c.Process(ctx, cmd) // the error is the command's
		return cmd
	}
	cmd := send("evalsha", s.hash)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		return send("eval", s.lua)
	}
	return cmd
}

// done judges the answer of a script that answers 1 when it has done its work.
func done(n int64, err error) error {
	if err == nil && n != 1 {
		return errAnswer
	}
	return err
}

// onlyText takes the text out of a list that holds one.
func onlyText(answer []string, err error) (string, error) {
	if err == nil && len(answer) != 1 {
		return "", errAnswer
	}
	if err != nil {
		return "", err
	}
	return answer[0], nil
}

// noLease begins the answer of a script that was to run under a lease that is
// not, or no longer, the caller's. KEYS[1] is the lease, ARGV[1] the token.
const noLease = "NOLEASE"

const underLease = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('` + noLease + ` not the holder')
end
`

// newerID compares stream IDs; a Lua number holds their parts exactly.
const newerID = `
local function newer(a, b)
  local ams, aseq = string.match(a, '^(%d+)%-?(%d*)$')
  local bms, bseq = string.match(b, '^(%d+)%-?(%d*)$')
  if not ams or not bms then return ams ~= nil end
  ams, bms = tonumber(ams), tonumber(bms)
  if ams ~= bms then return ams > bms end
  return (tonumber(aseq) or 0) > (tonumber(bseq) or 0)
end
`

// fieldOf finds a field in the flat list that Redis returns for an entry.
const fieldOf = `
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
end
`

package durable

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a Lua script. It is run by its hash and sent whole to a server
// that does not have it, as after SCRIPT FLUSH.
type script struct {
	plain *redis.Script
	// full is the same for a server that is out of memory, where nil is not to
	// be run at all. Redis 7 allows it by a first line that other servers may
	// not read, so it is used only when needed.
	full *redis.Script
}

func newScript(text string) script { return script{plain: redis.NewScript(text)} }

// newSmallScript makes a script that writes so little that it may run when
// Redis is full: a full Redis can still be read.
func newSmallScript(text string) script {
	return script{plain: redis.NewScript(text), full: redis.NewScript("#!lua flags=allow-oom\n" + text)}
}

func (s script) run(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	answer := s.plain.Run(ctx, c, keys, args...)
	if s.full != nil && redis.IsOOMError(answer.Err()) {
		return s.full.Run(ctx, c, keys, args...)
	}
	return answer
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

package durable

import (
	"context"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// needed are the commands without which nothing can be read for a group.
var needed = []any{"xadd", "xack", "xgroup", "xinfo", "xlen", "xpending", "xrange", "xreadgroup", "xrevrange", "xtrim"}

// Check asks whether the server has what a Reader needs. It changes nothing and
// needs no lease. The error is an [*Error] with [ErrUnsupported] when a command
// is not there, and as for [Reader.Acquire] otherwise; it is one attempt,
// bounded by two seconds.
func (r *Reader) Check(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	node, err := topology.Node(bounded, r.conn, r.channel)
	if err == nil {
		err = done(checkScript.number(bounded, node, []string{StreamKey(r.channel)}, needed...).Result())
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return r.fail(ctx, "check", err)
}

// checkScript calls commands without arguments, which does nothing.
var checkScript = newScript(`
for _, name in ipairs(ARGV) do
  local answer = redis.pcall(name)
  if type(answer) == 'table' and answer.err and string.find(string.lower(answer.err), 'unknown') then
    return redis.error_reply('ERR unknown command ' .. name)
  end
end
return 1
`)

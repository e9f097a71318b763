package durable

import (
	"context"
	"strconv"
)

// checkLost reports what was delivered to the group and never settled, and is not
// pending any more: others removed a consumer (XGROUP DELCONSUMER) or moved the
// group (XGROUP SETID) while no instance ran. What was settled last is known by
// the fields "handled" and "settled"; entries before it were settled, too, unless
// several were handled at a time.
func (l *Lease) checkLost(ctx context.Context, delivered string) error {
	answer, err := l.texts(ctx, lostScript, l.keys(), l.token, l.r.group, delivered)
	if err != nil {
		return err
	}
	if len(answer) != 2 {
		return errAnswer
	}
	n, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return errAnswer
	}
	if n == 0 {
		return nil
	}
	// Reported before it counts as settled: the process may die in between.
	l.r.report(Gap{Cause: CausePendingLost, Missing: n, After: answer[1], Before: following(delivered)})
	_, err = l.number(ctx, settledScript, l.keys(), l.token, delivered)
	return err
}

// lostScript answers with how many entries up to ARGV[3] are neither settled nor
// pending, and up to which one all are settled.
var lostScript = newScript(underLease + newerID + `
local floor, settled = redis.call('HGET', KEYS[3], 'handled') or '', redis.call('HGET', KEYS[3], 'settled') or ''
if newer(settled, floor) then floor = settled end
if floor == '' or not newer(ARGV[3], floor) then return {'0', floor} end
local pending, n, from = {}, 0, '(' .. floor
for _, p in ipairs(redis.call('XPENDING', KEYS[2], ARGV[2], floor, ARGV[3], 100000)) do pending[p[1]] = true end
while true do
  local entries = redis.call('XRANGE', KEYS[2], from, ARGV[3], 'COUNT', 10)
  for _, entry in ipairs(entries) do
    if not pending[entry[1]] then n = n + 1 end
  end
  if #entries < 10 then return {tostring(n), floor} end
  from = '(' .. entries[10][1]
end
`)

var settledScript = newSmallScript(underLease + `
redis.call('HSET', KEYS[3], 'settled', ARGV[2])
return 1
`)

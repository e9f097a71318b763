package durable

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Acquire waits until no other instance of the group holds the channel, and
// holds it. It waits out outages of Redis, reports them to OnRetry, and returns an
// [*Error] that is Refused when Redis will not let it, the context's error when
// ctx ends. The holder that stops in order is followed within a quarter of a
// second, one that died within ten seconds of its death. A lease that vanishes
// before its time, as when the server's clock is set forward, is taken when its
// holder must have noticed.
//
// The lease runs a goroutine and must be released. It keeps the values of ctx
// and not its end: entries may be settled while the caller drains.
func (r *Reader) Acquire(ctx context.Context) (*Lease, error) {
	token := rand.Text()
	var pauses backoff
	var other rival
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sent := time.Now()
		wait, err := r.take(ctx, token, &other)
		if err == nil && wait == 0 {
			return newLease(ctx, r, token, sent), nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			e := r.fail(ctx, "acquire", err)
			if e.Refused {
				return nil, e
			}
			r.retry(e)
			wait = pauses.next(5 * time.Second)
		} else {
			pauses = backoff{}
		}
		sleep(ctx, wait)
	}
}

// rival is what an instance that waits knows of the holder.
type rival struct {
	token string
	// until is when the holder will have given the lease up if it cannot renew
	// it, by our clock. It may call handlers so long, whatever has become of
	// the key.
	until time.Time
	gone  bool // the key was found to be gone before its time
}

// vanished notes that the key is gone before its time: the holder may have
// renewed the lease just before that.
func (h *rival) vanished() {
	if !h.gone {
		h.gone, h.until = true, time.Now().Add(leaseLost)
	}
}

func (h *rival) seen(token string, left time.Duration) {
	h.token, h.gone = token, false
	if until := time.Now().Add(left - (leaseTime - leaseLost)); until.After(h.until) {
		h.until = until
	}
}

// take asks for the lease, and how long to wait if another one has it.
func (r *Reader) take(ctx context.Context, token string, other *rival) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	sent := time.Now()
	node, err := topology.Node(ctx, r.conn, r.channel)
	if err != nil {
		return 0, err
	}
	guarded := ""
	if !time.Now().After(other.until) { // at that moment it may be about to notice
		guarded = other.token
	}
	keys := []string{leaseKey(r.channel, r.group), StreamKey(r.channel), triesKey(r.channel, r.group)}
	answer, err := takeScript.list(ctx, node, keys, token, leaseTime.Milliseconds(), guarded, r.group).Result()
	if err != nil {
		return 0, err
	}
	if len(answer) == 0 {
		return 0, nil
	}
	if len(answer) != 6 {
		return 0, errAnswer
	}
	holder, ok1 := answer[0].(string)
	left, ok2 := answer[1].(int64)
	group, ok3 := answer[2].(int64)
	handled, ok4 := answer[3].(string)
	delivered, ok5 := answer[4].(string)
	lag, ok6 := answer[5].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 {
		return 0, errAnswer
	}
	if group == 1 {
		r.saw(handled)
		if delivered != "" {
			r.saw(delivered)
			if lag == 0 {
				r.drained(sent)
			}
		}
	}
	switch {
	case holder == "": // guarded
		other.vanished()
		return leasePoll, nil
	case left < 0: // without an end: somebody made the key by hand
		return leasePoll, nil
	}
	other.seen(holder, time.Duration(left)*time.Millisecond)
	if r.opts.OnOther != nil {
		r.opts.OnOther()
	}
	return min(time.Duration(left)*time.Millisecond, leasePoll), nil
}

// takeScript answers nothing if the lease is the caller's, also when an earlier
// answer was lost, else the holder, the milliseconds that it has left, and what
// it has made of the group: whether there is one, the newest entry handled, the
// newest delivered if all of these are settled, and how many are not delivered,
// -1 if Redis does not know. ARGV[3] is a holder that may not know yet that it is
// none any more: nobody follows it unless it has released the lease. A lease
// cannot have longer to go than its holder gave it, which may be another version
// with another time, unless the server's clock was set back: it is shortened
// then, so that takeover never waits longer than the lease lasts.
var takeScript = newSmallScript(`
local holder, left = redis.call('GET', KEYS[1]), 0
if holder and holder ~= ARGV[1] then
  left = redis.call('PTTL', KEYS[1])
  if left == 0 then left = 1 end
  local most = math.max(tonumber(ARGV[2]), tonumber(redis.call('HGET', KEYS[3], 'lease') or '') or 0)
  if left > most then
    redis.call('PEXPIRE', KEYS[1], most)
    left = most
  end
elseif holder or ARGV[3] == '' or redis.call('HGET', KEYS[3], 'released') == ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('HSET', KEYS[3], 'lease', ARGV[2])
  return {}
end
local pending = redis.pcall('XPENDING', KEYS[2], ARGV[4])
local group, delivered, lag = pending.err and 0 or 1, '', -1
if group == 1 and pending[1] == 0 then
  for _, list in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local g = {}
    for i = 1, #list, 2 do g[list[i]] = list[i + 1] end
    if g['name'] == ARGV[4] then delivered, lag = g['last-delivered-id'], g['lag'] or -1 end
  end
end
return {holder or '', left, group, redis.call('HGET', KEYS[3], 'handled') or '', delivered, lag}
`)

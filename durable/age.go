package durable

import (
	"context"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// AgeInterval is how often [Writer.Age] is worth calling: once a minute, or each
// hundredth of MaxAge if that is shorter. Zero means that nothing ages.
func (w *Writer) AgeInterval() time.Duration { return min(time.Minute, w.opts.MaxAge/100) }

// Age removes the entries of a channel's stream that are older than MaxAge, by
// the server's clock, even the last one, and even when nothing is appended any
// more. A group that has not read them reports a [Gap].
func (w *Writer) Age(ctx context.Context, channel string) (removed int64, err error) {
	if w.opts.MaxAge == 0 {
		return 0, nil
	}
	if err := CheckChannel(channel); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	node, err := topology.Node(ctx, w.conn, channel)
	if err == nil {
		removed, err = ageScript.number(ctx, node, []string{StreamKey(channel)}, w.opts.MaxAge.Milliseconds()).Result()
	}
	if err != nil {
		return 0, w.fail(ctx, "trim", channel, err)
	}
	return removed, nil
}

// serverTime is the server's clock in milliseconds.
const serverTime = `
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
`

var ageScript = newSmallScript(serverTime + `
local oldest = now - tonumber(ARGV[1])
if oldest <= 0 then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', oldest))
`)

// choreTime is how often a holder of a lease looks for what was purged and for
// dead letters that are too old.
const choreTime = 10 * time.Second

// chores is what the holder does beside reading. What fails is tried again the
// next time; what is refused is left to the next holder.
func (l *Lease) chores(ctx context.Context) {
	if l.lazy || !l.surveyed || time.Since(l.chored) < choreTime {
		return
	}
	l.chored = time.Now()
	err := l.tellPurged(ctx)
	if err == nil && l.r.opts.MaxDeadAge > 0 {
		err = l.ageDead(ctx)
	}
	if err != nil && ctx.Err() == nil && l.ctx.Err() == nil {
		e := l.r.fail(ctx, "tidy up", err)
		l.lazy = e.Refused
		l.r.retry(e)
	}
}

// ageDead removes the dead letters that are too old. It reports them first: the
// process may die in between.
func (l *Lease) ageDead(ctx context.Context) error {
	keys := append(l.keys(), deadKey(l.r.channel))
	for {
		old, err := l.texts(ctx, agedScript, keys, l.token, l.r.opts.MaxDeadAge.Milliseconds())
		if err != nil || len(old) == 0 {
			return err
		}
		var ids []string
		for i := 0; i+1 < len(old); i += 2 {
			ids = append(ids, old[i+1])
		}
		l.r.report(Gap{Cause: CauseDeadTrimmed, Missing: int64(len(ids)), IDs: ids})
		if _, err := l.number(ctx, dropScript, keys, l.token, following(old[len(old)-2])); err != nil {
			return err
		}
	}
}

// agedScript answers with the IDs of the oldest dead letters that are too old,
// and with those of their messages.
var agedScript = newScript(underLease + serverTime + fieldOf + `
local oldest = now - tonumber(ARGV[2])
if oldest <= 0 then return {} end
local found = {}
for _, letter in ipairs(redis.call('XRANGE', KEYS[4], '-', string.format('(%.0f', oldest), 'COUNT', 20)) do
  found[#found + 1] = letter[1]
  found[#found + 1] = field(letter[2], 'id') or letter[1]
end
return found
`)

var dropScript = newSmallScript(underLease + `
return redis.call('XTRIM', KEYS[4], 'MINID', ARGV[2])
`)

package durable

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// look is what the survey found.
type look struct {
	group     bool
	first     string // the oldest entry; "" is none
	last      string // the newest ID ever given
	length    int64
	added     int64 // entries ever added; -1 is not known
	delivered string
	read      int64 // entries ever read by the group; -1 is not known
	pending   int64
	handled   string // the newest entry handled; "" is none
}

// survey looks at the group at the start of a session, makes it if it is not
// there, and reports what is missing.
func (l *Lease) survey(ctx context.Context, c *redis.Client) error {
	found, err := l.look(ctx, c)
	if err != nil {
		return err
	}
	if !found.group {
		start, read := l.begin(found)
		if found, err = l.makeGroup(ctx, c, start, read); err != nil {
			return err
		}
	} else if !l.surveyed {
		if err := l.checkLost(ctx, found.delivered); err != nil {
			return err
		}
	}
	if !l.surveyed {
		l.surveyed, l.taken = true, found.delivered
		l.mu.Lock()
		l.handled = found.handled
		l.mu.Unlock()
	}
	if newer(l.newest(), found.last) { // another stream, whose IDs begin below
		l.mu.Lock()
		l.taken, l.waiting.newest = found.delivered, ""
		l.mu.Unlock()
	}
	floor, _ := l.r.position()
	if found.pending == 0 && newer(found.delivered, floor) {
		floor = found.delivered
	}
	l.r.reached(floor)
	return l.checkTrimmed(ctx, c, found)
}

// begin decides where a group begins that is not there, and reports it. read is
// how many entries lie before that, -1 if that is not known.
func (l *Lease) begin(found look) (start string, read int64) {
	floor, known := l.r.position()
	if newer(found.handled, floor) {
		floor = found.handled
	}
	if !known && floor == "" {
		if l.r.opts.Latest {
			// From where it was looked, not from where the stream ends by now: what
			// is appended meanwhile lies in no gap.
			l.r.reportOnce(Gap{Cause: CauseNewGroup, Missing: -1, Before: found.last})
			if found.last == "" {
				return "0", -1
			}
			return found.last, found.added
		}
		l.r.reportOnce(Gap{Cause: CauseNewGroup, Missing: -1, Before: found.first})
		return "0", -1
	}
	l.r.reportOnce(Gap{Cause: CauseVanished, Missing: -1, After: floor, Before: found.first})
	if floor == "" || newer(floor, found.last) {
		return "0", -1 // another stream: its IDs begin below
	}
	return floor, -1
}

// checkTrimmed reports entries that were trimmed before the group had read
// them, and then has Redis count them as read, so that they are reported once.
func (l *Lease) checkTrimmed(ctx context.Context, c *redis.Client, found look) error {
	if found.uncounted() {
		return nil
	}
	if found.delivered == found.last && found.read != found.added && (found.pending == 0 || found.trimmed() == 0) {
		// Redis 7 forgets what was read when it loads its file.
		return l.correct(ctx, c, found, found.added)
	}
	if !newer(found.last, found.delivered) || found.first != "" && !newer(found.first, found.delivered) {
		return nil
	}
	return l.reportTrimmed(ctx, c, found, found.delivered, 0)
}

// checkSkipped does the same after a batch of new entries: those before it may
// have been trimmed while the session waited, for room in a lane or for the
// network. Nothing was as long as the stream begins before the batch.
func (l *Lease) checkSkipped(ctx context.Context, c *redis.Client, before string, batch []redis.XMessage) error {
	found, err := l.look(ctx, c)
	if err != nil {
		return err
	}
	if found.uncounted() || found.first != "" && newer(batch[0].ID, found.first) || found.delivered != batch[len(batch)-1].ID {
		return nil
	}
	kept := 0 // entries of the batch that are still there
	for _, m := range batch {
		if !newer(found.first, m.ID) && found.first != "" {
			kept++
		}
	}
	return l.reportTrimmed(ctx, c, found, before, kept)
}

// reportTrimmed compares the number of entries trimmed with that of those that
// the group had read of them. kept are read and not trimmed.
func (l *Lease) reportTrimmed(ctx context.Context, c *redis.Client, found look, after string, kept int) error {
	missing := found.trimmed() - (found.read - int64(kept))
	if missing <= 0 {
		return nil
	}
	l.r.report(Gap{Cause: CauseTrimmed, Missing: missing, After: after, Before: found.first})
	return l.correct(ctx, c, found, found.read+missing)
}

func (l *Lease) correct(ctx context.Context, c *redis.Client, found look, read int64) error {
	return done(correctScript.number(ctx, c, l.keys(), l.token, l.r.group, found.delivered, read).Result())
}

// uncounted tells that the server does not count what was added and read.
func (f *look) uncounted() bool { return f.added < 0 || f.read < 0 }

// trimmed is how many entries the stream has lost.
func (f *look) trimmed() int64 { return f.added - f.length }

func (l *Lease) keys() []string {
	return []string{leaseKey(l.r.channel, l.r.group), StreamKey(l.r.channel), triesKey(l.r.channel, l.r.group)}
}

// look asks for the state of the group; it makes a missing one at start, unless
// that is "".
func (l *Lease) look(ctx context.Context, c *redis.Client) (look, error) {
	return l.makeGroup(ctx, c, "", -1)
}

func (l *Lease) makeGroup(ctx context.Context, c *redis.Client, start string, read int64) (look, error) {
	answer, err := lookScript.list(ctx, c, l.keys(), l.token, l.r.group, start, read).Result()
	if err != nil {
		return look{}, err
	}
	if len(answer) != 9 {
		return look{}, errAnswer
	}
	var f look
	var group int64
	for i, target := range []any{&group, &f.first, &f.last, &f.length, &f.added, &f.delivered, &f.read, &f.pending, &f.handled} {
		ok := false
		switch target := target.(type) {
		case *int64:
			*target, ok = answer[i].(int64)
		case *string:
			*target, ok = answer[i].(string)
		}
		if !ok {
			return look{}, fmt.Errorf("%w (part %d)", errAnswer, i)
		}
	}
	f.group = group == 1
	return f, nil
}

// lookScript creates a missing group at ARGV[3], if that is set, and answers with
// a look. ARGV[4] is how many entries count as read, negative: those trimmed so
// far. Servers that do not count the entries added take no ENTRIESREAD either.
var lookScript = newScript(underLease + `
local function map(list)
  local m = {}
  for i = 1, #list, 2 do m[list[i]] = list[i + 1] end
  return m
end
local stream, first, group = {}, '', nil
local function survey()
  if redis.call('EXISTS', KEYS[2]) == 0 then return end
  stream = map(redis.call('XINFO', 'STREAM', KEYS[2]))
  local head = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
  if #head > 0 then first = head[1][1] end
  for _, list in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local g = map(list)
    if g['name'] == ARGV[2] then group = g end
  end
end
survey()
if not group and ARGV[3] ~= '' then
  local added = stream['entries-added'] or 0
  if stream['entries-added'] and ARGV[3] == '0' then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM', 'ENTRIESREAD', added - stream['length'])
  elseif stream['entries-added'] and tonumber(ARGV[4]) >= 0 then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'MKSTREAM', 'ENTRIESREAD', ARGV[4])
  else
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'MKSTREAM')
  end
  survey()
  redis.call('HSET', KEYS[3], 'settled', group['last-delivered-id'])
end
local g = group or {}
return {
  group and 1 or 0, first, stream['last-generated-id'] or '', stream['length'] or 0, stream['entries-added'] or -1,
  g['last-delivered-id'] or '', g['entries-read'] or -1, g['pending'] or 0, redis.call('HGET', KEYS[3], 'handled') or ''
}
`)

// correctScript sets the group's count of entries read.
var correctScript = newScript(underLease + `
redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3], 'ENTRIESREAD', ARGV[4])
return 1
`)

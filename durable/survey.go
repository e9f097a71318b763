package durable

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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
	counted   string // what the last holder counted
}

// survey looks at the group at the start of a session, makes it if it is not
// there, and reports what is missing.
func (l *Lease) survey(ctx context.Context, c *redis.Client) error {
	found, err := l.look(ctx, c)
	if err != nil {
		return err
	}
	isNew := !found.group
	if isNew {
		start, read := l.begin(found)
		if found, err = l.makeGroup(ctx, c, start, read); err != nil {
			return err
		}
	} else if !l.surveyed {
		if err := l.checkLost(ctx, found.delivered); err != nil {
			return err
		}
	}
	other := newer(l.newest(), found.last) // another stream, whose IDs begin below
	if !l.surveyed || other || isNew || newer(l.counted, found.delivered) {
		if err := l.countFrom(ctx, c, found, !isNew && !l.surveyed); err != nil {
			return err
		}
	}
	began := !l.surveyed
	if began {
		l.surveyed, l.taken = true, found.delivered
		l.mu.Lock()
		l.handled = found.handled
		l.mu.Unlock()
	}
	if other {
		l.mu.Lock()
		l.taken, l.waiting.newest = found.delivered, ""
		l.mu.Unlock()
	}
	floor, _ := l.r.position()
	if found.pending == 0 && newer(found.delivered, floor) {
		floor = found.delivered
	}
	l.r.reached(floor)
	if !began {
		return nil
	}
	begins := c.Eval(ctx, beginsText, []string{StreamKey(l.r.channel)}, l.taken)
	return l.checkTrimmed(ctx, c, begins, l.taken, nil)
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

// countFrom begins to count, with after where the holder before stopped, whose
// count is in Redis: what was missing then and not told shows later. Else it begins
// at the newest entry that was delivered to the group. What the server counts for
// the group is believed here alone.
func (l *Lease) countFrom(ctx context.Context, c *redis.Client, found look, after bool) error {
	defer l.noteCount()
	l.index, l.counted = found.read, found.delivered
	if found.added < 0 {
		l.index = -1
		return l.tellPurged(ctx)
	}
	id, n, ok := parseCount(found.counted)
	if after && ok && n <= found.added && !newer(id, found.delivered) {
		l.index, l.counted = n, id
		return l.tellPurged(ctx)
	}
	l.index = -1
	if err := l.tellPurged(ctx); err != nil { // which the count below holds
		return err
	}
	l.index = found.read
	if found.delivered == found.last && found.read != found.added && (found.pending == 0 || found.added == found.length) {
		// Redis 7 forgets what was read when it loads its file.
		l.index = found.added
		return l.correct(ctx, c, found.delivered)
	}
	return nil
}

// noteCount has the next acknowledgement, or Release, leave the count to the next
// holder.
func (l *Lease) noteCount() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forNext = ""
	if l.index >= 0 && l.counted != "" {
		l.forNext = l.counted + " " + strconv.FormatInt(l.index, 10)
	}
}

// countNote is what noteCount left.
func (l *Lease) countNote() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forNext
}

func parseCount(text string) (id string, n int64, ok bool) {
	id, number, _ := strings.Cut(text, " ")
	_, _, ok = parseID(id)
	n, err := strconv.ParseInt(number, 10, 64)
	return id, n, ok && err == nil && n >= 0
}

// count counts entries that were delivered to this lease, once.
func (l *Lease) count(batch []redis.XMessage) {
	if len(batch) == 0 {
		return
	}
	defer l.noteCount()
	for i := range batch {
		if !newer(batch[i].ID, l.counted) {
			continue
		}
		l.counted = batch[i].ID
		if l.index >= 0 {
			l.index++
		}
	}
}

// checkTrimmed counts a batch of new entries, and reports those that were removed
// unread before it. begins is the answer to beginsText, asked just before the
// read: afterwards nobody can tell. newest was the newest entry delivered by then.
// What is removed between the question and the read shows at the next one.
func (l *Lease) checkTrimmed(ctx context.Context, c *redis.Client, begins *redis.Cmd, newest string, batch []redis.XMessage) error {
	answer, err := begins.Slice()
	if err != nil {
		return err
	}
	if len(answer) == 0 { // it begins before what is read next
		l.count(batch)
		return nil
	}
	if len(answer) != 4 {
		return errAnswer
	}
	first, ok1 := answer[0].(string)
	last, ok2 := answer[1].(string)
	length, ok3 := answer[2].(int64)
	added, ok4 := answer[3].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return errAnswer
	}
	// All that came up to newest is gone, and what is missing.
	removed := added - length
	if removed > l.index && l.index >= 0 { // a purge tells of its part itself
		if err := l.tellPurged(ctx); err != nil {
			return err
		}
	}
	if added < 0 || removed == l.index {
		l.count(batch)
		return nil
	}
	if newer(last, newest) {
		g := Gap{Cause: CauseTrimmed, Missing: removed - l.index, After: newest, Before: first}
		if l.index < 0 || g.Missing < 0 { // others have changed the server's count
			g.Missing = -1
		}
		l.r.report(g)
	}
	l.count(batch)
	l.index = removed + int64(len(batch))
	l.noteCount()
	delivered := newest
	if len(batch) > 0 {
		delivered = batch[len(batch)-1].ID
	}
	return l.correct(ctx, c, delivered)
}

// correct has the server count for the group what was counted here, for those
// that look at it and for the next holder.
func (l *Lease) correct(ctx context.Context, c *redis.Client, delivered string) error {
	return done(correctScript.number(ctx, c, l.keys(), l.token, l.r.group, delivered, l.index).Result())
}

// beginsText answers with nothing if the stream begins before what is read next,
// else with its first ID, its last, its length and how many were ever added, -1
// if the server does not say. It is sent with every read, and so short that its
// text is.
const beginsText = `local e = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if e then
  local ms, n = string.match(e[1], '^(%d+)-(%d+)$')
  local oms, on = string.match(ARGV[1], '^(%d+)-(%d+)$')
  ms, n, oms, on = tonumber(ms), tonumber(n), tonumber(oms or 0), tonumber(on or 0)
  if ms < oms or ms == oms and n <= on then return {} end
elseif redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local list, info = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #list, 2 do info[list[i]] = list[i + 1] end
return {e and e[1] or '', info['last-generated-id'] or '', info['length'], info['entries-added'] or -1}`

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
	if len(answer) != 10 {
		return look{}, errAnswer
	}
	var f look
	var group int64
	for i, target := range []any{&group, &f.first, &f.last, &f.length, &f.added, &f.delivered, &f.read, &f.pending, &f.handled, &f.counted} {
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
// a look. ARGV[4] is how many entries count as read, negative: all that came up to
// there. Where Redis has given up counting what the group has read, as after XDEL,
// they are counted here, unless all of them are gone. Servers that do not count the
// entries added take no ENTRIESREAD either.
var lookScript = newScript(underLease + newerID + `
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
local function upTo(id)
  local n, from = stream['entries-added'] - stream['length'], '-'
  while id ~= '0' do
    local entries = redis.call('XRANGE', KEYS[2], from, id, 'COUNT', 10)
    n = n + #entries
    if #entries < 10 then break end
    from = '(' .. entries[10][1]
  end
  return n
end
if not group and ARGV[3] ~= '' then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'MKSTREAM')
  elseif not stream['entries-added'] then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3])
  else
    local read = tonumber(ARGV[4])
    if read < 0 then read = upTo(ARGV[3]) end
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'ENTRIESREAD', read)
  end
  survey()
  redis.call('HSET', KEYS[3], 'settled', group['last-delivered-id'])
elseif group and not group['entries-read'] and stream['entries-added'] and first ~= '' and not newer(first, group['last-delivered-id']) then
  group['entries-read'] = upTo(group['last-delivered-id'])
end
local g = group or {}
return {
  group and 1 or 0, first, stream['last-generated-id'] or '', stream['length'] or 0, stream['entries-added'] or -1,
  g['last-delivered-id'] or '', g['entries-read'] or -1, g['pending'] or 0, redis.call('HGET', KEYS[3], 'handled') or '',
  redis.call('HGET', KEYS[3], 'counted') or ''
}
`)

// correctScript sets the group's count of entries read.
var correctScript = newScript(underLease + `
redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3], 'ENTRIESREAD', ARGV[4])
return 1
`)

package durable

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Ack settles entries that were handled. It is repeated through outages until
// Redis has it; an error is an [*Error] with [ErrLeaseLost] or one that is
// Refused, or the context's. Ack of what is settled already does nothing.
func (l *Lease) Ack(ctx context.Context, entries ...Entry) error {
	for len(entries) > 0 {
		part := entries[:min(len(entries), 500)]
		entries = entries[len(part):]
		// What an earlier holder had comes first: it may have been tried.
		ids := make([]string, 0, len(part))
		newest := ""
		for _, e := range part {
			if e.Redelivered {
				ids = append(ids, e.StreamID)
			}
			if newer(e.place(), newest) {
				newest = e.place()
			}
		}
		tried := len(ids)
		for _, e := range part {
			if !e.Redelivered {
				ids = append(ids, e.StreamID)
			}
		}
		if err := l.ack(ctx, newest, ids[:tried], ids[tried:]); err != nil {
			return err
		}
	}
	return nil
}

// ack settles entries; newest is the newest of them that was handled, tried
// are those that may have been tried.
func (l *Lease) ack(ctx context.Context, newest string, tried, others []string) error {
	l.mu.Lock()
	if !newer(newest, l.handled) {
		newest = ""
	}
	l.mu.Unlock()
	last := "" // settled, if that is another than the one handled
	for _, ids := range [][]string{tried, others} {
		for _, id := range ids {
			if newer(id, last) {
				last = id
			}
		}
	}
	if last == newest {
		last = ""
	}
	args := make([]any, 0, len(tried)+len(others)+6)
	args = append(args, l.token, l.r.group, newest, len(tried), last, l.countNote())
	for _, ids := range [][]string{tried, others} {
		for i := range ids {
			args = append(args, &ids[i]) // a string in an any would be an allocation each
		}
	}
	err := l.persist(ctx, "ack", func() error {
		_, err := l.number(ctx, ackScript, l.keys(), args...)
		return err
	})
	if err != nil {
		return err
	}
	if newest != "" {
		l.mu.Lock()
		if newer(newest, l.handled) {
			l.handled = newest
		}
		l.mu.Unlock()
	}
	l.settled(append(tried, others...)...)
	return nil
}

// Try notes that a redelivered entry is about to enter its handler, and returns
// how many leases have noted that for it, this one included and without earlier
// ones of the same Reader: their process lives. Above [MaxTries] do not handle
// the entry, but [Lease.Bury] it: it seems to end every process that handles it.
// Call Try for a Redelivered entry before its first attempt; again it changes
// nothing. Errors are as for Ack.
func (l *Lease) Try(ctx context.Context, e Entry) (tries int, err error) {
	own := 0
	if l.r.trying(e.StreamID) {
		own = 1
	}
	err = l.persist(ctx, "try", func() error {
		n, err := l.number(ctx, tryScript, l.keys(), l.token, e.StreamID, time.Now().UnixMilli(), own)
		tries = int(n)
		return err
	})
	return tries, err
}

// Untry takes back this lease's Try of an entry that is left to the next
// holder: its handler has returned, so that the end of this process is not its
// fault. Errors are as for Ack.
func (l *Lease) Untry(ctx context.Context, e Entry) error {
	err := l.persist(ctx, "untry", func() error {
		_, err := l.number(ctx, untryScript, l.keys(), l.token, e.StreamID)
		return err
	})
	if err == nil {
		l.r.forget(e.StreamID)
	}
	return err
}

// Failure tells why an entry becomes a dead letter.
type Failure struct {
	// Err is what the handler returned last, or what is wrong with the entry.
	// Its text is kept, at most 1 000 bytes of it: it must not quote the
	// message.
	Err error
	// Attempts is how often the handler was called under this lease, First and
	// Last are when; zero when it never was.
	Attempts    int
	First, Last time.Time
}

// Bury settles an entry by moving it to the channel's dead letters, in one
// step. The oldest of these that had to make room are reported as a [Gap].
// Errors are as for Ack, and Redis must have room for the message.
func (l *Lease) Bury(ctx context.Context, e Entry, f Failure) error {
	text := "unknown"
	if f.Err != nil {
		text = clipTo(f.Err.Error(), 1000)
	}
	args := []any{
		l.token, l.r.group, e.StreamID, l.r.opts.MaxDead, l.r.opts.MaxDeadBytes,
		"id", e.ID, "type", string(e.Type), "data", e.Body, "stream", e.place(), "group", l.r.group,
		"error", text, "attempts", f.Attempts, "first", millis(f.First), "last", millis(f.Last), "instance", l.r.opts.Instance,
	}
	keys := append(l.keys(), deadKey(l.r.channel))
	var gone []string
	err := l.persist(ctx, "bury", func() (err error) {
		gone, err = l.texts(ctx, buryScript, keys, args...)
		return err
	})
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		l.r.report(Gap{Cause: CauseDeadTrimmed, Missing: int64(len(gone)), IDs: gone})
	}
	l.settled(e.StreamID)
	return nil
}

func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// persist repeats what may be repeated until it is done, the lease or ctx ends,
// or Redis refuses.
func (l *Lease) persist(ctx context.Context, op string, do func() error) error {
	var pauses backoff
	for {
		if err := l.over(ctx, op); err != nil {
			return err
		}
		err := do()
		if err == nil {
			return nil
		}
		e := l.r.fail(ctx, op, err)
		if errors.Is(e, ErrLeaseLost) {
			l.lose(e.Err)
			return e
		}
		if over := l.over(ctx, op); over != nil {
			return over
		}
		if e.Refused {
			return e
		}
		l.r.retry(e)
		wait, cancel := context.WithTimeout(ctx, pauses.next(time.Second))
		select {
		case <-wait.Done():
		case <-l.ctx.Done():
		}
		cancel()
	}
}

// The scripts below have the keys of [Lease.keys]; their first argument is the
// token.

var ackScript = newScript(underLease + newerID + `
local n = redis.call('XACK', KEYS[2], ARGV[2], unpack(ARGV, 7))
local tried = tonumber(ARGV[4])
if tried > 0 then redis.call('HDEL', KEYS[3], unpack(ARGV, 7, 6 + tried)) end
if ARGV[3] ~= '' then
  local was = redis.call('HGET', KEYS[3], 'handled')
  if not was or newer(ARGV[3], was) then redis.call('HSET', KEYS[3], 'handled', ARGV[3]) end
end
if ARGV[5] ~= '' then
  local was = redis.call('HGET', KEYS[3], 'settled')
  if not was or newer(ARGV[5], was) then redis.call('HSET', KEYS[3], 'settled', ARGV[5]) end
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], 'counted', ARGV[6]) end
return n
`)

// tryField splits the field of an entry in the hash of tries: their number, the
// time of the first, the token of the last.
const tryField = `
local function tried(value)
  if not value then return 0, '', '' end
  local n, first, by = string.match(value, '^(%d+) (%d*) (%S*)$')
  return tonumber(n) or 0, first or '', by or ''
end
`

// tryScript counts a lease once, so that it may be repeated when its answer was
// lost. It takes the place of ARGV[4] earlier ones of the same process.
var tryScript = newSmallScript(underLease + tryField + `
local n, first, by = tried(redis.call('HGET', KEYS[3], ARGV[2]))
if by == ARGV[1] then return n end
n = math.max(n - tonumber(ARGV[4]), 0)
if first == '' then first = ARGV[3] end
redis.call('HSET', KEYS[3], ARGV[2], (n + 1) .. ' ' .. first .. ' ' .. ARGV[1])
return n + 1
`)

var untryScript = newSmallScript(underLease + tryField + `
local n, first, by = tried(redis.call('HGET', KEYS[3], ARGV[2]))
if by ~= ARGV[1] then return n end
if n <= 1 then
  redis.call('HDEL', KEYS[3], ARGV[2])
  return 0
end
redis.call('HSET', KEYS[3], ARGV[2], (n - 1) .. ' ' .. first .. ' ')
return n - 1
`)

// buryScript does nothing to an entry that is not pending: an earlier answer
// was lost. The letter is written before the entry is settled, so that a
// refusal leaves the entry where it is. It answers with the message IDs of
// the letters that made room.
var buryScript = newScript(underLease + tryField + fieldOf + newerID + `
local id, most, bytes = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local pending = redis.call('XPENDING', KEYS[2], ARGV[2], id, id, 1)
if #pending == 0 then return {} end
local n, first = tried(redis.call('HGET', KEYS[3], id))
local letter = {unpack(ARGV, 6)}
for _, v in ipairs({'tries', n, 'tried', first, 'deliveries', pending[1][4]}) do letter[#letter + 1] = v end
redis.call('XADD', KEYS[4], '*', unpack(letter))
redis.call('XACK', KEYS[2], ARGV[2], id)
redis.call('HDEL', KEYS[3], id)
local was = redis.call('HGET', KEYS[3], 'settled')
if not was or newer(id, was) then redis.call('HSET', KEYS[3], 'settled', id) end

local function used()
  local n = redis.pcall('MEMORY', 'USAGE', KEYS[4], 'SAMPLES', 0)
  if type(n) == 'table' then n = redis.pcall('MEMORY', 'USAGE', KEYS[4]) end
  return type(n) == 'number' and n or 0
end
local gone = {}
local length = redis.call('XLEN', KEYS[4])
while length > 1 and (most > 0 and length > most or bytes > 0 and used() > bytes) do
  local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)
  gone[#gone + 1] = field(oldest[1][2], 'id') or oldest[1][1]
  length = length - 1
  redis.call('XTRIM', KEYS[4], 'MAXLEN', length)
end
return gone
`)

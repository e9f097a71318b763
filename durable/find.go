package durable

import (
	"context"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// findMost is how many of the newest entries are looked through, and findPart
// how many in one step: each holds up the server.
const (
	findMost = 10_000
	findPart = 200
)

// Missing returns those of the message IDs that no entry of the stream has, for
// messages that were published at most age ago. It needs no lease. What may
// have been trimmed in that time, or lies behind more than ten thousand entries,
// is not counted as missing.
//
// It is one attempt, bounded by two seconds; an error is an [*Error] or the
// context's.
func (r *Reader) Missing(ctx context.Context, age time.Duration, ids ...string) (missing []string, err error) {
	missing = slices.Clone(ids)
	bounded, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	from := "+"
	for done := 0; done < findMost && len(missing) > 0; done += findPart {
		found, next, trimmed, err := r.find(bounded, from, age, missing)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, r.fail(ctx, "find", err)
		case trimmed:
			return nil, nil
		}
		missing = slices.DeleteFunc(missing, func(id string) bool { return slices.Contains(found, id) })
		if next == "" {
			return missing, nil
		}
		from = next
	}
	return nil, nil
}

// find looks through the entries from one ID downwards, and tells where to go
// on, if there are more.
func (r *Reader) find(ctx context.Context, from string, age time.Duration, ids []string) (found []string, next string, trimmed bool, err error) {
	node, err := topology.Node(ctx, r.conn, r.channel)
	if err != nil {
		return nil, "", false, err
	}
	args := []any{from, findPart, age.Milliseconds()}
	for _, id := range ids {
		args = append(args, id)
	}
	answer, err := findScript.texts(ctx, node, []string{StreamKey(r.channel)}, args...).Result()
	if err != nil {
		return nil, "", false, err
	}
	if len(answer) < 2 {
		return nil, "", false, errAnswer
	}
	return answer[2:], answer[0], answer[1] != "", nil
}

// findScript answers with the ID to go on from, with the oldest entry if what was
// trimmed before it may be younger than ARGV[3] milliseconds, and with those of
// the message IDs from ARGV[4] on that it found. The newest ID stands for the
// time, so that a step of the server's clock does no harm. Servers before Redis
// 7 do not tell whether anything was trimmed.
var findScript = newScript(fieldOf + `
local from, most, age = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 0 then return {'', ''} end
local list, info = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #list, 2 do info[list[i]] = list[i + 1] end
local function ms(id)
  local n = string.match(id, '^%d+')
  return n and tonumber(n) or 0
end
local answer = {'', ''}
if info['entries-added'] and info['entries-added'] > info['length'] then
  local last, oldest = info['last-generated-id'], redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  local first = #oldest > 0 and oldest[1][1] or last
  if ms(first) >= ms(last) - age then answer[2] = first end
end
local wanted, left = {}, #ARGV - 3
for i = 4, #ARGV do wanted[ARGV[i]] = true end
while most > 0 and left > 0 do
  local entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 10)
  for _, entry in ipairs(entries) do
    local id = field(entry[2], 'id')
    if id and wanted[id] then
      wanted[id], left = nil, left - 1
      answer[#answer + 1] = id
    end
  end
  if #entries < 10 then return answer end
  from, most = '(' .. entries[10][1], most - 10
end
if left > 0 then answer[1] = from end
return answer
`)

package durable

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

// PurgeOptions chooses what [Purge] deletes. Match and Before may both be set:
// then only what both choose is deleted.
type PurgeOptions struct {
	// Match chooses every message that holds the match with this ID, among its
	// matches or its changes. A message that cannot be read is chosen when its
	// bytes hold the ID.
	Match string
	// Before chooses every message that the server took before then, by its own
	// clock.
	Before time.Time
	// DryRun counts and deletes nothing.
	DryRun bool
	// Force deletes entries that a group has not handled, too.
	Force bool
}

// Chooses reports whether o chooses a message with this body that was taken at
// that time. [Purge] asks it for streams; it is exported for messages that rest
// elsewhere, as in an outbox. DryRun and Force do not matter.
func (o PurgeOptions) Chooses(body []byte, at time.Time) bool {
	return o.chooses(body, at, holder(o.Match))
}

func (o PurgeOptions) chooses(body []byte, at time.Time, holds func([]byte) bool) bool {
	return (o.Before.IsZero() || !at.IsZero() && at.Before(o.Before)) && (o.Match == "" || holds(body)) &&
		(o.Match != "" || !o.Before.IsZero())
}

// Purged is what [Purge] deleted, or under DryRun would delete.
type Purged struct {
	Entries int64 // of the stream
	Letters int64 // dead letters, of all groups
	// Unsettled is how many of the entries some group has not handled. Without
	// Force there must be none.
	Unsettled int64
}

// purgePart is how many entries are deleted in one step.
const purgePart = 100

// Purge deletes messages for good from the stream of a channel and from its dead
// letters. A message is deleted whole, with the other matches that it holds.
//
// Purge is never a silent loss. While a group has not handled some of the
// entries it deletes nothing and returns an [*Error] with [ErrUnsettled], unless
// Force: then the group's holder reports a [Gap] with [CausePurged] for those
// that it had not read, and [CausePendingTrimmed] for those that an earlier
// holder had read and not handled. What a handler has in its hands is handled.
// Places of groups, leases and the numbering of other messages do not change.
//
// A call that fails half way may be repeated.
func Purge(ctx context.Context, conn redis.UniversalClient, channel string, o PurgeOptions) (Purged, error) {
	if o.Match == "" && o.Before.IsZero() {
		return Purged{}, errors.New("durable: purge of everything; set Match or Before")
	}
	letters, err := NewDeadLetters(conn, channel)
	if err != nil {
		return Purged{}, err
	}
	p := purge{conn: conn, channel: channel, o: o, holds: holder(o.Match)}
	found, err := p.run(ctx, letters)
	if err != nil {
		topology.Refresh(ctx, conn, err)
		return found, fail("purge", channel, "", purgeRights, err)
	}
	return found, nil
}

const purgeRights rights = "+evalsha +eval +exists +xinfo +xpending +xrange +xdel +hget +hset"

type purge struct {
	conn    redis.UniversalClient
	channel string
	o       PurgeOptions
	holds   func(body []byte) bool
}

func (p *purge) run(ctx context.Context, dead *DeadLetters) (found Purged, err error) {
	var entries, letters []string
	for m, err := range scan(ctx, p.conn, p.channel, StreamKey(p.channel), "-") {
		if err != nil {
			return found, err
		}
		e := newEntry(m)
		if p.takes(e.place(), e.Body) {
			entries = append(entries, e.StreamID)
		}
	}
	for letter, err := range dead.List(ctx, Filter{}) {
		if err != nil {
			return found, err
		}
		place := letter.Entry.StreamID
		if _, _, ok := parseID(place); !ok {
			place = letter.LetterID
		}
		if p.takes(place, letter.Entry.Body) {
			letters = append(letters, letter.LetterID)
		}
	}
	look, err := p.entries(ctx, entries, "look")
	if err != nil {
		return found, err
	}
	if p.o.DryRun {
		return Purged{look.Entries, int64(len(letters)), look.Unsettled}, nil
	}
	if look.Unsettled > 0 && !p.o.Force {
		return Purged{Unsettled: look.Unsettled}, p.unsettled(look.Unsettled)
	}
	mode := "delete"
	if p.o.Force {
		mode = "force"
	}
	if found, err = p.entries(ctx, entries, mode); err != nil {
		return found, err
	}
	for len(letters) > 0 {
		part := letters[:min(len(letters), purgePart)]
		letters = letters[len(part):]
		n, err := dead.Discard(ctx, part...)
		found.Letters += n
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

func (p *purge) takes(place string, body []byte) bool {
	return p.o.chooses(body, timeOf(place), p.holds)
}

// entries looks at entries of the stream or deletes them.
func (p *purge) entries(ctx context.Context, ids []string, mode string) (found Purged, err error) {
	for len(ids) > 0 {
		part := ids[:min(len(ids), purgePart)]
		ids = ids[len(part):]
		node, err := topology.Node(ctx, p.conn, p.channel)
		if err != nil {
			return found, err
		}
		args := []any{triesKey(p.channel, ""), mode}
		for _, id := range part {
			args = append(args, id)
		}
		answer, err := purgeScript.numbers(ctx, node, []string{StreamKey(p.channel)}, args...).Result()
		switch {
		case err != nil:
			return found, err
		case len(answer) != 2:
			return found, errAnswer
		case mode == "delete" && answer[1] > 0: // a group was made meanwhile
			return found, p.unsettled(answer[1])
		}
		found.Entries += answer[0]
		found.Unsettled += answer[1]
	}
	return found, nil
}

func (p *purge) unsettled(n int64) error {
	return &Error{Op: "purge", Channel: p.channel, Refused: true, Err: fmt.Errorf("%w: %d entries; wait, or force it and let the group report a gap", ErrUnsettled, n)}
}

// holder returns what tells whether a message holds a match.
func holder(match string) func(body []byte) bool {
	if match == "" {
		return nil
	}
	bare := regexp.MustCompile(`(^|[^0-9A-Za-z])` + regexp.QuoteMeta(match) + `([^0-9A-Za-z]|$)`)
	return func(body []byte) bool {
		e, err := message.Decode(body)
		if err == nil && e.Type != message.TypeMatchUpdates {
			return false
		}
		if err == nil {
			var m message.Message[message.MatchUpdates]
			if m, err = message.As[message.MatchUpdates](e); err == nil {
				for i := range m.Payload.Matches {
					if m.Payload.Matches[i].ID.String() == match {
						return true
					}
				}
				for i := range m.Payload.Changes {
					if m.Payload.Changes[i].MatchID.String() == match {
						return true
					}
				}
				return false
			}
		}
		return bare.Match(body)
	}
}

// purgeScript answers with how many of the entries are there, or were deleted,
// and how many of them some group has not settled. ARGV[1] begins the keys of the
// groups' tries, which have the stream's tag. For entries that a group has not
// read, their number, the first and the last are left to its holder in the field
// "purged". Under "delete" an entry that is not settled keeps all of them.
var purgeScript = newSmallScript(newerID + fieldOf + `
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0} end
local ids, open, n, unread = {}, {}, 0, {}
for i = 3, #ARGV do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) > 0 then ids[#ids + 1] = ARGV[i] end
end
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local name, last, missed = field(g, 'name'), field(g, 'last-delivered-id'), {0, '', ''}
  for _, id in ipairs(ids) do
    local isOpen = newer(id, last)
    if isOpen then
      missed[1] = missed[1] + 1
      if missed[2] == '' then missed[2] = id end
      missed[3] = id
    else
      isOpen = field(g, 'pending') > 0 and #redis.call('XPENDING', KEYS[1], name, id, id, 1) > 0
    end
    if isOpen and not open[id] then
      open[id] = true
      n = n + 1
    end
  end
  if missed[1] > 0 then unread[name] = missed end
end
if ARGV[2] == 'look' or ARGV[2] == 'delete' and n > 0 or #ids == 0 then return {#ids, n} end
for name, missed in pairs(unread) do
  local was = redis.call('HGET', ARGV[1] .. name, 'purged')
  if was then
    local count, first, last = string.match(was, '^(%d+) (%S+) (%S+)$')
    if count then
      missed[1] = missed[1] + tonumber(count)
      if newer(missed[2], first) then missed[2] = first end
      if newer(last, missed[3]) then missed[3] = last end
    end
  end
  redis.call('HSET', ARGV[1] .. name, 'purged', missed[1] .. ' ' .. missed[2] .. ' ' .. missed[3])
end
return {redis.call('XDEL', KEYS[1], unpack(ids)), n}
`)

// tellPurged reports what was purged before the group had read it, and then
// forgets it: the process may die in between.
func (l *Lease) tellPurged(ctx context.Context) error {
	told := ""
	for {
		purged, err := onlyText(l.texts(ctx, purgedScript, l.keys(), l.token, told))
		if err != nil || purged == "" {
			return err
		}
		parts := strings.Fields(purged)
		g := Gap{Cause: CausePurged, Missing: -1}
		if len(parts) == 3 {
			if n, err := strconv.ParseInt(parts[0], 10, 64); err == nil {
				g.Missing = n
				if l.index >= 0 {
					l.index += n
				}
			}
			g.After, g.Before = preceding(parts[1]), following(parts[2])
		}
		l.r.report(g)
		told = purged
	}
}

// purgedScript answers with the field "purged", after deleting one that was told.
var purgedScript = newSmallScript(underLease + `
local purged = redis.call('HGET', KEYS[3], 'purged')
if purged and purged == ARGV[2] then
  redis.call('HDEL', KEYS[3], 'purged')
  return {''}
end
return {purged or ''}
`)

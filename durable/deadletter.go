package durable

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// DeadLetters is what the groups of a channel could not handle, by
// [Lease.Bury]. It may be used by several goroutines. It has no Close: the
// caller owns the Redis client.
type DeadLetters struct {
	conn    redis.UniversalClient
	channel string
}

// NewDeadLetters returns the dead letters of a channel. It does not connect,
// and takes the same clients as [NewWriter].
func NewDeadLetters(conn redis.UniversalClient, channel string) (*DeadLetters, error) {
	if err := checkClient(conn); err != nil {
		return nil, err
	}
	if err := CheckChannel(channel); err != nil {
		return nil, err
	}
	return &DeadLetters{conn: conn, channel: channel}, nil
}

// DeadLetter is an entry that a group could not handle, with its history.
// Printing or logging it shows nothing of the message.
type DeadLetter struct {
	// LetterID is its place among the dead letters, by which they are asked
	// for. Entry.StreamID is the place that it had in the stream.
	LetterID string
	Entry    Entry
	Group    string // that could not handle it
	Instance string // of ReaderOptions
	Reason   string // the text of Failure.Err
	// Attempts is how often the last holder called its handler, First and Last
	// when; zero when it never did.
	Attempts    int
	First, Last time.Time
	// Tries is how many leases noted a [Lease.Try], and Tried when the first
	// did.
	Tries int
	Tried time.Time
	// Deliveries is how often Redis sent the entry to the group, read or not.
	Deliveries int
}

// Buried is when it became a dead letter, by the server's clock.
func (d DeadLetter) Buried() time.Time { return timeOf(d.LetterID) }

// String shows the IDs, the group and the reason.
func (d DeadLetter) String() string {
	return fmt.Sprintf("dead letter %s of group %s: %v: %s", d.LetterID, clip(d.Group), d.Entry, d.Reason)
}

// Format implements [fmt.Formatter]: every verb shows the same.
func (d DeadLetter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// LogValue implements [slog.LogValuer].
func (d DeadLetter) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Filter chooses dead letters; its zero value takes all.
type Filter struct {
	Type   message.Type // "" is every type
	Group  string       // "" is every group
	Reason string       // that Reason contains, in any case of its letters
	// Since and Before bound when they were buried; zero is no bound.
	Since, Before time.Time
}

func (f Filter) takes(d DeadLetter) bool {
	return (f.Type == "" || f.Type == d.Entry.Type) &&
		(f.Group == "" || f.Group == d.Group) &&
		(f.Reason == "" || strings.Contains(strings.ToLower(d.Reason), strings.ToLower(f.Reason))) &&
		(f.Since.IsZero() || !d.Buried().Before(f.Since)) &&
		(f.Before.IsZero() || d.Buried().Before(f.Before))
}

// List reads the dead letters that the filter takes, oldest first. Ranging
// again reads again. After an error, an [*Error], the range is over.
func (d *DeadLetters) List(ctx context.Context, filter Filter) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for m, err := range scan(ctx, d.conn, d.channel, deadKey(d.channel), "-") {
			if err != nil {
				yield(DeadLetter{}, d.fail(ctx, "list dead letters", err))
				return
			}
			if letter := newDeadLetter(m); filter.takes(letter) && !yield(letter, nil) {
				return
			}
		}
	}
}

// Get returns one dead letter, or an [*Error] with [ErrNotFound].
func (d *DeadLetters) Get(ctx context.Context, letterID string) (DeadLetter, error) {
	node, err := d.node(ctx, letterID)
	if err != nil {
		return DeadLetter{}, d.fail(ctx, "get dead letter", err)
	}
	found, err := node.XRangeN(ctx, deadKey(d.channel), letterID, letterID, 1).Result()
	if err == nil && len(found) == 0 {
		err = noLetter(letterID)
	}
	if err != nil {
		return DeadLetter{}, d.fail(ctx, "get dead letter", err)
	}
	return newDeadLetter(found[0]), nil
}

// Discard deletes dead letters for good and tells how many there were.
func (d *DeadLetters) Discard(ctx context.Context, letterIDs ...string) (n int64, err error) {
	if len(letterIDs) == 0 {
		return 0, nil
	}
	node, err := d.node(ctx, letterIDs...)
	if err == nil {
		n, err = node.XDel(ctx, deadKey(d.channel), letterIDs...).Result()
	}
	if err != nil {
		return 0, d.fail(ctx, "discard dead letters", err)
	}
	return n, nil
}

// Requeue moves a dead letter to the end of the channel's stream, for the group
// that it is of and no other; it is not published. It returns the new stream
// ID.
//
// Match updates are whole states, so an old one must not come after a newer
// one. Requeue refuses one with [ErrStale] when the group has handled a newer
// one, or has one before it that it will handle, unless allowStale.
//
// An [*Error] that is Unknown leaves open whether it was moved: a second call
// answers [ErrNotFound] if it was.
func (d *DeadLetters) Requeue(ctx context.Context, letterID string, allowStale bool) (streamID string, err error) {
	letter, err := d.Get(ctx, letterID)
	if err != nil {
		return "", err
	}
	node, err := d.node(ctx, letterID)
	if err == nil {
		keys := []string{StreamKey(d.channel), deadKey(d.channel), triesKey(d.channel, letter.Group)}
		var answer []string
		answer, err = requeueScript.texts(ctx, node, keys, letterID, letter.Group, strconv.FormatBool(allowStale)).Result()
		streamID, err = onlyText(answer, err)
	}
	switch {
	case err == nil:
		return streamID, nil
	case redis.HasErrorPrefix(err, "NOLETTER"):
		err = noLetter(letterID)
	case redis.HasErrorPrefix(err, "STALE"):
		err = &Error{Op: "requeue", Channel: d.channel, Group: letter.Group, Refused: true,
			Err: fmt.Errorf("%w: dead letter %s is not requeued unless that is allowed", ErrStale, letterID)}
	}
	return "", d.fail(ctx, "requeue", err)
}

// node is the client for the channel, if the IDs may be sent to it.
func (d *DeadLetters) node(ctx context.Context, letterIDs ...string) (redis.UniversalClient, error) {
	for _, id := range letterIDs {
		if _, _, ok := parseID(id); !ok {
			return nil, noLetter(id)
		}
	}
	return topology.Node(ctx, d.conn, d.channel)
}

// missing is an ID that no dead letter has.
type missing struct{ id string }

func (m missing) Error() string { return fmt.Sprintf("%v: %q", ErrNotFound, clip(m.id)) }
func (m missing) Unwrap() error { return ErrNotFound }

func noLetter(id string) error { return missing{id} }

func (d *DeadLetters) fail(ctx context.Context, op string, err error) error {
	if _, ok := err.(missing); ok {
		return &Error{Op: op, Channel: d.channel, Refused: true, Err: err}
	}
	topology.Refresh(ctx, d.conn, err)
	return fail(op, d.channel, "", deadRights, err)
}

func newDeadLetter(m redis.XMessage) DeadLetter {
	text := func(name string) string {
		s, _ := m.Values[name].(string)
		return s
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(text(name))
		return n
	}
	moment := func(name string) time.Time {
		ms, err := strconv.ParseInt(text(name), 10, 64)
		if err != nil {
			return time.Time{}
		}
		return time.UnixMilli(ms)
	}
	d := DeadLetter{
		LetterID: m.ID, Entry: newEntry(m), Group: text("group"), Instance: text("instance"), Reason: text("error"),
		Attempts: number("attempts"), First: moment("first"), Last: moment("last"),
		Tries: number("tries"), Tried: moment("tried"), Deliveries: number("deliveries"),
	}
	d.Entry.StreamID = text("stream")
	return d
}

// requeueScript compares places in the order of publishing: that of a requeued
// entry is the one which it had first.
var requeueScript = newScript(newerID + fieldOf + `
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])
if #found == 0 then return redis.error_reply('NOLETTER no such dead letter') end
local letter = found[1][2]
local place, kind = field(letter, 'stream'), field(letter, 'type')

local function overtakes(entry)
  local only = field(entry[2], 'group')
  return (not only or only == ARGV[2]) and newer(field(entry[2], 'origin') or entry[1], place)
end
local function delivered()
  if redis.call('EXISTS', KEYS[1]) == 0 then return end
  for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    if field(g, 'name') == ARGV[2] then return field(g, 'last-delivered-id') end
  end
end
local function stale()
  local handled = redis.call('HGET', KEYS[3], 'handled')
  if handled and newer(handled, place) then return true end
  local after = delivered()
  if not after then return false end
  for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[2], place, '+', 1000)) do
    local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])
    if #entry > 0 and overtakes(entry[1]) then return true end
  end
  while true do
    local waiting = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 10)
    if #waiting == 0 then return false end
    for _, entry in ipairs(waiting) do
      if overtakes(entry) then return true end
      after = entry[1]
    end
  end
end
if ARGV[3] ~= 'true' and kind == 'match_updates' and stale() then
  return redis.error_reply('STALE a newer one was handled or will be')
end
local id = redis.call('XADD', KEYS[1], '*', 'id', field(letter, 'id'), 'type', kind, 'data', field(letter, 'data'),
  'origin', place, 'group', ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[1])
return {id}
`)

package durable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// readBlock is how long a read waits at the server. It begins while the
	// lease is not lost, so that it has ended when the lease ends there.
	readBlock = 2 * time.Second
	// readIdle without a byte from the server means that it is gone.
	readIdle = readBlock + 3*time.Second
	// readBytes is what a batch may hold, by the mean size of the one before.
	readBytes = 16 << 20

	consumer = "main"
)

// reading is the state of Read.
type reading struct {
	session *session
	count   int
	// taken is the newest ID that was delivered when the lease began: what is
	// pending up to it was an earlier holder's.
	taken    string
	surveyed bool // taken is known
	worked   bool // the last session did, so that the next may begin at once
	pauses   backoff
}

// session is one connection. Whatever fails ends it: a reply may have been
// lost, and the entries in it are then found among the group's pending ones.
type session struct {
	client *redis.Client
	cancel context.CancelFunc // closes the connection
	ready  bool               // the group was looked at
	// cursor is the last pending entry read; "" when all have been.
	cursor string
	swept  bool // the pending ones have been read for strays just now
}

// Read returns the next entries in the order of the stream. First come those
// that an earlier holder left, marked Redelivered. An entry is not returned
// again under this lease. Read waits for entries; an empty batch tells that the
// stream held nothing more for the group, at least every two seconds.
//
// It waits out outages, told of by OnRetry, reconnects and goes on with what
// an unread answer may have held. It returns ctx's error when ctx ends, which
// ends a blocked read at once, an [*Error] with [ErrLeaseLost], or one that is
// Refused, after which Read may be called again.
func (l *Lease) Read(ctx context.Context) ([]Entry, error) {
	for {
		if err := l.over(ctx, "read"); err != nil {
			l.hangUp()
			return nil, err
		}
		entries, err := l.read(ctx)
		if over := l.over(ctx, "read"); over != nil {
			l.hangUp()
			return nil, over
		}
		if err == nil {
			l.delivered(entries)
			return entries, nil
		}
		l.hangUp()
		e := l.r.fail(ctx, "read", err)
		if errors.Is(e, ErrLeaseLost) {
			l.lose(e.Err)
			return nil, e
		}
		if e.Refused && !vanished(err) {
			return nil, e
		}
		l.r.retry(e)
		if l.worked {
			l.worked, l.pauses = false, backoff{}
			continue
		}
		wait, cancel := context.WithTimeout(ctx, l.pauses.next(time.Second))
		select {
		case <-wait.Done():
		case <-l.ctx.Done():
		}
		cancel()
	}
}

// vanished tells that the group or its stream is gone.
func vanished(err error) bool {
	return redis.HasErrorPrefix(err, "NOGROUP") || redis.HasErrorPrefix(err, "UNBLOCKED")
}

// read is one attempt of Read.
func (l *Lease) read(ctx context.Context) ([]Entry, error) {
	if l.session == nil {
		if err := l.connect(ctx); err != nil {
			return nil, err
		}
	}
	s := l.session
	defer context.AfterFunc(ctx, s.cancel)()
	if !s.ready {
		if err := l.survey(ctx, s.client); err != nil {
			return nil, err
		}
		s.ready, s.cursor = true, "0-0"
	}
	for {
		for s.cursor != "" {
			entries, err := l.readPending(ctx, s)
			if err != nil || len(entries) > 0 {
				return entries, err
			}
		}
		entries, stray, err := l.readNew(ctx, s)
		if err != nil {
			return nil, err
		}
		if !stray {
			s.swept = false
			return entries, nil
		}
		s.cursor, s.swept = "0-0", true
	}
}

// readPending reads the next entries that were delivered and not settled, by
// this lease or an earlier one.
func (l *Lease) readPending(ctx context.Context, s *session) ([]Entry, error) {
	streams, err := s.client.XReadGroup(ctx, l.args(s.cursor, -1)).Result()
	if err != nil && err != redis.Nil {
		return nil, err
	}
	l.worked = true
	batch := messagesOf(streams)
	if len(batch) == 0 {
		s.cursor = ""
		return nil, nil
	}
	s.cursor = batch[len(batch)-1].ID
	return l.take(ctx, l.fresh(batch))
}

// readNew waits for entries that were not delivered yet. stray tells that
// others are pending which this lease does not know of: a read of an earlier
// holder reached the server late and took them. They come first, and the
// entries read now are then read again, with them. Entries that are settled
// meanwhile can hide a stray from one read, not from the next.
func (l *Lease) readNew(ctx context.Context, s *session) (entries []Entry, stray bool, err error) {
	outstanding := l.outstanding()
	both := s.client.Pipeline()
	read := both.XReadGroup(ctx, l.args(">", readBlock))
	summary := both.XPending(ctx, StreamKey(l.r.channel), l.r.group)
	_, _ = both.Exec(ctx)
	if err := read.Err(); err != nil && err != redis.Nil {
		return nil, false, err
	}
	if err := summary.Err(); err != nil && err != redis.Nil {
		return nil, false, err
	}
	l.worked = true
	fresh := l.fresh(messagesOf(read.Val()))
	if all := summary.Val(); all != nil && all.Consumers[consumer] > int64(outstanding+len(fresh)) && !s.swept {
		return nil, true, nil
	}
	entries, err = l.take(ctx, fresh)
	return entries, false, err
}

func (l *Lease) args(from string, block time.Duration) *redis.XReadGroupArgs {
	if l.count == 0 {
		l.count = firstBatch
	}
	return &redis.XReadGroupArgs{
		Group: l.r.group, Consumer: consumer, Streams: []string{StreamKey(l.r.channel), from},
		Count: int64(l.count), Block: block,
	}
}

func messagesOf(streams []redis.XStream) []redis.XMessage {
	if len(streams) == 0 {
		return nil
	}
	return streams[0].Messages
}

// take makes the entries of a batch, of which none is outstanding, and settles those that are not for the
// caller: trimmed ones, which are reported, and those requeued for another
// group.
func (l *Lease) take(ctx context.Context, batch []redis.XMessage) ([]Entry, error) {
	entries := make([]Entry, 0, len(batch))
	var gone, foreign []string
	size := 0
	for _, m := range batch {
		if m.Values == nil {
			gone = append(gone, m.ID)
			continue
		}
		e := newEntry(m)
		if e.group != "" && e.group != l.r.group {
			foreign = append(foreign, m.ID)
			continue
		}
		e.Redelivered = !newer(e.StreamID, l.taken)
		entries = append(entries, e)
		size += len(e.Body)
	}
	l.count = nextBatch(readBytes, len(entries), size, l.count)
	if len(gone) > 0 {
		l.r.report(Gap{Cause: CausePendingTrimmed, Missing: int64(len(gone)), After: "", IDs: gone})
	}
	if skip := append(gone, foreign...); len(skip) > 0 {
		if err := l.ack(ctx, "", skip, nil); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// connect opens the session. Its connection ends with the lease, with ctx while
// Read runs, and when the session is hung up.
func (l *Lease) connect(ctx context.Context) error {
	o, err := optionsOf(ctx, l.r.conn, l.r.channel)
	if err != nil {
		return err
	}
	sctx, cancel := context.WithCancel(l.ctx)
	dial := l.r.opts.Dialer
	if dial == nil {
		dial = o.Dialer
	}
	o.Dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(sctx, network, addr)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(sctx, func() { _ = conn.Close() })
		return &idleConn{conn}, nil
	}
	plain(o)
	s := &session{client: redis.NewClient(o), cancel: cancel}
	context.AfterFunc(sctx, func() { _ = s.client.Close() })
	l.session = s
	return nil
}

func (l *Lease) hangUp() {
	if l.session != nil {
		l.session.cancel()
		l.session = nil
	}
}

// plain switches off what go-redis would do by itself on a connection of ours.
func plain(o *redis.Options) {
	o.Protocol, o.MaxRetries, o.DialerRetries = 2, -1, 1
	o.PoolSize, o.MinIdleConns, o.PipelinePoolSize = 1, 0, -1
	o.MaxIdleConns, o.MaxActiveConns = 0, 0
	o.ReadTimeout, o.WriteTimeout = readIdle, readIdle
	o.Limiter, o.PushNotificationProcessor = nil, nil
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// idleConn ends a read when no byte came for a time. The deadline of go-redis
// holds for a whole answer instead, and would end a large batch on a slow line
// in its middle; it is ignored.
type idleConn struct{ net.Conn }

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(readIdle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) SetReadDeadline(time.Time) error { return nil }

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
	found, err := l.look(ctx, c, "")
	if err != nil {
		return err
	}
	if !found.group {
		start := l.begin(found)
		if found, err = l.look(ctx, c, start); err != nil {
			return err
		}
	}
	if !l.surveyed {
		l.surveyed, l.taken = true, found.delivered
		l.mu.Lock()
		l.handled = found.handled
		l.mu.Unlock()
	}
	floor, _ := l.r.position()
	if found.pending == 0 && newer(found.delivered, floor) {
		floor = found.delivered
	}
	l.r.reached(floor)
	return l.checkTrimmed(ctx, c, found)
}

// begin decides where a group begins that is not there, and reports it when it
// should be.
func (l *Lease) begin(found look) string {
	floor, known := l.r.position()
	if newer(found.handled, floor) {
		floor = found.handled
	}
	switch {
	case !known && floor == "" && l.r.opts.Latest:
		return "$"
	case !known && floor == "":
		return "0"
	}
	l.r.report(Gap{Cause: CauseVanished, Missing: -1, After: floor, Before: found.first})
	if floor == "" || newer(floor, found.last) {
		return "0" // another stream: its IDs begin below
	}
	return floor
}

// checkTrimmed reports entries that were trimmed before the group had read
// them, and then has Redis count them as read, so that they are told of once.
func (l *Lease) checkTrimmed(ctx context.Context, c *redis.Client, found look) error {
	trimmed := found.added - found.length
	if found.added < 0 || found.read < 0 || trimmed <= found.read || !newer(found.last, found.delivered) ||
		found.first != "" && !newer(found.first, found.delivered) {
		return nil
	}
	l.r.report(Gap{Cause: CauseTrimmed, Missing: trimmed - found.read, After: found.delivered, Before: found.first})
	return correctScript.run(ctx, c, l.keys(), l.token, l.r.group, found.delivered, trimmed).Err()
}

func (l *Lease) keys() []string {
	return []string{leaseKey(l.r.channel, l.r.group), StreamKey(l.r.channel), triesKey(l.r.channel, l.r.group)}
}

// look asks for the state of the group; it makes a missing one at start, unless
// that is "".
func (l *Lease) look(ctx context.Context, c *redis.Client, start string) (look, error) {
	answer, err := lookScript.run(ctx, c, l.keys(), l.token, l.r.group, start).Slice()
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

// lookScript makes the group, if ARGV[3] tells where it is to begin, with the
// entries trimmed so far counted as read, and answers with a look. Servers that
// do not count the entries added do not take ENTRIESREAD either.
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
  elseif stream['entries-added'] and ARGV[3] == '$' then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], '$', 'MKSTREAM', 'ENTRIESREAD', added)
  else
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[2], ARGV[3], 'MKSTREAM')
  end
  survey()
end
local g = group or {}
return {
  group and 1 or 0, first, stream['last-generated-id'] or '', stream['length'] or 0, stream['entries-added'] or -1,
  g['last-delivered-id'] or '', g['entries-read'] or -1, g['pending'] or 0, redis.call('HGET', KEYS[3], 'handled') or ''
}
`)

// correctScript sets the group's count of entries read.
var correctScript = newScript(underLease + `
return redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3], 'ENTRIESREAD', ARGV[4])
`)

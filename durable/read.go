package durable

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
)

const (
	// readBlock is how long a read waits at the server. It begins while the
	// lease is not lost, so that it has ended when the lease ends there.
	readBlock = 2 * time.Second
	// readIdle without a byte from the server means that it is gone.
	readIdle = readBlock + 3*time.Second
	// readBytes is what a batch may hold, by the mean size of the one before.
	readBytes = 8 << 20

	consumer = "main"
)

// reading is the state of Read.
type reading struct {
	session *session
	size    int // of the next batch
	// taken is the newest ID that was delivered when the lease began: what is
	// pending up to it was an earlier holder's.
	taken    string
	surveyed bool // taken is known
	// index is how many entries had ever been added up to counted, -1 if that is
	// not known. It is counted here, entry by entry: what the server counts for
	// the group others can change, and Redis 7.4 corrects it by what it has
	// trimmed unread.
	index    int64
	counted  string
	worked   bool // the last session did, so that the next may begin at once
	pauses   backoff
	caughtUp time.Time
	chored   time.Time // when the chores were last done
	lazy     bool      // they were refused
}

// CaughtUp is a time up to which, by this machine's clock, everything that was
// appended has been returned by Read, or was before by an earlier holder. It is
// zero as long as that is not known, and for the goroutine that calls Read.
func (l *Lease) CaughtUp() time.Time { return l.caughtUp }

// Read returns the next entries in the order of the stream. First come those
// that an earlier holder left, marked Redelivered. An entry is not returned
// again under this lease. Read waits for entries; an empty batch tells that the
// stream held nothing more for the group, at least every two seconds.
//
// It waits out outages, reports them to OnRetry, reconnects and goes on with what
// an unread answer may have held. It returns ctx's error when ctx ends, which
// ends a blocked read at once, an [*Error] with [ErrLeaseLost], or one that is
// Refused, after which Read may be called again.
func (l *Lease) Read(ctx context.Context) ([]Entry, error) {
	l.chores(ctx)
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
	l.count(batch)
	return l.take(ctx, l.fresh(batch))
}

// readNew waits for entries that were not delivered yet. stray tells that
// others are pending before them, after the newest that was delivered here: a
// read of an earlier holder, or of a connection that died, reached the server
// late and took them. They come first, and the entries read now are then read
// again, with them.
func (l *Lease) readNew(ctx context.Context, s *session) (entries []Entry, stray bool, err error) {
	newest, sent := l.newest(), time.Now()
	all := s.client.Pipeline()
	given := newest // or passed over, as what is requeued for another group
	if newer(l.counted, given) {
		given = l.counted
	}
	begins := all.Eval(ctx, beginsText, []string{StreamKey(l.r.channel)}, given)
	read := all.XReadGroup(ctx, l.args(">", readBlock))
	asked := l.size
	after := all.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: StreamKey(l.r.channel), Group: l.r.group, Start: newest, End: "+", Count: 2, Consumer: consumer,
	})
	if err := topology.Exec(ctx, all); err != nil {
		return nil, false, err
	}
	if err := read.Err(); err != nil && err != redis.Nil {
		return nil, false, err
	}
	if err := after.Err(); err != nil && err != redis.Nil {
		return nil, false, err
	}
	l.worked = true
	batch := messagesOf(read.Val())
	if !s.swept && isStray(after.Val(), newest, batch) {
		return nil, true, nil
	}
	if err := l.checkTrimmed(ctx, s.client, begins, given, batch); err != nil {
		return nil, false, err
	}
	fresh := l.fresh(batch)
	if entries, err = l.take(ctx, fresh); err != nil {
		return nil, false, err
	}
	switch n := len(batch); {
	case n == 0 && time.Since(sent) >= readBlock: // it saw the end for so long
		l.caughtUp = sent.Add(readBlock)
	case n < asked:
		l.caughtUp = sent
	}
	return entries, false, nil
}

// isStray tells whether the first of the pending entries from newest on, newest
// itself aside, is another one than the first of a batch.
func isStray(pending []redis.XPendingExt, newest string, batch []redis.XMessage) bool {
	for _, p := range pending {
		if p.ID != newest {
			return len(batch) == 0 || p.ID != batch[0].ID
		}
	}
	return false
}

func (l *Lease) args(from string, block time.Duration) *redis.XReadGroupArgs {
	if l.size == 0 {
		l.size = firstBatch
	}
	return &redis.XReadGroupArgs{
		Group: l.r.group, Consumer: consumer, Streams: []string{StreamKey(l.r.channel), from},
		Count: int64(l.size), Block: block,
	}
}

func messagesOf(streams []redis.XStream) []redis.XMessage {
	if len(streams) == 0 {
		return nil
	}
	return streams[0].Messages
}

// take makes the entries of a batch, of which none is outstanding, and settles
// those that are not for the caller: trimmed ones, which are reported, and those
// requeued for another group.
func (l *Lease) take(ctx context.Context, batch []redis.XMessage) ([]Entry, error) {
	entries := make([]Entry, 0, len(batch))
	var gone, foreign []string
	size, most := 0, smallBatch
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
		if e.Type == message.TypeMatchUpdates || len(e.Body) > smallEntry {
			most = maxBatch
		}
	}
	l.size = nextBatch(readBytes, most, len(entries), size, l.size)
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

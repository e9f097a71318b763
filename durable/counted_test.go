package durable_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// counting is a stream of ten messages that a lease has handled.
type counting struct {
	t       *testing.T
	conn    *redis.Client
	w       *durable.Writer
	r       *durable.Reader
	l       *durable.Lease
	missing gaps
}

func newCounting(t *testing.T) *counting {
	conn := connect(t, realredis.Start(t).Addr())
	c := &counting{t: t, conn: conn, w: newWriter(t, conn, durable.WriterOptions{})}
	c.r = newReader(t, conn, durable.ReaderOptions{OnGap: c.missing.add})
	publish(t, c.w, 1, 10)
	c.l = acquire(t, c.r)
	c.handle(10)
	return c
}

// handle reads n entries and acknowledges them.
func (c *counting) handle(n int) {
	c.t.Helper()
	require.NoError(c.t, c.l.Ack(c.t.Context(), read(c.t, c.l, n)...))
}

// passLease releases the lease and takes another one.
func (c *counting) passLease() {
	c.t.Helper()
	require.NoError(c.t, c.l.Release(c.t.Context()))
	c.l = acquire(c.t, c.r)
	require.Empty(c.t, readFor(c.t, c.l, 100*time.Millisecond))
}

func (c *counting) trim(keep int64) {
	c.t.Helper()
	require.NoError(c.t, c.conn.XTrimMaxLen(c.t.Context(), durable.StreamKey(channel), keep).Err())
}

// showAll removes what was handled, so that all that is missing shows.
func (c *counting) showAll() {
	c.t.Helper()
	c.trim(0)
	publish(c.t, c.w, 50, 51)
	c.handle(2)
}

func (c *counting) told() (n int64) {
	for _, g := range c.missing.all() {
		n += g.Missing
	}
	return n
}

func addTo(t *testing.T, p redis.Pipeliner, from, to int) {
	for n := from; n <= to; n++ {
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: durable.StreamKey(channel), Values: []string{"id", outgoing(n).ID}})
	}
}

// Purge tells of what it removed before a lease, and nothing else does.
func TestLease_Read_purgedBeforeTheLease_isToldOnce(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	require.NoError(t, c.l.Release(t.Context()))
	publish(t, c.w, 11, 15)
	_, err := durable.Purge(t.Context(), c.conn, channel, durable.PurgeOptions{Before: time.Now().Add(time.Hour), Force: true})
	require.NoError(t, err)
	publish(t, c.w, 16, 20)
	c.l = acquire(t, c.r)
	c.handle(5)
	c.showAll()
	require.EqualValues(t, 5, c.told())
	require.Len(t, c.missing.all(), 1)
}

// What was removed under a lease, by a purge and by trimming, adds up.
func TestLease_Read_purgedUnderTheLease_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	for n := range 4 {
		appendOne(t, c.w, holding(11+n, int64(6200001+n%2)))
	}
	_, err := durable.Purge(t.Context(), c.conn, channel, durable.PurgeOptions{Match: "6200001", Force: true})
	require.NoError(t, err)
	c.handle(2)
	c.passLease()
	publish(t, c.w, 15, 24)
	c.trim(5)
	c.handle(5)
	require.EqualValues(t, 2+5, c.told())
}

// A read whose answer is lost moves the group past what was trimmed. The entries then
// come from the pending ones.
func TestLease_Read_trimmedBeforeALostRead_isTold(t *testing.T) {
	t.Parallel()
	for name, earlier := range map[string]bool{"of this holder": false, "of an earlier holder": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounting(t)
			if earlier {
				require.NoError(t, c.l.Release(t.Context()))
			}
			publish(t, c.w, 11, 30)
			c.trim(5)
			require.NoError(t, c.conn.XReadGroup(t.Context(), &redis.XReadGroupArgs{
				Group: group, Consumer: "main", Streams: []string{durable.StreamKey(channel), ">"}, Count: 100,
			}).Err())
			if earlier {
				c.l = acquire(t, c.r)
			}
			c.handle(5)
			c.passLease()
			c.showAll()
			require.EqualValues(t, 15, c.told())
		})
	}
}

// An entry that is deleted before it is read leaves no trace where it was.
func TestLease_Read_deletedUnread_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	publish(t, c.w, 11, 30)
	list, err := c.conn.XRange(t.Context(), durable.StreamKey(channel), "-", "+").Result()
	require.NoError(t, err)
	for _, m := range list[14:19] {
		require.NoError(t, c.conn.XDel(t.Context(), durable.StreamKey(channel), m.ID).Err())
	}
	c.handle(15)
	c.passLease()
	c.showAll()
	require.EqualValues(t, 5, c.told())
}

// Entries that were requeued for another group are skipped. Removing them is no gap.
func TestLease_Read_entriesOfAnotherGroup_areNoGap(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	other, err := durable.NewReader(c.conn, channel, "other", durable.ReaderOptions{})
	require.NoError(t, err)
	l := acquire(t, other)
	entries := read(t, l, 10)
	for _, e := range entries[:3] {
		require.NoError(t, l.Bury(t.Context(), e, durable.Failure{Err: errors.New("refused")}))
	}
	require.NoError(t, l.Ack(t.Context(), entries[3:]...))
	letters, err := durable.NewDeadLetters(c.conn, channel)
	require.NoError(t, err)
	for letter, err := range letters.List(t.Context(), durable.Filter{}) {
		require.NoError(t, err)
		_, err = letters.Requeue(t.Context(), letter.LetterID, true)
		require.NoError(t, err)
	}
	require.Empty(t, readFor(t, c.l, 200*time.Millisecond))
	c.trim(2)
	require.Empty(t, readFor(t, c.l, 200*time.Millisecond))
	publish(t, c.w, 11, 15)
	c.handle(5)
	c.showAll()
	require.Empty(t, c.missing.all())
}

// A failover can lose the newest entries while publishers go on.
func TestLease_Read_streamSetBack_isCountedFromThere(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *counting) (lost int64){
		"all is read": func(c *counting) int64 {
			c.showAll()
			return 0
		},
		"five are trimmed unread": func(c *counting) int64 {
			publish(c.t, c.w, 18, 29)
			c.trim(7)
			c.handle(7)
			return 5
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounting(t)
			require.Empty(t, readFor(t, c.l, 50*time.Millisecond))
			key := durable.StreamKey(channel)
			state, err := c.conn.Dump(t.Context(), key).Result()
			require.NoError(t, err)
			publish(t, c.w, 11, 15)
			c.handle(5)
			_, err = c.conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
				p.RestoreReplace(t.Context(), key, 0, state)
				addTo(t, p, 16, 17)
				return nil
			})
			require.NoError(t, err)
			killClients(t, c.conn)
			c.handle(2)
			lost := end(c)
			require.Equal(t, lost, c.told())
		})
	}
}

// A transaction that appends and trims wakes a blocked read behind the loss.
func TestLease_Read_trimmedWithTheAppend_isToldByTheNextHolder(t *testing.T) {
	t.Parallel()
	c := newCounting(t)
	woken := make(chan error, 1)
	go func() {
		for t.Context().Err() == nil {
			info, err := c.conn.InfoMap(t.Context(), "clients").Result()
			if err != nil || info["Clients"]["blocked_clients"] == "1" {
				break
			}
		}
		_, err := c.conn.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			addTo(t, p, 11, 30)
			p.XTrimMaxLen(t.Context(), durable.StreamKey(channel), 5)
			return nil
		})
		woken <- err
	}()
	c.handle(5)
	require.NoError(t, <-woken)
	c.passLease()
	c.showAll()
	require.EqualValues(t, 15, c.told())
}

// Somebody recreates the group at the end of the stream while its holder lives.
func TestLease_Read_groupRecreatedAtTheEnd_isTold(t *testing.T) {
	t.Parallel()
	for name, pass := range map[string]bool{"by the same holder": false, "by the next holder": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCounting(t)
			publish(t, c.w, 11, 30)
			key := durable.StreamKey(channel)
			require.NoError(t, c.conn.XGroupDestroy(t.Context(), key, group).Err())
			require.NoError(t, c.conn.XGroupCreate(t.Context(), key, group, "$").Err())
			publish(t, c.w, 31, 35)
			c.handle(5)
			if pass {
				c.passLease()
			}
			c.showAll()
			require.EqualValues(t, 20, c.told())
		})
	}
}

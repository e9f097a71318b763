package durable_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// holding is a message with these matches; n names it.
func holding(n int, matches ...int64) message.Outgoing {
	list := ""
	for _, id := range matches {
		list += fmt.Sprintf(`{"matchid":%d,"namn":"Åke Påhittad"},`, id)
	}
	m := outgoing(n)
	m.Body = fmt.Appendf(nil, `{"message_id":"%s","type":"match_updates","payload":{"matches":[%s]}}`, m.ID, list[:max(len(list)-1, 0)])
	return m
}

func appendOne(t *testing.T, w *durable.Writer, m message.Outgoing) {
	t.Helper()
	_, err := w.Append(t.Context(), channel, m, "")
	require.NoError(t, err)
}

// left is the message IDs in the stream, and in the dead letters.
func left(t *testing.T, conn redis.UniversalClient) (stream, dead []string) {
	t.Helper()
	for e, err := range durable.Replay(t.Context(), conn, channel, durable.Position{}) {
		require.NoError(t, err)
		stream = append(stream, e.ID)
	}
	letters, err := durable.NewDeadLetters(conn, channel)
	require.NoError(t, err)
	for letter, err := range letters.List(t.Context(), durable.Filter{}) {
		require.NoError(t, err)
		dead = append(dead, letter.Entry.ID)
	}
	return stream, dead
}

func TestPurge_aMatchIsNowhereAnyMore(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		appendOne(t, w, holding(1, 6200001, 6200002))
		appendOne(t, w, holding(2, 6200002))
		appendOne(t, w, holding(3, 62000010, 16200001)) // other numbers that hold it
		changed := outgoing(4)
		changed.Body = []byte(`{"message_id":"id-0004","type":"match_updates","payload":{"matches":[],"detailed_changes":[{"match_id":6200001,"field":"venue"}]}}`)
		appendOne(t, w, changed)
		broken := outgoing(5)
		broken.Body = []byte(`{"matchid": 6200001, "namn": "Åke`)
		appendOne(t, w, broken)
		appendOne(t, w, holding(6, 6200001))
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add}))
		entries := read(t, l, 6)
		require.NoError(t, l.Bury(t.Context(), entries[4], durable.Failure{Err: errors.New("unreadable")}))
		require.NoError(t, l.Ack(t.Context(), append(entries[:4], entries[5])...))

		o := durable.PurgeOptions{Match: "6200001", DryRun: true}
		found, err := durable.Purge(t.Context(), conn, channel, o)
		require.NoError(t, err)
		require.Equal(t, durable.Purged{Entries: 4, Letters: 1}, found)
		stream, dead := left(t, conn)
		require.Len(t, stream, 6, "a dry run deletes nothing")
		require.Len(t, dead, 1)

		o.DryRun = false
		found, err = durable.Purge(t.Context(), conn, channel, o)
		require.NoError(t, err)
		require.Equal(t, durable.Purged{Entries: 4, Letters: 1}, found)
		stream, dead = left(t, conn)
		require.Equal(t, []string{"id-0002", "id-0003"}, stream)
		require.Empty(t, dead)

		appendOne(t, w, holding(7, 6200003))
		require.Equal(t, numbered(7, 7), ids(read(t, l, 1)), "what comes is read on")
		require.Empty(t, missing.all(), "the group had handled them")
	})
}

func TestPurge_whatAGroupHasNotHandledNeedsForceAndIsAGap(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 2)
		var missing gaps
		r := newReader(t, conn, durable.ReaderOptions{OnGap: missing.add})
		l := acquire(t, r)
		entries := read(t, l, 2)
		require.NoError(t, l.Ack(t.Context(), entries[0]))
		require.NoError(t, l.Release(t.Context())) // the second was read and not handled
		publish(t, w, 3, 5)                        // and these never read
		time.Sleep(2 * time.Millisecond)           // the IDs below are of an earlier moment
		o := durable.PurgeOptions{Before: time.Now().Add(time.Hour)}

		found, err := durable.Purge(t.Context(), conn, channel, o)
		require.ErrorIs(t, err, durable.ErrUnsettled)
		require.ErrorContains(t, err, "purge on "+channel+": ")
		require.ErrorContains(t, err, "4 entries")
		require.Equal(t, durable.Purged{Unsettled: 4}, found)
		stream, _ := left(t, conn)
		require.Len(t, stream, 5)

		o.Force = true
		found, err = durable.Purge(t.Context(), conn, channel, o)
		require.NoError(t, err)
		require.Equal(t, durable.Purged{Entries: 5, Unsettled: 4}, found)
		stream, _ = left(t, conn)
		require.Empty(t, stream)

		publish(t, w, 6, 6)
		l = acquire(t, r)
		require.Equal(t, numbered(6, 6), ids(read(t, l, 1)))
		told := map[durable.Cause]durable.Gap{}
		for _, g := range missing.all() {
			told[g.Cause] = g
		}
		require.EqualValues(t, 3, told[durable.CausePurged].Missing)
		if !strings.HasSuffix(t.Name(), "/miniredis") { // which forgets that it was pending
			require.Equal(t, []string{entries[1].StreamID}, told[durable.CausePendingTrimmed].IDs)
		}
		n := len(missing.all())
		require.NoError(t, l.Release(t.Context()))
		l = acquire(t, r)
		publish(t, w, 7, 7)
		require.Contains(t, ids(read(t, l, 2)), "id-0007")
		require.Len(t, missing.all(), n, "told once")
	})
}

func TestPurge_ofEverythingIsRefused(t *testing.T) {
	t.Parallel()
	_, err := durable.Purge(t.Context(), connect(t, "127.0.0.1:1"), channel, durable.PurgeOptions{Force: true})
	require.ErrorContains(t, err, "Match or Before")
}

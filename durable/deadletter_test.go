package durable_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

func letters(tb testing.TB, conn redis.UniversalClient, filter durable.Filter) []durable.DeadLetter {
	tb.Helper()
	d, err := durable.NewDeadLetters(conn, channel)
	require.NoError(tb, err)
	var list []durable.DeadLetter
	for letter, err := range d.List(tb.Context(), filter) {
		require.NoError(tb, err)
		list = append(list, letter)
	}
	return list
}

func messageIDs(list []durable.DeadLetter) []string {
	var names []string
	for _, d := range list {
		names = append(names, d.Entry.ID)
	}
	return names
}

func TestLease_Bury_keepsMessageAndHistory(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 2)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{Instance: "värd-1"}))
		entries := read(t, l, 2)
		tries, err := l.Try(t.Context(), entries[0])
		require.NoError(t, err)
		require.Equal(t, 1, tries)
		first := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
		failure := durable.Failure{Err: errors.New("Google's token is gone"), Attempts: 7, First: first, Last: first.Add(time.Second)}
		require.NoError(t, l.Bury(t.Context(), entries[0], failure))
		require.NoError(t, l.Bury(t.Context(), entries[0], failure), "settled already")

		list := letters(t, conn, durable.Filter{})
		require.Len(t, list, 1)
		d := list[0]
		require.Equal(t, entries[0].ID, d.Entry.ID)
		require.Equal(t, entries[0].StreamID, d.Entry.StreamID)
		require.Equal(t, entries[0].Body, d.Entry.Body)
		require.Equal(t, message.TypeMatchUpdates, d.Entry.Type)
		require.Equal(t, group, d.Group)
		require.Equal(t, "värd-1", d.Instance)
		require.Equal(t, "Google's token is gone", d.Reason)
		require.Equal(t, 7, d.Attempts)
		require.Equal(t, 1, d.Tries)
		require.Equal(t, 1, d.Deliveries)
		require.True(t, first.Equal(d.First))
		require.True(t, first.Add(time.Second).Equal(d.Last))
		require.WithinDuration(t, time.Now(), d.Tried, long)
		require.WithinDuration(t, time.Now(), d.Buried(), long)

		require.NoError(t, l.Release(t.Context()))
		next := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.Equal(t, numbered(2, 2), ids(read(t, next, 1)), "what is buried is settled")
	})
}

func TestLease_Bury_boundsTheDeadLetters(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 5)
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{MaxDead: 3, OnGap: missing.add}))
		for _, e := range read(t, l, 5) {
			require.NoError(t, l.Bury(t.Context(), e, durable.Failure{}))
		}
		require.Equal(t, numbered(3, 5), messageIDs(letters(t, conn, durable.Filter{})))
		require.Equal(t, []durable.Gap{
			{Channel: channel, Group: group, Cause: durable.CauseDeadTrimmed, Missing: 1, IDs: numbered(1, 1)},
			{Channel: channel, Group: group, Cause: durable.CauseDeadTrimmed, Missing: 1, IDs: numbered(2, 2)},
		}, missing.all())
	})
}

func TestLease_Bury_boundsTheirBytes(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		for n := range 8 {
			m := outgoing(n)
			m.Body = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
			_, err := w.Append(t.Context(), channel, m, "")
			require.NoError(t, err)
		}
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{MaxDeadBytes: 4 << 20}))
		for _, e := range read(t, l, 8) {
			require.NoError(t, l.Bury(t.Context(), e, durable.Failure{}))
		}
		left := messageIDs(letters(t, conn, durable.Filter{}))
		require.NotEmpty(t, left)
		require.LessOrEqual(t, len(left), 4)
		require.Equal(t, outgoing(7).ID, left[len(left)-1])
	})
}

func TestDeadLetters_List_filters(t *testing.T) {
	t.Parallel()
	conn := connect(t, realredis.Start(t).Addr())
	publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 3)
	l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
	for i, e := range read(t, l, 3) {
		require.NoError(t, l.Bury(t.Context(), e, durable.Failure{Err: fmt.Errorf("Fault %d", i+1)}))
	}
	for name, test := range map[string]struct {
		filter durable.Filter
		want   []string
	}{
		"all":        {durable.Filter{}, numbered(1, 3)},
		"type":       {durable.Filter{Type: message.TypeMatchUpdates}, numbered(1, 3)},
		"other type": {durable.Filter{Type: message.TypeSystemAlert}, nil},
		"reason":     {durable.Filter{Reason: "fault 2"}, numbered(2, 2)},
		"group":      {durable.Filter{Group: "other"}, nil},
		"since":      {durable.Filter{Since: time.Now().Add(-time.Hour)}, numbered(1, 3)},
		"before":     {durable.Filter{Before: time.Now().Add(-time.Hour)}, nil},
	} {
		require.Equal(t, test.want, messageIDs(letters(t, conn, test.filter)), name)
	}
}

func TestDeadLetters_GetAndDiscard(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 2)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		for _, e := range read(t, l, 2) {
			require.NoError(t, l.Bury(t.Context(), e, durable.Failure{}))
		}
		list := letters(t, conn, durable.Filter{})
		d, err := durable.NewDeadLetters(conn, channel)
		require.NoError(t, err)
		one, err := d.Get(t.Context(), list[0].LetterID)
		require.NoError(t, err)
		require.Equal(t, list[0], one)
		n, err := d.Discard(t.Context(), list[0].LetterID, "1-1")
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		for _, id := range []string{list[0].LetterID, "1-1", "-", "nonsense"} {
			_, err = d.Get(t.Context(), id)
			require.ErrorIs(t, err, durable.ErrNotFound)
			_, err = d.Requeue(t.Context(), id, false)
			require.ErrorIs(t, err, durable.ErrNotFound)
		}
		require.Equal(t, numbered(2, 2), messageIDs(letters(t, conn, durable.Filter{})))
	})
}

// A bad release buried three updates; after the fix they are requeued in
// order, and then nothing older may follow.
func TestDeadLetters_Requeue_inOrder(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 3)
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		buried := read(t, l, 3)
		for _, e := range buried {
			require.NoError(t, l.Bury(t.Context(), e, durable.Failure{}))
		}
		d, err := durable.NewDeadLetters(conn, channel)
		require.NoError(t, err)
		list := letters(t, conn, durable.Filter{})
		for _, letter := range list[:2] {
			_, err := d.Requeue(t.Context(), letter.LetterID, false)
			require.NoError(t, err)
		}
		again := read(t, l, 2)
		require.Equal(t, numbered(1, 2), ids(again))
		require.Equal(t, buried[0].StreamID, again[0].Origin)
		// While they are being handled, the third is newer than they.
		_, err = d.Requeue(t.Context(), list[2].LetterID, false)
		require.NoError(t, err)
		last := read(t, l, 1)
		require.Equal(t, numbered(3, 3), ids(last))
		require.NoError(t, l.Ack(t.Context(), again...))

		// The third waits or was handled: the second may not come again.
		require.NoError(t, l.Bury(t.Context(), last[0], durable.Failure{}))
		require.Empty(t, pending(t, conn))
		latest, found, err := durable.Latest(t.Context(), conn, channel)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, outgoing(3).ID, latest.ID)
	})
}

func TestDeadLetters_Requeue_refusesTheStale(t *testing.T) {
	t.Parallel()
	for name, overtaken := range map[string]func(t *testing.T, w *durable.Writer, l *durable.Lease){
		"handled": func(t *testing.T, w *durable.Writer, l *durable.Lease) {
			publish(t, w, 2, 2)
			require.NoError(t, l.Ack(t.Context(), read(t, l, 1)...))
		},
		"pending": func(t *testing.T, w *durable.Writer, l *durable.Lease) {
			publish(t, w, 2, 2)
			read(t, l, 1)
		},
		"not read": func(t *testing.T, w *durable.Writer, l *durable.Lease) { publish(t, w, 2, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers(t, func(t *testing.T, addr string) {
				conn := connect(t, addr)
				w := newWriter(t, conn, durable.WriterOptions{})
				publish(t, w, 1, 1)
				l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
				require.NoError(t, l.Bury(t.Context(), read(t, l, 1)[0], durable.Failure{}))
				overtaken(t, w, l)
				d, err := durable.NewDeadLetters(conn, channel)
				require.NoError(t, err)
				letter := letters(t, conn, durable.Filter{})[0]
				_, err = d.Requeue(t.Context(), letter.LetterID, false)
				require.ErrorIs(t, err, durable.ErrStale)
				require.Len(t, letters(t, conn, durable.Filter{}), 1)
				id, err := d.Requeue(t.Context(), letter.LetterID, true)
				require.NoError(t, err)
				require.NotEmpty(t, id)
				require.Empty(t, letters(t, conn, durable.Filter{}))
			})
		})
	}
}

func TestDeadLetters_Requeue_forItsGroupOnly(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		conn := connect(t, addr)
		publish(t, newWriter(t, conn, durable.WriterOptions{}), 1, 1)
		other, err := durable.NewReader(conn, channel, "phonebook", durable.ReaderOptions{})
		require.NoError(t, err)
		theirs := acquire(t, other)
		require.NoError(t, theirs.Ack(t.Context(), read(t, theirs, 1)...))
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{}))
		require.NoError(t, l.Bury(t.Context(), read(t, l, 1)[0], durable.Failure{}))
		d, err := durable.NewDeadLetters(conn, channel)
		require.NoError(t, err)
		_, err = d.Requeue(t.Context(), letters(t, conn, durable.Filter{})[0].LetterID, false)
		require.NoError(t, err)
		none, err := theirs.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, none)
		require.Equal(t, numbered(1, 1), ids(read(t, l, 1)))
	})
}

func TestEntry_printsNoContents(t *testing.T) {
	t.Parallel()
	e := durable.Entry{StreamID: "1-2", ID: "id-1", Type: message.TypeMatchUpdates, Body: []byte("Sven 070-174 06 05")}
	d := durable.DeadLetter{LetterID: "3-4", Entry: e, Group: group, Reason: "no token"}
	var log strings.Builder
	untimed := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // whose digits may be those of a telephone
		}
		return a
	}}
	slog.New(slog.NewJSONHandler(&log, untimed)).Info("x", "entry", e, "letter", d, "list", fmt.Sprint([]durable.Entry{e}))
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %d %x", e, e, e, e, e, e), fmt.Sprintf("%v %+v %#v", d, &d, []any{d}), log.String()} {
		require.NotContains(t, text, "070")
		require.NotContains(t, text, "83 118")
		require.Contains(t, text, "id-1")
	}
}

// pending are the IDs of the entries that the group has not settled.
func pending(tb testing.TB, conn redis.UniversalClient) []string {
	tb.Helper()
	list, err := conn.XPendingExt(tb.Context(), &redis.XPendingExtArgs{
		Stream: durable.StreamKey(channel), Group: group, Start: "-", End: "+", Count: 1000,
	}).Result()
	require.NoError(tb, err)
	var names []string
	for _, p := range list {
		names = append(names, p.ID)
	}
	return names
}

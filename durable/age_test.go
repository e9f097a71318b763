package durable_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
)

func TestWriter_Age_removesExactlyWhatIsTooOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis := newEmbedded(t)
		conn := (&link{redis: redis}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{MaxAge: 24 * time.Hour})
		require.Equal(t, time.Minute, w.AgeInterval())
		publish(t, w, 1, 3)
		time.Sleep(time.Hour)
		publish(t, w, 4, 5)
		time.Sleep(23*time.Hour - time.Millisecond)
		removed, err := w.Age(t.Context(), channel)
		require.NoError(t, err)
		require.Zero(t, removed)
		time.Sleep(2 * time.Millisecond)
		removed, err = w.Age(t.Context(), channel)
		require.NoError(t, err)
		require.EqualValues(t, 3, removed, "though nothing was appended")
		time.Sleep(time.Hour)
		removed, err = w.Age(t.Context(), channel)
		require.NoError(t, err)
		require.EqualValues(t, 2, removed, "the last one, too")
	})
}

func TestLease_Read_deadLettersAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis := newEmbedded(t)
		conn := (&link{redis: redis}).client(t)
		w := newWriter(t, conn, durable.WriterOptions{})
		publish(t, w, 1, 30)
		var missing gaps
		l := acquire(t, newReader(t, conn, durable.ReaderOptions{OnGap: missing.add, MaxDeadAge: 24 * time.Hour}))
		for i, e := range read(t, l, 30) {
			if i == 25 {
				time.Sleep(time.Hour)
			}
			require.NoError(t, l.Bury(t.Context(), e, durable.Failure{Err: errors.New("no")}))
		}
		look := func(after time.Duration) int {
			for end := time.Now().Add(after); time.Now().Before(end); {
				_, err := l.Read(t.Context())
				require.NoError(t, err)
			}
			_, dead := left(t, conn)
			return len(dead)
		}
		require.Equal(t, 30, look(22*time.Hour))
		require.Empty(t, missing.all())
		require.Equal(t, 5, look(90*time.Minute))
		require.Zero(t, look(time.Hour))
		told := 0
		for _, g := range missing.all() {
			require.Equal(t, durable.CauseDeadTrimmed, g.Cause)
			told += len(g.IDs)
		}
		require.Equal(t, 30, told)
	})
}

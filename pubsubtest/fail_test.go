package pubsubtest_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
)

// failing is a test that is to fail.
type failing struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (f *failing) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *failing) FailNow() { panic("FailNow") }

func (f *failing) errors() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said
}

func TestRecorder_Next_nothingComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := &failing{TB: t}
		got := pubsubtest.NewRecorder[message.MatchUpdates](tb)
		var others sync.WaitGroup
		returned := false
		others.Go(func() {
			got.Next()
			returned = true
		})
		others.Wait()
		require.False(t, returned, "its goroutine ends without FailNow, which is not for it")
		require.Equal(t, []string{"pubsubtest: no further message came in 30s"}, tb.errors())

		require.PanicsWithValue(t, "FailNow", func() { got.Next() })
	})
}

func TestRedis_failsFromAnyGoroutine(t *testing.T) {
	t.Parallel()
	tb := &failing{TB: t}
	redis := pubsubtest.StartRedis(tb)
	redis.Stop()
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() { redis.Publish("x", nil) })
		others.Go(func() { redis.WaitForListener("x") })
	}
	others.Wait()
	require.Len(t, tb.errors(), 4)
}

// For the race detector.
func TestRedis_startedWhileItIsAsked(t *testing.T) {
	t.Parallel()
	redis := pubsubtest.StartRedis(t)
	url := redis.URL()
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for range 20 {
				redis.Stop()
				redis.Start()
				if got := redis.URL(); got != url {
					t.Errorf("%s, want %s", got, url)
				}
			}
		})
	}
	others.Wait()
	redis.Start()
	require.Zero(t, redis.Publish("x", nil))
}

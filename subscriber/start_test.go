package subscriber_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// A first start on an empty Redis says how it receives, and warns of nothing.
func TestRun_firstStartOnAnEmptyRedis(t *testing.T) {
	t.Parallel()
	for mode, o := range map[string]subscriber.Options{"plain": {}, "durable": inGroup()} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := bubbleBox(t)
			logger, log := logcheck.NewLog(t)
			o.Logger = logger
			var got recorder
			r, e := member(t, b.options(), o, got.handle)
			time.Sleep(time.Minute)
			require.NoError(t, r.stop())
			require.Equal(t, 1, log.Count("receiving"))
			require.Contains(t, log.Text(), `"mode":"`+mode+`"`)
			require.NotContains(t, log.Text(), "WARN")
			if mode == "durable" {
				require.Contains(t, log.Text(), `"group":"`+group+`"`)
				require.Len(t, e.NewGroups(), 1, "it is still told")
			}
		})
	}
}

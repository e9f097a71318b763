package publisher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/publisher"
)

func TestPublisher_Run_removesWhatIsTooOldThoughNothingIsPublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t)
		p := newPublisher(t, k.client(t), publisher.Options{Durable: publisher.DurableOptions{Mode: publisher.DurableOn, MaxAge: time.Hour}})
		_, err := p.Publish(t.Context(), update("old"))
		require.NoError(t, err)
		stop := run(t, p)
		time.Sleep(time.Hour - time.Second)
		require.Len(t, k.kept(t), 1)
		time.Sleep(2 * time.Minute)
		require.Empty(t, k.kept(t))
		stop()
	})
}

package subscriber_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// Who may publish alerts may not act by them on what another type's handler
// does. A channel of Options.Channels is for any type.
func TestSubscriber_aTypeOnAnotherTypesChannelIsNotHandled(t *testing.T) {
	t.Parallel()
	for _, o := range []subscriber.Options{{}, inGroup()} {
		synctest.Test(t, func(t *testing.T) {
			b, client := bubbleBox(t)
			logger, log := logcheck.NewLog(t)
			o.Logger, o.Channels = logger, []string{"further"}
			s, err := subscriber.New(connect(t, b.options()), o)
			require.NoError(t, err)
			var got recorder
			s.Handle(message.TypeProcessingStatus, got.handle)
			s.Handle(message.TypeSystemAlert, func(context.Context, *message.Envelope) error { return nil })
			r := start(t, s)
			time.Sleep(time.Second)
			b.Publish(alertChannel, string(status(t, "stray")))
			// Without a type at the place where it is looked for first.
			b.Publish(alertChannel, strings.Replace(string(status(t, "stray too")), `"type":`, `"\u0074ype":`, 1))
			b.Publish("further", string(status(t, "a")))
			b.Publish(statusChannel, string(status(t, "b")))
			if o.Durable.Group != "" {
				w, err := durable.NewWriter(client, durable.WriterOptions{})
				require.NoError(t, err)
				_, err = w.Append(t.Context(), alertChannel, message.Outgoing{ID: "c", Type: message.TypeProcessingStatus, Body: marked(t, "c")}, "")
				require.NoError(t, err)
			}
			time.Sleep(time.Second)
			require.ElementsMatch(t, []string{"a", "b"}, got.IDs())
			require.NoError(t, r.stop())
			stats := r.Stats()
			require.GreaterOrEqual(t, stats.Unhandled, uint64(2))
			require.EqualValues(t, 2, stats.Types[message.TypeProcessingStatus].Received)
			require.Positive(t, log.Count("message of another channel's type not handled"))
		})
	}
}

// A copy that came another way settles an entry of the stream only if it held
// the same: else whoever may publish could take away what is to come.
func TestDurable_anEntryIsSettledByTheSameBytesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, client := bubbleBox(t)
		type seen struct{ id, status string }
		var got []seen
		r, _ := member(t, b.options(), inGroup(), func(_ context.Context, e *message.Envelope) error {
			m, err := message.As[message.ProcessingStatus](e)
			got = append(got, seen{e.ID, m.Payload.Status})
			return err
		})
		time.Sleep(time.Second)
		forged := encode(t, message.Header{ID: numberedID(1), Source: "test"}, message.ProcessingStatus{Status: "forged"})
		b.Publish(statusChannel, string(forged))
		synctest.Wait()
		appendAll(t, client, 1, 1, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []seen{{numberedID(1), "forged"}, {numberedID(1), message.StatusStarted}}, got)

		// The same by HTTP, with and without a mark, and by pub/sub.
		plain := message.Outgoing{Body: marked(t, numberedID(2))}
		_, err := r.Dispatch(t.Context(), statusChannel, plain.WithAfter("0-1").Body)
		require.NoError(t, err)
		appendEntry(t, client, plain.WithStream().Body, numberedID(2))
		plain = message.Outgoing{Body: marked(t, numberedID(3))}.WithoutStream()
		b.Publish(statusChannel, string(plain.Body))
		synctest.Wait()
		appendEntry(t, client, plain.WithStream().Body, numberedID(3))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, got, 4, "each once")
		require.NoError(t, r.stop())
		require.Zero(t, pending(t, client))
	})
}

func appendEntry(t *testing.T, client *redis.Client, body []byte, id string) {
	t.Helper()
	w, err := durable.NewWriter(client, durable.WriterOptions{})
	require.NoError(t, err)
	_, err = w.Append(t.Context(), statusChannel, message.Outgoing{ID: id, Type: message.TypeProcessingStatus, Body: body}, "")
	require.NoError(t, err)
}

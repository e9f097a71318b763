package subscriber_test

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestSubscriber_format_showsNoPassword(t *testing.T) {
	t.Parallel()
	s, err := subscriber.New(connect(t, &redis.Options{Addr: "192.0.2.7:6379", Password: logcheck.Password}), subscriber.Options{Logger: logcheck.New(t)})
	require.NoError(t, err)
	logcheck.CleanValue(t, "the subscriber", s)
	logcheck.CleanValue(t, "the subscriber inside of another value", struct{ S *subscriber.Subscriber }{s})
}

// What comes over a garbled line may be a message: neither the log nor the
// status quotes it.
func TestSession_garbledAnswers_areNotQuoted(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"unknown push":  "*2\r\n$17\r\nmarta@example.com\r\n$1\r\nx\r\n",
		"no reply":      "{\"epost\":\"marta@example.com\"}\r\n",
		"cut integer":   ":marta@example.com\r\n",
		"bulk too long": "$marta@example.com\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options := &redis.Options{Addr: "192.0.2.7:6379", Dialer: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						defer far.Close()
						buffer := make([]byte, 4096)
						for {
							if _, err := far.Read(buffer); err != nil {
								return
							}
							if _, err := far.Write([]byte(answer)); err != nil {
								return
							}
						}
					}()
					return near, nil
				}}
				logger, log := logcheck.NewLog(t)
				s, err := subscriber.New(connect(t, options), subscriber.Options{Logger: logger})
				require.NoError(t, err)
				s.Handle(message.TypeProcessingStatus, func(context.Context, *message.Envelope) error { return nil })
				r := start(t, s)
				synctest.Wait()
				status, err := json.Marshal(s.Status())
				require.NoError(t, err)
				logcheck.Clean(t, "status", string(status))
				require.NoError(t, r.stop())
				require.Positive(t, log.Count("subscribing failed and will be tried again"))
			})
		})
	}
}

package fogispubsub_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/redis/go-redis/v9"
)

// Whatever the silent Redis and its receiver do, a Publish with default settings
// ends within 10 s, and no route has the message.
func TestPublish_bothDown_withDefaultsEndsWithin10s(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"the receiver hangs": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"it asks to wait for a minute": func(r *http.Request) (*http.Response, error) {
			return httpAnswer(r, http.StatusServiceUnavailable, http.Header{"Retry-After": {"60"}}), nil
		},
		"it asks to wait for a second, each time": func(r *http.Request) (*http.Response, error) {
			return httpAnswer(r, http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}), nil
		},
		"it answers slowly that it is broken": func(r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(2 * time.Second):
				return httpAnswer(r, http.StatusInternalServerError, nil), nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				logger := logcheck.New(t)
				fallback, err := httpfallback.New("http://192.0.2.8:5003/manual-sync", httpfallback.Options{
					Token: config.NewSecret(fallbackToken), Logger: logger, Transport: answering(answer),
				})
				require.NoError(t, err)
				conn := redis.NewClient(&redis.Options{
					Addr: "192.0.2.7:6379", MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1,
					Dialer: func(context.Context, string, string) (net.Conn, error) {
						here, there := net.Pipe()
						go func() { _, _ = io.Copy(io.Discard, there) }()
						return here, nil
					},
				})
				defer conn.Close()
				p, err := publisher.New(conn, publisher.Options{Fallback: fallback, Logger: logger})
				require.NoError(t, err)
				for range 2 { // with the breaker open, too
					began := time.Now()
					_, err = p.Publish(t.Context(), snapshot(t, 6200001, 3))
					var failed *publisher.Error
					require.ErrorAs(t, err, &failed)
					require.NotEmpty(t, failed.Redis)
					require.Error(t, failed.Fallback)
					require.NotErrorIs(t, err, message.ErrRefused)
					require.LessOrEqual(t, time.Since(began), 10*time.Second)
				}
			})
		})
	}
}

type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return a(r)
}

func httpAnswer(r *http.Request, code int, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, Request: r,
	}
}

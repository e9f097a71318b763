package fogispubsub_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"testing"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/health"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/pubsubtest"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// fromPython holds the Go lines of docs/from-python.md so that they compile. It
// is never called.
func fromPython(ctx context.Context, t *testing.T, mux *http.ServeMux, url, channel string, data []byte, matches []message.Match,
	sync, handle func(context.Context, message.Message[message.MatchUpdates]) error,
	fetchMatches func(context.Context) (message.MatchUpdates, error)) {
	client, err := fogispubsub.FromEnv(fogispubsub.Options{})
	_ = err
	fogispubsub.On(client, sync)
	handler, err := client.FallbackHandler()
	_ = err
	client.Run(ctx)
	fogispubsub.New(config.Config{Redis: config.Redis{URL: config.NewURL(url)}}, fogispubsub.Options{})
	admin, err := client.AdminHandler(httpadmin.Options{})
	_ = err
	admin.Mount(mux, "")
	_ = handler
	_ = client.Status().State != subscriber.StateDisabled
	client.Status()
	_ = client.Status().State
	_ = client.Stats().Subscriber
	client.Restart(ctx)
	cfg, err := config.FromEnv(os.Getenv)
	_ = err
	cfg.Validate()
	_ = (*config.Error)(nil)
	_ = config.Config{Channels: config.Channels{MatchUpdates: "custom:matches"}}
	result, err := client.Dispatch(ctx, channel, data)
	_ = err == nil
	_ = result.Matches
	_ = err
	health.RoundTrip(ctx, client.Redis())
	_ = fogispubsub.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	fogispubsub.FromEnv(fogispubsub.Options{Subscriber: subscriber.Options{Poll: subscriber.PollOptions{Source: fetchMatches}}})
	client.Publish(ctx, message.MatchUpdates{Matches: matches})
	fogispubsub.On(client, handle)
	pubsubtest.StartRedis(t)
	pubsubtest.NewRecorder[message.MatchUpdates](t)
}

var _ = fromPython

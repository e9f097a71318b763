package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// browser is a page in a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		realredis.Missing(t, "no chromium on PATH")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.NoSandbox)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, close := chromedp.NewContext(ctx)
	allocator := chromedp.FromContext(ctx).Allocator
	t.Cleanup(func() {
		close()
		stop()
		allocator.Wait() // it removes the browser's folder, as far as the browser's last processes let it
	})
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b := &browser{t, ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page's script failed: %v", e.ExceptionDetails)
		}
	})
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

// text is what an element shows.
func (b *browser) text(selector string) (text string) {
	b.t.Helper()
	b.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

// shows waits until an element shows a text.
func (b *browser) shows(selector, text string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(b.text(selector), text); time.Sleep(50 * time.Millisecond) {
		require.True(b.t, time.Now().Before(deadline), "%s shows %q, not %q", selector, b.text(selector), text)
	}
}

func (b *browser) screenshot(name string) {
	b.t.Helper()
	var picture []byte
	b.do(chromedp.FullScreenshot(&picture, 100))
	require.NoError(b.t, os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), picture, 0o600))
}

// The page shows an outage as it happens, and the recovery, without reload. It
// works by keyboard, and fits a telephone. The screenshots are kept by go test
// -artifacts.
func TestDashboard(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	redis := realredis.Start(t)
	p, url := serving(t, map[string]string{"REDIS_URL": redis.URL(), "FOGIS_FALLBACK_TOKEN": token})
	p.saw("subscribed")
	conn := redis.Client(t)
	for range 7 {
		require.NoError(t, conn.Publish(t.Context(), message.ChannelMatchUpdates, `{"type":"match_updates","payload":{"matches":[]}}`).Err())
	}
	require.NoError(t, conn.Publish(t.Context(), message.ChannelProcessingStatus, `{"type":"processing_status","source":"match-list-processor","payload":{"status":"completed","matches_processed":12}}`).Err())
	require.NoError(t, conn.Publish(t.Context(), message.ChannelSystemAlerts, `{"type":"system_alert","source":"match-list-processor","payload":{"alert_type":"processing_failure","severity":"high","message":"x"}}`).Err())

	b.do(chromedp.EmulateViewport(1200, 900), chromedp.Navigate(strings.TrimSuffix(url, manualSyncPath)+dashboardPath), chromedp.Evaluate(`window.loadedOnce = true`, nil))
	b.shows("#state", "connected")
	b.shows("#subscriptions", message.ChannelMatchUpdates)
	b.shows("#messages", "processing_failure")
	b.shows("#messages", "12 matches")
	b.shows("#rate", "this minute 9")
	b.shows("#health", "Health: healthy, Redis pub/sub available")
	b.screenshot("connected")

	redis.Stop()
	b.shows("#state", "degraded")
	b.shows("#gaps", "going on")
	b.shows("#subscriptions", "none")
	b.shows("#health", "Health: unhealthy, Redis unavailable")
	b.screenshot("outage")

	redis.Restart()
	b.shows("#state", "connected")
	b.shows("#gaps", "connection lost")
	require.NotContains(t, b.text("#gaps"), "going on")
	b.shows("#health", "Health: healthy, Redis pub/sub available")

	// By keyboard alone.
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(token), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.shows("#result", `"overall_success": true`)
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.shows("#result", "Redis subscription restarted")
	b.shows("#gaps", "restart")

	b.do(chromedp.EmulateViewport(360, 740), chromedp.ActionFunc(func(ctx context.Context) error {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}).Do(ctx)
	}))
	var wide, loadedOnce bool
	var background string
	b.do(chromedp.Evaluate(`document.documentElement.scrollWidth > 360`, &wide), chromedp.Evaluate(`window.loadedOnce === true`, &loadedOnce),
		chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &background))
	require.False(t, wide, "nothing is cut off")
	require.True(t, loadedOnce, "it was never reloaded")
	require.Equal(t, "rgb(18, 22, 28)", background)
	b.screenshot("telephone-dark")
	require.Equal(t, exitDone, p.stop(), p.stderr)
	b.shows("#state", "no answer from this service")
}

// What waits in the streams is on the page of a durable service.
func TestDashboard_streams(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	redis := realredis.Start(t)
	env := map[string]string{"REDIS_URL": redis.URL(), "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "calendar"}
	client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: func(name string) string { return env[name] }, Logger: logcheck.New(t)})
	require.NoError(t, err)
	fogispubsub.On(client, func(context.Context, message.Message[message.MatchUpdates]) error {
		return subscriber.Permanent(errors.New("no calendar"))
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	require.NoError(t, client.Subscribed(t.Context()))
	_, err = client.Publish(t.Context(), message.MatchUpdates{})
	require.NoError(t, err)
	admin, err := client.AdminHandler(httpadmin.Options{AllowUnauthenticated: true})
	require.NoError(t, err)
	mux := http.NewServeMux()
	admin.Mount(mux, "/calendar")
	web := httptest.NewServer(mux)

	b.do(chromedp.Navigate(web.URL + "/calendar" + dashboardPath))
	b.shows("#streams", message.ChannelMatchUpdates+": dead letters\n1")
	b.shows("#streams", message.ChannelMatchUpdates+": calendar lag / pending\n0 / 0")
	b.shows("#findings", "dead letters of")
	b.shows("#counters", "dead letters made\n1")
	b.screenshot("streams")
	cancel()
	require.NoError(t, <-ended)
	web.Close()
	require.NoError(t, client.Close())
}

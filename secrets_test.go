package fogispubsub_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/httpadmin"
	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
)

// Every value that can hold a password or a token, of every package: printed
// with each of fmt's verbs, by itself and in somebody's unexported field, by
// encoding/json and by slog, it shows none.
func TestSecrets_noPrintedFormShowsOne(t *testing.T) {
	t.Parallel()
	token := config.NewSecret(secret)
	redis, web := config.NewURL("redis://u:"+secret+"@127.0.0.1:1?db=1"), config.NewURL("http://127.0.0.1:2/manual-sync?key="+secret)
	cfg := config.Config{Redis: config.Redis{URL: redis}, Fallback: config.Fallback{URL: web, Token: token}}
	endpoint, err := config.Redis{URL: config.NewURL("redis+sentinel://u:" + secret + "@h/main?sentinel_password=" + secret)}.Endpoint()
	require.NoError(t, err)
	client, err := fogispubsub.New(cfg, fogispubsub.Options{Logger: logcheck.New(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	basic, err := httpfallback.New("http://u:"+secret+"@h/", httpfallback.Options{Logger: logcheck.New(t)})
	require.NoError(t, err)
	receiver, err := client.FallbackHandler()
	require.NoError(t, err)
	admin, err := client.AdminHandler(httpadmin.Options{})
	require.NoError(t, err)

	type holder struct{ value any }
	for _, value := range []any{
		token, redis, cfg, &cfg, cfg.Redis, cfg.Fallback, endpoint, &endpoint,
		httpfallback.Options{Token: token}, &httpfallback.Options{Token: token}, client.Fallback(), basic,
		httpfallback.HandlerOptions{Token: token}, receiver,
		httpadmin.Options{Config: cfg, Token: token}, admin,
		client, struct{ Client *fogispubsub.Client }{client},
		struct{ options httpfallback.Options }{httpfallback.Options{Token: token}},
		struct{ options httpfallback.HandlerOptions }{httpfallback.HandlerOptions{Token: token}},
		struct{ options httpadmin.Options }{httpadmin.Options{Config: cfg, Token: token}},
		struct{ settings config.Config }{cfg},
	} {
		for _, value := range []any{value, holder{value}} {
			label := fmt.Sprintf("%T", value)
			for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %e %f %t %U %T %p") {
				shown := fmt.Sprintf(verb, value)
				logcheck.Clean(t, label+" as "+verb, shown)
				require.NotContains(t, strings.ToLower(shown), hex.EncodeToString([]byte(secret)), "%s as %s", label, verb)
			}
			if text, err := json.Marshal(value); err == nil {
				logcheck.Clean(t, label+" as JSON", string(text))
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
			logcheck.Clean(t, label+" in a log", log.String())
		}
	}
	require.Implements(t, (*http.Handler)(nil), admin)
}

// No exported field takes a password or a token as a plain text.
func TestSecrets_haveOneType(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("docs/api/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	plain := regexp.MustCompile(`(?i)^\s*\w*(?:token|password|secret)\w*\s+(?:\*?string|\[\]byte)\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			require.False(t, plain.MatchString(line), "%s: %s", file, line)
		}
	}
}

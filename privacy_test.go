package fogispubsub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// stray gets what is logged past every logger of a test: by go-redis, which
// has one logger for the process, and by slog's default.
var stray strayLog

type strayLog struct {
	mu    sync.Mutex
	text  strings.Builder
	dials atomic.Int64 // that go-redis says have failed
}

func (s *strayLog) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// Printf is go-redis's logger. It prints each dial that fails, and an outage
// would fill the log with that, unless the dialer is ours. Its Sentinel client
// prints besides what it asks for and finds.
func (s *strayLog) Printf(_ context.Context, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if strings.Contains(line, "failed to dial") {
		s.dials.Add(1)
	}
	fmt.Fprintln(s, line)
}

func TestMain(m *testing.M) {
	redis.SetLogger(&stray)
	slog.SetDefault(slog.New(slog.NewJSONHandler(&stray, &slog.HandlerOptions{Level: slog.LevelDebug})))
	code := m.Run()
	if found := logcheck.Find(stray.text.String()); len(found) > 0 {
		fmt.Printf("what was logged past the tests' loggers shows %q:\n%s", found, stray.text.String())
		code = 1
	}
	if n := stray.dials.Load(); n > 0 {
		fmt.Printf("go-redis printed %d dials that failed:\n%s", n, stray.text.String())
		code = 1
	}
	os.Exit(code)
}

// clean searches a value in every form in which a service may print it.
func clean(t *testing.T, label string, v any) {
	t.Helper()
	logcheck.CleanValue(t, label, v)
	if text, err := json.Marshal(v); err == nil {
		logcheck.Clean(t, label+" as JSON", string(text))
	}
	logged(t, v)
	if err, ok := v.(error); ok {
		cleanCauses(t, label, err)
	}
}

// logged logs a value, which is searched when the test ends.
func logged(t *testing.T, v any) { logcheck.New(t).Info("value", "value", v) }

// cleanCauses searches each error of the tree, because errors.As hands them
// out and services log them.
func cleanCauses(t *testing.T, label string, err error) {
	t.Helper()
	logcheck.Clean(t, label, err.Error())
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			cleanCauses(t, label, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			cleanCauses(t, label, inner)
		}
	}
}

// Texts that stand for persons and secrets wherever a message, a peer or a
// setting can carry text.
const (
	telephone = "070-174 06 10"
	email     = "marta@example.com"
	secret    = logcheck.Password
)

// marked is the full match, which holds all kinds, more than once.
func marked(t *testing.T) message.MatchUpdates {
	t.Helper()
	raw, err := message.ParseMatch(fixture(t, "fogis"))
	require.NoError(t, err)
	return message.MatchUpdates{
		Matches: []message.Match{raw, snapshot(t, 6200002, 1).Matches[0]},
		Changes: []message.Change{{
			MatchID: raw.ID, Category: message.CategoryRefereeChange, Field: "domaruppdraglista",
			From: json.RawMessage(`[{"namn":"` + telephone + `"}]`), To: json.RawMessage(`"` + email + `"`),
			Description: "Referees changed to " + email,
		}},
		Metadata: map[string]json.RawMessage{"kontakt": json.RawMessage(`"` + email + " " + telephone + `"`)},
	}
}

// markedEnvironment reaches Redis and a fallback with passwords everywhere.
func markedEnvironment(redisAddr, fallbackAddr string) environment {
	return environment{
		"REDIS_URL":                "redis://fogis:" + secret + "@" + redisAddr + "/0",
		"FOGIS_FALLBACK_URL":       "http://fogis:" + secret + "@" + fallbackAddr + "/manual-sync?key=" + secret,
		"REDIS_CONNECTION_TIMEOUT": "300ms", "REDIS_RETRY_DELAY": "10ms", "REDIS_MAX_RETRIES": "1", "FOGIS_FALLBACK_TIMEOUT": "300ms",
	}
}

// cleanClient searches all that a client tells about itself.
func cleanClient(t *testing.T, client *fogispubsub.Client) {
	t.Helper()
	clean(t, "the stats", client.Stats())
	clean(t, "the status", client.Status())
	logcheck.CleanValue(t, "the client", client)
	if client.Fallback() != nil {
		logcheck.CleanValue(t, "the fallback", client.Fallback())
	}
}

// publishMarked sends personal data and searches what comes back.
func publishMarked(t *testing.T, ctx context.Context, client *fogispubsub.Client, label string) error {
	t.Helper()
	receipt, err := client.Publish(ctx, marked(t))
	clean(t, label+": the receipt", receipt)
	if err != nil {
		clean(t, label+": the error", err)
	}
	cleanClient(t, client)
	return err
}

func TestPrivacy_publishFails(t *testing.T) {
	t.Parallel()
	talkative := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Location", "http://fogis:"+secret+"@127.0.0.1:1/"+email)
			w.Header().Set("X-Contact", email)
			w.Header().Set("Retry-After", header)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	quote := `{"success":false,"error":"KeyError: ` + email + `, ` + telephone + `","timestamp":"Påhittsvägen 3"}`
	for _, row := range []struct {
		name     string
		fallback http.Handler
	}{
		{"400", talkative(400, "", quote)},
		{"401", talkative(401, "", quote)},
		{"404", talkative(404, "", "<html>"+email+"</html>")},
		{"405", talkative(405, "", quote)},
		{"413", talkative(413, "", quote)},
		{"422", talkative(422, "", quote)},
		{"307", talkative(307, "", quote)},
		{"500", talkative(500, "3600", quote)},
		{"503", talkative(503, email, quote)},
		{"200, and no success", talkative(200, "", quote)},
		{"200, and no JSON", talkative(200, "", email)},
		{"no HTTP", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, email+" "+telephone+"\r\n\r\n")
				_ = conn.Close()
			}
		})},
		{"a bad header", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+email+" "+telephone+"\r\n\r\n")
				_ = conn.Close()
			}
		})},
		{"silence", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, row.fallback)
			env := markedEnvironment(faultnet.Reserve(t), server.Listener.Addr().String())
			client := newClient(t, env, fogispubsub.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			require.Error(t, publishMarked(t, ctx, client, row.name))
		})
	}
}

// What a Redis says that refuses, and one that repeats what it was sent.
func TestPrivacy_redisRefuses(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"wrong password":  {"--requirepass", "another"},
		"no PUBLISH":      {"--rename-command", "PUBLISH", ""},
		"too large":       {"--proto-max-bulk-len", "1mb", "--client-query-buffer-limit", "1mb"},
		"too few clients": {"--maxclients", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := realredis.Start(t, args...)
			env := markedEnvironment(server.Addr(), faultnet.Reserve(t))
			env["REDIS_URL"] = "redis://" + server.Addr()
			if name == "wrong password" {
				env["REDIS_URL"] = "redis://:" + secret + "@" + server.Addr()
			}
			client := newClient(t, env, fogispubsub.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			if name == "too few clients" {
				conn, err := net.Dial("tcp", server.Addr())
				require.NoError(t, err)
				defer conn.Close()
				_, err = io.WriteString(conn, "PING\r\n")
				require.NoError(t, err)
				_, err = io.ReadFull(conn, make([]byte, 7))
				require.NoError(t, err)
			}
			u := marked(t)
			if name == "too large" {
				u.Metadata["long"] = json.RawMessage(`"` + strings.Repeat(email+" ", 200_000) + `"`)
			}
			receipt, err := client.Publish(ctx, u)
			require.Error(t, err)
			clean(t, "the receipt", receipt)
			clean(t, "the error", err)
			cleanClient(t, client)
		})
	}
	for name, answer := range map[string]string{
		"an error that quotes":    "-ERR unknown command `PUBLISH`, with args beginning with: `fogis:matches:updates` `" + email + "` \r\n",
		"no protocol":             email + " " + telephone + "\r\n",
		"another kind of answer":  "$17\r\n" + email + "\r\n",
		"a map instead of a word": "*2\r\n$17\r\n" + email + "\r\n$13\r\n" + telephone + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Close() })
			go answerAll(listener, answer)
			client := newClient(t, markedEnvironment(listener.Addr().String(), faultnet.Reserve(t)), fogispubsub.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.Error(t, publishMarked(t, ctx, client, name))
		})
	}
}

// answerAll gives the same answer to whatever comes over each connection.
func answerAll(listener net.Listener, answer string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buffer := make([]byte, 64<<10)
			for {
				if _, err := conn.Read(buffer); err != nil {
					return
				}
				if _, err := io.WriteString(conn, answer); err != nil {
					return
				}
			}
		}()
	}
}

func TestPrivacy_invalidToSend(t *testing.T) {
	t.Parallel()
	client := newClient(t, markedEnvironment(faultnet.Reserve(t), faultnet.Reserve(t)), fogispubsub.Options{})
	raw := func(text string) message.Payload {
		return message.MatchUpdates{Matches: []message.Match{{Raw: json.RawMessage(text)}}}
	}
	details := map[string]json.RawMessage{email: json.RawMessage(`"` + telephone)}
	for name, p := range map[string]message.Payload{
		"no object":         raw(`"` + email + `"`),
		"no ID":             raw(`{"epostadress":"` + email + `"}`),
		"no JSON":           raw(`{"matchid":1,"mobiltelefon":"` + telephone + `" ` + email + `}`),
		"no end":            raw(`{"matchid":1,"mobiltelefon":"` + telephone),
		"no UTF-8":          raw(`{"matchid":1,"adress":"Påhittsvägen ` + "\xff" + `3"}`),
		"NaN":               raw(`{"matchid":1,"adress":"` + email + `","x":NaN}`),
		"two values":        raw(`{"matchid":1} "` + email + `"`),
		"name, no UTF-8":    message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(1), Officials: []message.Official{{Email: email, Name: "\xff" + telephone}}}}},
		"ID, no UTF-8":      message.MatchUpdates{Matches: []message.Match{{ID: message.MatchID{Text: email + "\xff", Quoted: true}}}},
		"no change":         message.MatchUpdates{Changes: []message.Change{{Raw: json.RawMessage(`"` + email + `"`)}}},
		"change to no JSON": message.MatchUpdates{Changes: []message.Change{{Field: "namn", From: json.RawMessage(email)}}},
		"metadata":          message.MatchUpdates{Metadata: details},
		"status":            message.ProcessingStatus{Details: map[string]json.RawMessage{"kontakt": json.RawMessage(`"` + email + `"`)}},
		"status, no UTF-8":  message.ProcessingStatus{Status: "started\xff", Details: map[string]json.RawMessage{"kontakt": json.RawMessage(`"` + email + `"`)}},
		"status details":    message.ProcessingStatus{Status: "started", Details: details},
		"alert":             message.SystemAlert{Message: email},
		"alert, no UTF-8":   message.SystemAlert{AlertType: "x", Message: telephone + "\xff"},
		"alert details":     message.SystemAlert{AlertType: "x", Details: details},
	} {
		receipt, err := client.Publish(t.Context(), p)
		require.ErrorIs(t, err, message.ErrInvalid, name)
		clean(t, name, err)
		clean(t, name, receipt)
		clean(t, name, p.Validate())
		logcheck.CleanValue(t, name, p)
	}
	cleanClient(t, client)
}

// invalidReceived are bodies that nobody can handle; many hold personal data

// where something else belongs.
// holder is what a careless handler fails with.
func (h holder) Error() string { return "cannot notify " + h.official.Email }

// withoutHandlers is the part of a handler's error that the SDK wrote: what

// the handler returned, or panicked with, is its own.
// publishOnly publishes while Redis refuses the client's password.
func TestPrivacy_settings(t *testing.T) {
	t.Parallel()
	variables := []string{
		"REDIS_PUBSUB_ENABLED", "REDIS_ENABLED", "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_CONNECTION_TIMEOUT",
		"REDIS_SOCKET_TIMEOUT", "REDIS_TIMEOUT", "REDIS_MAX_RETRIES", "REDIS_RETRY_DELAY", "REDIS_HEALTH_CHECK_INTERVAL",
		"REDIS_AUTO_RECONNECT", "REDIS_RETRY_ON_TIMEOUT", "REDIS_SUBSCRIPTION_TIMEOUT", "REDIS_DECODE_RESPONSES",
		"REDIS_MATCH_UPDATES_CHANNEL", "REDIS_PROCESSOR_STATUS_CHANNEL", "REDIS_SYSTEM_ALERTS_CHANNEL", "FOGIS_SERVICE_NAME",
		"FOGIS_FALLBACK_URL", "FOGIS_FALLBACK_TOKEN", "FOGIS_FALLBACK_BATCH_SIZE", "FOGIS_FALLBACK_TIMEOUT", "FOGIS_REQUIRE_RECEIVERS",
	}
	for _, value := range []string{
		secret + " " + secret, "{" + email + "}", "redis://:" + secret + "@", "redis://:" + secret + "@h:x/0", "://" + secret,
		"http://u:" + secret + "@h:port/%zz", "rediss://u:" + secret + "@h?" + secret + "=1", "redis://:%zz" + secret + "@h", secret + "\n", "http://u:" + secret + "@",
	} {
		for _, name := range variables {
			if name == "FOGIS_SERVICE_NAME" && strings.TrimSpace(value) == secret {
				continue // a bare word is a name, and a service's name is shown
			}
			_, err := fogispubsub.FromEnv(fogispubsub.Options{Logger: logcheck.New(t), Getenv: environment{name: value}.get})
			if err != nil {
				clean(t, name, err)
			}
		}
		everywhere := func(string) string { return value }
		_, err := fogispubsub.FromEnv(fogispubsub.Options{Logger: logcheck.New(t), Getenv: everywhere})
		require.Error(t, err, "%q", value)
		clean(t, "all variables", err)

		cfg := config.Config{
			Redis:    config.Redis{URL: config.NewURL(value)},
			Fallback: config.Fallback{URL: config.NewURL(value), Token: config.NewSecret(value + "\n")},
		}
		clean(t, "the settings", cfg)
		_, err = fogispubsub.New(cfg, fogispubsub.Options{Logger: logcheck.New(t)})
		require.Error(t, err)
		clean(t, "the settings' faults", err)
	}

	// Good settings are as silent, with every warning.
	env := markedEnvironment("127.0.0.1:1", "127.0.0.1:2")
	env["REDIS_SOCKET_TIMEOUT"], env["REDIS_MAX_RETRIES"], env["REDIS_DECODE_RESPONSES"] = "100", "50", "yes"
	cfg, err := config.FromEnv(env.get)
	require.NoError(t, err)
	clean(t, "the settings", cfg)
	require.NotEmpty(t, cfg.Warnings())
	clean(t, "their warnings", cfg.Warnings())
	endpoint, err := cfg.Redis.Endpoint()
	require.NoError(t, err)
	require.Equal(t, secret, endpoint.Password.Reveal(), "it is there, though not to be seen")
	clean(t, "the endpoint", endpoint)
	cleanClient(t, newClient(t, env, fogispubsub.Options{}))
}

func (e environment) get(name string) string { return e[name] }

// The search itself: what it lets pass it must not be blind to.
func TestPrivacy_theSearchFinds(t *testing.T) {
	t.Parallel()
	body, err := message.AppendEncode(nil, message.Header{}, marked(t))
	require.NoError(t, err)
	for _, text := range []string{string(body), fmt.Sprintf("%q", body), fmt.Sprintf("%v", errors.New(email)), "redis://:" + secret + "@h"} {
		require.NotEmpty(t, logcheck.Find(text))
	}
	var leak bytes.Buffer
	slog.New(slog.NewJSONHandler(&leak, nil)).Info("x", "matches", marked(t).Matches)
	require.NotEmpty(t, logcheck.Find(leak.String()), "JSON of a list of matches is not hidden; nothing may log one")
}

// silent are the test files that may build clients with another logger than
// logcheck's, and why.
var silent = map[string]string{
	"bench_test.go":        "a log that is searched weighs on what is measured",
	"example_test.go":      "examples have no test to search for",
	"readme_lines_test.go": "compiles the lines of docs/from-python.md and runs none",
}

// Everything that the tests log is searched only if they all use a logger
// that does.
func TestPrivacy_testsUseTheSearchedLogger(t *testing.T) {
	t.Parallel()
	builds := map[string][]string{} // folders with tests that build a part, and the files
	searched := map[string]bool{}   // folders whose tests use logcheck
	for _, file := range goFiles(t) {
		folder := filepath.Dir(file)
		if !strings.HasSuffix(file, "_test.go") || folder == filepath.Join("internal", "logcheck") {
			continue
		}
		if _, excused := silent[filepath.Base(file)]; excused || folder == filepath.Join("internal", "bench") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		var constructs, other bool
		ast.Inspect(parsed, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch pkg.Name + "." + selector.Sel.Name {
			case "fogispubsub.New", "fogispubsub.FromEnv", "publisher.New", "subscriber.New", "httpfallback.New", "httpfallback.Handler":
				constructs = true
			case "slog.New", "slog.Default", "slog.DiscardHandler":
				other = true
			case "logcheck.New", "logcheck.NewLog":
				searched[folder] = true
			case "logcheck.Clean": // of processes, whose logs are files
				searched[folder] = searched[folder] || folder == filepath.Join("internal", "faults")
			}
			return true
		})
		if constructs {
			builds[folder] = append(builds[folder], file)
			// These search what they log themselves.
			if other && folder != filepath.Join("internal", "faults") && !slices.Contains([]string{"privacy_test.go", "secrets_test.go"}, filepath.Base(file)) {
				t.Errorf("%s builds a client and has a logger that is not searched: use logcheck.New(t)", file)
			}
		}
	}
	require.NotEmpty(t, builds)
	for folder, files := range builds {
		require.True(t, searched[folder], "%s: its tests build clients, none with logcheck's logger: %v", folder, files)
	}
}

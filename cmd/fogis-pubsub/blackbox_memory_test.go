package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// mostMemory is what a receiving process may ever have, in MB. A view may take 10
// times the bytes of its message, and the heap double before garbage is collected.
const mostMemory = 180

// peak is the most memory that the process has had, in MB.
func (b *box) peak() (mb int) {
	b.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	require.NoError(b.tb, err)
	_, text, found := bytes.Cut(text, []byte("VmHWM:"))
	require.True(b.tb, found)
	var kb int
	_, err = fmt.Sscan(string(text), &kb)
	require.NoError(b.tb, err)
	return kb / 1024
}

// arrives waits for a line on standard output that contains text, and calls again
// for each second without a line.
func (b *box) arrives(text string, again func()) {
	b.tb.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case line, ok := <-b.stdout.lines:
			require.True(b.tb, ok, "ended without %s; stderr: %s", text, b.stderr)
			if strings.Contains(line, text) {
				return
			}
		case <-time.After(time.Second):
			again()
		}
	}
	require.FailNow(b.tb, "no line that contains "+text, "stderr: %s", b.stderr)
}

// dense are messages of the largest size with the most elements in it.
func dense() map[string]outgoing {
	const size = message.DefaultMaxBytes - 1000
	list := func(element string) string {
		return strings.TrimSuffix(strings.Repeat(element+",", size/(len(element)+1)), ",")
	}
	keys := func() string {
		var b strings.Builder
		for n := 0; b.Len() < size-20; n++ {
			fmt.Fprintf(&b, `"%x":0,`, n)
		}
		return b.String() + `"z":0`
	}
	updates, status := message.TypeMatchUpdates, message.TypeProcessingStatus
	return map[string]outgoing{
		"officials":    {updates, `{"matches":[{"matchid":1,"domaruppdraglista":[` + list(`"a"`) + `]}]}`},
		"contacts":     {updates, `{"matches":[{"matchid":1,"kontaktpersoner":[` + list(`{"a":1}`) + `]}]}`},
		"names":        {updates, `{"matches":[{"matchid":1,"kontaktpersoner":[` + list(`{"namn":"a"}`) + `]}]}`},
		"stakeholders": {updates, `{"matches":[{"matchid":1}],"detailed_changes":[{"affected_stakeholders":[` + list(`"a"`) + `]}]}`},
		"matches":      {updates, `{"matches":[` + list(`{}`) + `]}`},
		"metadata":     {updates, `{"matches":[{"matchid":1}],"metadata":{` + keys() + `}}`},
		"details":      {status, `{"status":"completed","details":{` + keys() + `}}`},
	}
}

type outgoing struct {
	of      message.Type
	payload string
}

func (o outgoing) body(id string) []byte {
	return fmt.Appendf(nil, `{"message_id":%q,"timestamp":"2026-01-01T00:00:00Z","source":"processor","version":"1.0","type":%q,"payload":%s}`, id, o.of, o.payload)
}

// A valid message of the largest size costs a receiver little, however many
// elements it has, and what follows it arrives.
func TestBlackbox_denseMessage_costsLittle(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to read the memory of a process from")
	}
	t.Parallel()
	server := realredis.Start(t, "--save", "")
	conn := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true, ReadTimeout: patience, WriteTimeout: patience})
	t.Cleanup(func() { _ = conn.Close() })
	w, err := durable.NewWriter(conn, durable.WriterOptions{})
	require.NoError(t, err)
	channels := map[message.Type]string{message.TypeMatchUpdates: message.ChannelMatchUpdates, message.TypeProcessingStatus: message.ChannelProcessingStatus}

	env := map[string]string{"REDIS_URL": server.URL()}
	for name, heavy := range dense() {
		t.Run(name, func(t *testing.T) {
			plain := launch(t, "fogis-pubsub", env, "subscribe")
			reading := launch(t, "fogis-pubsub", env, "subscribe", "--durable", "--group", "calendar")
			serving := launch(t, "fogis-pubsub", map[string]string{"REDIS_PUBSUB_ENABLED": "false"}, "serve", "--addr", "127.0.0.1:0", "--allow-unauthenticated")
			_, url, _ := strings.Cut(serving.saw("listening on "), "listening on ")
			plain.saw("subscribed")
			reading.saw("subscribed")
			var channel string
			var newest []byte // the body that is sent last
			light := outgoing{heavy.of, `{"matches":[{"matchid":7}],"status":"completed","details":{}}`}
			for n, o := range []outgoing{heavy, light} {
				id := fmt.Sprint(name, n)
				body := o.body(id)
				require.LessOrEqual(t, len(body), message.DefaultMaxBytes)
				channel, newest = channels[o.of], body
				_, err = w.Append(t.Context(), channel, message.Outgoing{ID: id, Type: o.of, Body: body}, "")
				require.NoError(t, err)
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
				require.NoError(t, err)
				request.Header.Set("Content-Type", "application/vnd.fogis.envelope+json")
				resp, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
			for _, receiver := range []*box{plain, reading, serving} {
				receiver.arrives(`"message_id":"`+name+`1"`, func() {
					// Who listens without streams may be away while it comes back from
					// a heavy message.
					require.NoError(t, conn.Publish(t.Context(), channel, newest).Err())
				})
				t.Logf("%v: %d MB", receiver.cmd.Args[1:], receiver.peak())
				most := mostMemory
				if name == "officials" { // it is refused before it takes that
					most = 150
				}
				require.Less(t, receiver.peak(), most, receiver.cmd.Args)
				require.Equal(t, exitDone, receiver.stop(), receiver.stderr) // which gives the lease back
			}
		})
	}
}

package main

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// looks is how often anybody has asked a server for its listeners to match
// updates, which a publisher does before it repeats.
func looks(t *testing.T, server *realredis.Server) func() int {
	conn, err := net.Dial("tcp", server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte("MONITOR\r\n"))
	require.NoError(t, err)
	var n atomic.Int64
	go func() {
		lines := bufio.NewScanner(conn)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.Contains(strings.ToLower(lines.Text()), `"numsub" "`+message.ChannelMatchUpdates+`"`) {
				n.Add(1)
			}
		}
	}()
	return func() int { return int(n.Load()) }
}

// A new listener without streams gets the newest snapshot once, however many
// services run, and from nobody who only subscribes.
func TestBlackbox_repeat_comesOnceForANewListener(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	looked := looks(t, server)
	env := map[string]string{"REDIS_URL": server.URL(), "REDIS_DURABLE": "auto"}
	one := launch(t, "service", with(env, "FOGIS_SERVICE_NAME", "processor"), "-run")
	two := launch(t, "service", with(env, "FOGIS_SERVICE_NAME", "processor"), "-run")
	for _, group := range []string{"calendar", "sheets"} {
		only := launch(t, "fogis-pubsub", env, "subscribe", "--durable", "--group", group)
		only.saw("subscribed")
	}
	order(t, one, "publish 1")
	order(t, two, "publish 2")
	before := looked()
	eventually(t, "both publishers to look", func() bool { return looked() >= before+4 })

	listener := launch(t, "fogis-pubsub", env, "subscribe")
	listener.saw("subscribed")
	require.Equal(t, "2", numberOf(t, listener.line()))
	before = looked()
	eventually(t, "both publishers to look again", func() bool { return looked() >= before+6 })
	order(t, two, "publish 3")
	require.Equal(t, "3", numberOf(t, listener.line()), "nothing was repeated in between")
}

// What the publisher has sent by HTTP since is newer than what the stream holds.
// Nobody repeats that.
func TestBlackbox_repeat_isNeverOlderThanWhatWentByHTTP(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	way := faultnet.New(t, server.Addr())
	receiver := newReceiver(t, nil)
	env := map[string]string{"REDIS_URL": server.URL(), "REDIS_DURABLE": "auto"}
	only := launch(t, "fogis-pubsub", with(env, "REDIS_HEALTH_CHECK_INTERVAL", "1"), "subscribe", "--durable", "--group", "calendar")
	only.saw("subscribed")
	service := launch(t, "service", map[string]string{
		"REDIS_URL": "redis://" + way.Addr(), "REDIS_DURABLE": "auto", "FOGIS_SERVICE_NAME": "processor",
		"REDIS_MAX_RETRIES": "0", "FOGIS_FALLBACK_URL": receiver.URL + "/manual-sync",
	}, "-run")
	require.Equal(t, "stream", order(t, service, "publish 1")["Route"])
	require.Equal(t, "1", numberOf(t, only.line()))
	way.Refuse(true)
	way.Cut()
	require.Equal(t, "fallback", order(t, service, "publish 2")["Route"])
	require.Equal(t, []string{"2"}, receiver.took())

	listener := launch(t, "fogis-pubsub", env, "subscribe")
	listener.saw("subscribed")
	// The service is back and looks for listeners, some more than it had.
	looked := looks(t, server)
	way.Refuse(false)
	before := looked()
	eventually(t, "the publisher to look", func() bool { return looked() >= before+3 })
	publishes(t, with(env, "REDIS_DURABLE", "false"), 3)
	require.Equal(t, "3", numberOf(t, listener.line()), "snapshot 1 was not repeated")
}

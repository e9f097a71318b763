package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// long is a snapshot of more than so many bytes.
func long(home string, size int) message.MatchUpdates {
	u := update(home)
	u.Metadata = map[string]json.RawMessage{"long": json.RawMessage(`"` + strings.Repeat("x", size) + `"`)}
	return u
}

// asideOf returns the records that were set aside.
func asideOf(t testing.TB, box *outbox.File) (records []outbox.Record) {
	for r, err := range box.All() {
		require.NoError(t, err)
		if r.State == outbox.SetAside {
			records = append(records, r)
		}
	}
	return records
}

// A real server that refuses a message for its length: mostly go-redis sees only
// that the connection was reset, and for client-query-buffer-limit nothing else can
// be seen. The message is set aside, and the next one follows at once.
func TestPublisher_realRedis_messageTooLong(t *testing.T) {
	t.Parallel()
	for limit, args := range map[string][]string{
		"bulk":   {"--proto-max-bulk-len", "1mb"},
		"buffer": {"--client-query-buffer-limit", "1mb"},
	} {
		for mode, durable := range map[string]publisher.DurableOptions{"plain": {}, "durable": kept} {
			t.Run(limit+" "+mode, func(t *testing.T) {
				t.Parallel()
				s := realredis.Start(t, args...)
				got := listen(t, s.Addr(), message.ChannelMatchUpdates)
				fallback := &recorder{}
				answer := errors.New("503")
				fallback.take = func(context.Context) error { return answer }
				box := newOutbox(t)
				opts := publisher.Options{Durable: durable}
				p := newPublisher(t, newClient(t, s.Addr()), opts)
				refused := func(p *publisher.Publisher) *publisher.Error {
					_, err := p.Publish(t.Context(), long("long", 1200<<10))
					e := failure(t, err)
					require.ErrorIs(t, e, message.ErrTooLarge)
					require.ErrorContains(t, e, "proto-max-bulk-len")
					require.Equal(t, 1, e.Attempts)
					require.False(t, e.Unknown)
					require.False(t, p.Stats().BreakerOpen)
					return e
				}
				next := func(p *publisher.Publisher, name string) {
					receipt, err := p.Publish(t.Context(), update(name))
					require.NoError(t, err)
					require.True(t, receipt.Route.AtRedis())
					require.Equal(t, name, homeTeam(t, []byte(receive(t, got).Payload)))
				}
				require.False(t, refused(p).Aside)
				next(p, "1")

				// Another route may take it.
				opts.Fallback = fallback
				p = newPublisher(t, newClient(t, s.Addr()), opts)
				require.ErrorIs(t, refused(p).Fallback, answer)
				answer = nil
				receipt, err := p.Publish(t.Context(), long("posted", 1200<<10))
				require.NoError(t, err)
				require.Equal(t, publisher.RouteFallback, receipt.Route)
				next(p, "2")

				opts.Outbox, opts.Fallback = box, nil
				p = newPublisher(t, newClient(t, s.Addr()), opts)
				e := refused(p)
				require.True(t, e.Aside)
				require.Zero(t, box.Len())
				set := asideOf(t, box)
				require.Len(t, set, 1)
				require.Equal(t, e.ID, set[0].ID)
				require.Contains(t, set[0].Refused, "proto-max-bulk-len")
				next(p, "3")
				require.NoError(t, newClient(t, s.Addr()).ConfigSet(t.Context(), "proto-max-bulk-len", "512mb").Err())
				require.NoError(t, newClient(t, s.Addr()).ConfigSet(t.Context(), "client-query-buffer-limit", "1gb").Err())
				require.NoError(t, box.Requeue(message.TypeMatchUpdates, e.ID))
				defer run(t, p)()
				require.Eventually(t, func() bool { return box.Len() == 0 }, patience, 10*time.Millisecond)
				require.Equal(t, e.ID, parse(t, []byte(receive(t, got).Payload)).MessageID)
			})
		}
	}
}

// What Run finds in the outbox is set aside as what Publish brings.
func TestPublisher_Run_realRedis_messageTooLong(t *testing.T) {
	t.Parallel()
	for mode, durable := range map[string]publisher.DurableOptions{"plain": {}, "durable": kept} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := realredis.Start(t, "--proto-max-bulk-len", "1mb")
			got := listen(t, s.Addr(), message.ChannelMatchUpdates)
			box := newOutbox(t)
			require.NoError(t, box.Put(queued(t, "long", 1200<<10), ""))
			require.NoError(t, box.Put(queued(t, "short", 0), ""))
			p := newPublisher(t, newClient(t, s.Addr()), publisher.Options{Durable: durable, Outbox: box})
			defer run(t, p)()
			require.Equal(t, "short", homeTeam(t, []byte(receive(t, got).Payload)))
			require.Eventually(t, func() bool { return box.Len() == 0 }, patience, 10*time.Millisecond)
			require.Len(t, asideOf(t, box), 1)
			require.False(t, p.Stats().BreakerOpen)
			require.Equal(t, uint64(1), p.Stats().Aside)
		})
	}
}

// A message too long for Redis: what the fallback says decides, in every mode, and
// the message behind it goes to Redis at once. Nothing is asked twice.
func TestPublisher_outbox_messageTooLong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		fallback    bool
		answer      error
		plain, kept publisher.Route // "" is an error that says that it lies aside
		aside       map[bool]int    // by durable
		why         string
		asked       int // calls of the fallback
	}{
		{name: "no fallback", aside: map[bool]int{false: 1, true: 1}, why: "too large for this Redis server"},
		{name: "the fallback takes it", fallback: true, plain: publisher.RouteFallback, kept: publisher.RouteFallback,
			aside: map[bool]int{false: 0, true: 1}, why: "the fallback took it", asked: 1},
		{name: "the fallback fails", fallback: true, answer: errors.New("503"),
			aside: map[bool]int{false: 1, true: 1}, why: "fallback: 503", asked: 1},
		{name: "the fallback refuses it", fallback: true, answer: fmt.Errorf("413: %w", message.ErrRefused),
			aside: map[bool]int{false: 1, true: 1}, why: "fallback: 413", asked: 1},
	} {
		for _, durable := range []bool{false, true} {
			for _, queue := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s durable=%v queue=%v", c.name, durable, queue), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
						heard := k.listener(t)
						k.setLimit(1 << 20)
						fallback.take = func(context.Context) error { return c.answer }
						opts := publisher.Options{Outbox: box}
						if durable {
							opts.Durable = kept
						}
						if c.fallback {
							opts.Fallback = fallback
						}
						aside := c.aside[durable]
						if queue { // Run finds both
							require.NoError(t, box.Put(queued(t, "long", 1200<<10), ""))
							require.NoError(t, box.Put(queued(t, "1", 0), ""))
						}
						p := newPublisher(t, k.client(t), opts)
						if queue {
							stop := run(t, p)
							synctest.Wait()
							stop()
						} else {
							receipt, err := p.Publish(t.Context(), long("long", 1200<<10))
							route := c.plain
							if durable {
								route = c.kept
							}
							require.Equal(t, route, receipt.Route)
							if route == "" {
								e := failure(t, err)
								require.True(t, e.Aside)
								require.Equal(t, 1, e.Attempts)
								require.ErrorIs(t, e, message.ErrTooLarge)
							}
							receipt, err = p.Publish(t.Context(), update("1"))
							require.NoError(t, err)
							require.True(t, receipt.Route.AtRedis())
						}
						synctest.Wait()
						require.Zero(t, box.Len())
						require.Equal(t, names(1, 1), homeTeams(t, heard()))
						require.Len(t, fallback.at, c.asked)
						require.Len(t, asideOf(t, box), aside)
						require.Equal(t, uint64(aside), p.Stats().Aside)
						for _, r := range asideOf(t, box) {
							require.Contains(t, r.Refused, c.why)
						}
						require.False(t, p.Stats().BreakerOpen)
						require.Zero(t, p.Stats().UnknownOutcomes)
						time.Sleep(time.Hour)
						require.Len(t, fallback.at, c.asked)
					})
				})
			}
		}
	}
}

// A message that the fallback took during an outage and that the stream will never
// have is set aside, and is not posted again.
func TestPublisher_outbox_messageTooLong_wasPosted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, box, fallback := newKeeper(t), newOutbox(t), &recorder{}
		k.setLimit(1 << 20)
		k.setDown(true)
		p := newPublisher(t, k.client(t), publisher.Options{Outbox: box, Durable: kept, Fallback: fallback, RequireReceivers: -1})
		defer run(t, p)()
		for _, u := range []message.MatchUpdates{long("0", 1200<<10), update("1")} {
			receipt, err := p.Publish(t.Context(), u)
			require.NoError(t, err)
			require.Equal(t, publisher.FallbackAccepted, receipt.Fallback)
		}
		k.setDown(false)
		time.Sleep(time.Minute)
		require.Equal(t, names(1, 1), k.kept(t))
		require.Equal(t, names(0, 1), fallback.names(t))
		require.Len(t, asideOf(t, box), 1)
	})
}

// What is no proof that the length is the cause leaves the message waiting: it would
// lie aside though Redis takes it.
func TestPublisher_outbox_longMessage_passingTrouble(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(n int, args []string) string{
		"one connection ends": func(n int, args []string) string { return when(n == 1, cut) },
		"Redis dies":          func(n int, _ []string) string { return when(n <= 20, cut) },
		"Redis hangs":         func(n int, _ []string) string { return when(n <= 2, silence) },
		"every second ends":   func(n int, _ []string) string { return when(n%2 == 1 && n <= 5, cut) },
		"it is full":          func(n int, _ []string) string { return when(n <= 2, "-OOM command not allowed\r\n") },
		"it is forbidden":     func(n int, _ []string) string { return when(n <= 2, "-NOPERM no\r\n") },
		"it asks for a password": func(n int, _ []string) string {
			return when(n <= 2, "-ERR Protocol error: unauthenticated bulk length\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, box := newServer(), newOutbox(t)
				n := 0
				s.answer = func(args []string) string {
					if args[0] != "publish" && args[0] != "echo" {
						return ""
					}
					n++
					return answer(n, args)
				}
				p := newPublisher(t, s.client(t), publisher.Options{Outbox: box})
				defer run(t, p)()
				receipt, err := p.Publish(t.Context(), long("long", 1200<<10))
				require.NoError(t, err)
				require.NotEmpty(t, receipt.Route)
				time.Sleep(10 * time.Minute)
				require.Empty(t, asideOf(t, box))
				require.Zero(t, box.Len())
				require.NotEmpty(t, s.requests("publish"))
			})
		})
	}
}

// The answer itself is proof, when it is not lost.
func TestPublisher_outbox_longMessage_answerIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, box := newServer(), newOutbox(t)
		s.answer = onPublish("-ERR Protocol error: invalid bulk length\r\n")
		p := newPublisher(t, s.client(t), publisher.Options{Outbox: box})
		_, err := p.Publish(t.Context(), long("long", 1200<<10))
		e := failure(t, err)
		require.ErrorIs(t, e, message.ErrTooLarge)
		require.True(t, e.Aside)
		require.Len(t, s.requests("publish"), 1)
		require.Empty(t, s.requests("echo"))
	})
}

// A short message is never the cause, whatever the server says.
func TestPublisher_outbox_shortMessage_isNeverTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, box := newServer(), newOutbox(t)
		s.answer = onPublish("-ERR Protocol error: invalid bulk length\r\n")
		p := newPublisher(t, s.client(t), publisher.Options{Outbox: box})
		defer run(t, p)()
		_, err := p.Publish(t.Context(), update("1"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Zero(t, box.Len())
		require.Empty(t, asideOf(t, box))
		require.Empty(t, s.requests("echo"))
	})
}

func when(now bool, answer string) string {
	if now {
		return answer
	}
	return ""
}

func queued(t testing.TB, home string, size int) message.Outgoing {
	t.Helper()
	id := message.NewID()
	body, err := message.AppendEncode(nil, message.Header{ID: id, Source: "test", Timestamp: message.Timestamp{Time: time.Now()}}, long(home, size))
	require.NoError(t, err)
	return message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: body}
}

package bench_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

// reader is one side of receiving: what waits behind its gate is read when
// that opens.
type reader struct {
	gate  gate
	tally *tally
	feed  *feed
	// tail makes a message that is sent after those of a slice and counted in
	// their place; nil if all are counted.
	tail func() []byte
}

func newReader(t *testing.T, server *realredis.Server, channel string, encode func(*testing.T, uint64) []byte) *reader {
	t.Helper()
	r := &reader{tally: newTally(), feed: &feed{conn: newHand(t, handOptions(server)), channel: channel, encode: encode}}
	t.Cleanup(r.gate.open)
	return r
}

func (r *reader) contender() contender {
	return contender{
		prepare: func(t *testing.T, n int) {
			t.Helper()
			r.gate.shut()
			if r.tail == nil {
				r.tally.expect(n)
				r.feed.send(t, n)
				return
			}
			r.tally.expect(1)
			r.feed.send(t, n)
			require.NoError(t, r.feed.conn.Publish(t.Context(), r.feed.channel, r.tail()).Err())
		},
		work: func(t *testing.T, _ int) {
			t.Helper()
			r.gate.open()
			r.tally.wait(t)
		},
	}
}

// loop is the hand-written reader: it hands every message to handle until t
// ends.
func (r *reader) loop(t *testing.T, server *realredis.Server, handle func(body string) error) {
	t.Helper()
	options := handOptions(server)
	r.gate.guard(options)
	pubsub := newHand(t, options).Subscribe(t.Context(), r.feed.channel)
	_, err := pubsub.Receive(t.Context()) // the confirmation
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		for {
			m, err := pubsub.ReceiveMessage(context.Background())
			if err != nil { // closed
				ended <- nil
				return
			}
			if err := handle(m.Payload); err != nil {
				ended <- err
				return
			}
		}
	}()
	t.Cleanup(func() {
		r.gate.open()
		require.NoError(t, pubsub.Close())
		require.NoError(t, <-ended)
	})
}

// client is the SDK's reader: channel carries the type t.
func (r *reader) client(t *testing.T, server *realredis.Server, typ message.Type) *fogispubsub.Client {
	t.Helper()
	return newClient(t, server, fogispubsub.Options{
		Redis:      r.gate.guard,
		Subscriber: subscriber.Options{ChannelNames: map[message.Type]string{typ: r.feed.channel}},
	})
}

const (
	sdkChannel  = "bench:sdk"
	handChannel = "bench:hand"
)

// receive compares a typed handler with the hand-written reading of the same.
func receive[P message.Payload](t *testing.T, server *realredis.Server, p P, n, rounds int,
	read func(*digest, message.Message[P]) error, byHand func(*digest, string) error) *result {
	t.Helper()
	sdk := newReader(t, server, sdkChannel, encodes(p))
	var sdkDigest, handDigest digest
	client := sdk.client(t, server, p.MessageType())
	fogispubsub.On(client, func(_ context.Context, m message.Message[P]) error {
		err := read(&sdkDigest, m)
		sdk.tally.one()
		return err
	})
	run(t, client)

	hand := newReader(t, server, handChannel, encodes(p))
	hand.loop(t, server, func(body string) error {
		err := byHand(&handDigest, body)
		hand.tally.one()
		return err
	})

	r := compare(t, sdk.contender(), hand.contender(), n, rounds)
	require.Equal(t, handDigest, sdkDigest, "both sides read the same")
	stats := client.Stats().Subscriber
	require.EqualValues(t, sdk.feed.sent, stats.Received)
	require.Zero(t, stats.Failed+stats.Invalid+stats.Duplicates+stats.Gaps)
	return r
}

func receiveSnapshot(t *testing.T, server *realredis.Server) *result {
	read := func(d *digest, m message.Message[message.MatchUpdates]) error {
		d.snapshot(m)
		return nil
	}
	return receive(t, server, rawSnapshot(), slice(240, 5), 1, read, (*digest).snapshotByHand)
}

func receiveStatus(t *testing.T, server *realredis.Server) *result {
	return receive(t, server, status(), slice(30_000, 200), 1, (*digest).status, (*digest).statusByHand)
}

// unhandled compares what a type without handler costs with a loop that only
// receives. The payloads are no JSON, which who looks into them would count as
// invalid.
func unhandled(t *testing.T, server *realredis.Server, p message.Payload, n, rounds int) *result {
	t.Helper()
	opaque := func(t *testing.T, n uint64) []byte {
		t.Helper()
		body := encoded(t, p, n)
		at := bytes.Index(body, []byte(`"payload":{`))
		require.Positive(t, at)
		body[at+len(`"payload":`)] = '#'
		return body
	}
	sdk := newReader(t, server, sdkChannel, opaque)
	sdk.tail = func() []byte { return encoded(t, message.SystemAlert{AlertType: "end"}, 0) }
	client := sdk.client(t, server, message.TypeSystemAlert)
	fogispubsub.On(client, func(context.Context, message.Message[message.SystemAlert]) error {
		sdk.tally.one()
		return nil
	})
	run(t, client)

	hand := newReader(t, server, handChannel, opaque)
	received := 0
	hand.loop(t, server, func(body string) error {
		received += len(body)
		hand.tally.one()
		return nil
	})

	r := compare(t, sdk.contender(), hand.contender(), n, rounds)
	require.Positive(t, received)
	stats := client.Stats().Subscriber
	require.EqualValues(t, sdk.feed.sent, stats.Unhandled)
	require.Zero(t, stats.Failed+stats.Invalid+stats.Gaps)
	return r
}

func unhandledSnapshot(t *testing.T, server *realredis.Server) *result {
	return unhandled(t, server, rawSnapshot(), slice(240, 5), slice(5, 1))
}

func unhandledStatus(t *testing.T, server *realredis.Server) *result {
	return unhandled(t, server, status(), slice(30_000, 200), slice(2, 1))
}

package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
)

// A publisher repeats an append whose answer was lost; a lane handles what is
// there, in order.
func Example() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	conn := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer conn.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	const channel = "fogis:system:alerts"

	writer, err := durable.NewWriter(conn, durable.WriterOptions{})
	if err != nil {
		panic(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		m := message.Outgoing{ID: id, Type: message.TypeSystemAlert, Body: []byte(`{"message_id":"` + id + `"}`)}
		mark, err := writer.Mark(ctx, channel)
		if err != nil {
			panic(err)
		}
		_, err = writer.Append(ctx, channel, m, "")
		if failure, ok := errors.AsType[*durable.Error](err); ok && failure.Unknown {
			_, err = writer.Append(ctx, channel, m, mark)
		}
		if err != nil {
			panic(err)
		}
	}

	handle := func(_ context.Context, e durable.Entry) error {
		fmt.Println("handled", e.ID)
		if e.ID == "c" {
			stop()
		}
		return nil
	}
	reader, err := durable.NewReader(conn, channel, "calendar", durable.ReaderOptions{})
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		lease, err := reader.Acquire(ctx)
		if err != nil {
			break // ctx ended, or Redis refuses for good
		}
		err = lane(ctx, lease, handle)
		_ = lease.Release(context.WithoutCancel(ctx))
		fmt.Println("lane ended:", err)
	}
	// Output:
	// handled a
	// handled b
	// handled c
	// lane ended: context canceled
}

// lane handles entries until ctx ends or the lease is lost. What is in the
// handler when ctx ends is still settled.
func lane(ctx context.Context, lease *durable.Lease, handle func(context.Context, durable.Entry) error) error {
	for {
		batch, err := lease.Read(ctx)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if ctx.Err() != nil {
				return ctx.Err() // the rest is the next holder's
			}
			if e.Redelivered {
				if tries, err := lease.Try(lease.Context(), e); err != nil {
					return err
				} else if tries > durable.MaxTries {
					if err := lease.Bury(lease.Context(), e, durable.Failure{Err: errors.New("tried too often")}); err != nil {
						return err
					}
					continue
				}
			}
			if err := handle(lease.Context(), e); err != nil {
				err = lease.Bury(lease.Context(), e, durable.Failure{Err: err, Attempts: 1})
				if err != nil {
					return err
				}
				continue
			}
			if err := lease.Ack(lease.Context(), e); err != nil {
				return err
			}
		}
	}
}

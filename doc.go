// Package fogispubsub carries FOGIS match updates between services over Redis
// and, where Redis cannot, over HTTP. It loses no update without saying so.
//
// # Guarantees
//
// What a [Client] promises in plain mode, PUBLISH and SUBSCRIBE as the Python
// services use them (docs/guarantees.md has durable mode too):
//
//   - A match update that Redis did not take, or that fewer listeners heard
//     than [publisher.Options.RequireReceivers] asks for, goes to the HTTP
//     fallback. If nothing took it, Publish returns a [publisher.Error] that
//     names every route and why it failed.
//   - A subscriber hears a message at most once from Redis. Every message it
//     may have missed lies inside a [subscriber.Gap] given to OnGap, between
//     From and To, and is never just gone.
//   - A message handled successfully is not handled again when it comes a
//     second time, by Redis or by HTTP, within the window of
//     [subscriber.Options.DedupeIDs].
//   - Messages of one type reach their handler one after another, in the order
//     in which they were published.
//
// A listener that Redis still counts though nobody reads behind it can hide a
// loss from the publisher: the subscriber's side then reports the gap.
//
// # Use
//
// A publisher:
//
//	client, err := fogispubsub.FromEnv(fogispubsub.Options{})
//	…
//	receipt, err := client.Publish(ctx, message.MatchUpdates{Matches: matches})
//
// A subscriber registers handlers and runs until its context ends:
//
//	fogispubsub.On(client, func(ctx context.Context, m message.Message[message.MatchUpdates]) error {
//		return calendar.Sync(ctx, m.Payload.Matches)
//	})
//	err = client.Run(ctx)
//
// A handler that returns an error is called again, up to the retries of
// [subscriber.Options]; [subscriber.Permanent] stops that. A panic is recovered
// and counted.
//
// # Logs
//
// Everything is logged through [Options.Logger], without contents of messages,
// in a few lines for an outage however long. Behind Sentinel go-redis prints
// besides, by a global logger of its own that a library must not touch, each
// question for the master that fails; a program turns it off by calling Disable
// of github.com/redis/go-redis/v9/logging.
//
// # Map
//
// Package message holds the envelopes and payloads, publisher and subscriber
// the two halves, durable the streams, outbox the publisher's file, httpfallback
// the HTTP route and its receiving handler, config the settings, health the checks
// that an operator asks for, httpadmin the endpoints and the status page, devserver
// an embedded Redis for development, pubsubtest what a service's own tests need.
// This package wires them and holds no rules of its own.
package fogispubsub

// Package subscriber receives FOGIS messages over Redis pub/sub and hands each
// to the handler of its type.
//
// # Guarantees
//
// Redis pub/sub delivers at most once: what is published while a subscriber is
// away is gone. This package cannot bring it back, but it never hides it.
// Every interval in which a message can have been lost is reported as a [Gap];
// outside the gaps nothing was. The messages of one type reach their handler
// one after another, in the order in which Redis took them (see
// [Options.Concurrency]). A message that arrives twice, over whichever route,
// is handled once within a window (see [Options.DedupeIDs]).
//
// With [Options.Durable] the streams of the channels are read beside them: what
// was published while no subscriber ran is handled when one does, by one
// instance of a group at a time, at least once. See [DurableOptions].
//
// # How it works
//
// Each type with a handler has a session and a lane of its own. A session is
// one TCP connection, subscribed to the type's channel; when anything is wrong
// with it, it ends and a new one begins. It is up only when Redis has
// confirmed every channel on this very connection. PINGs with a read deadline
// find a dead connection, a message sent to itself ([Options.ProbeInterval])
// finds one that is alive but delivers nothing.
//
// A lane is a bounded queue in front of the handler. A full lane stops its
// session from reading and nothing is dropped; if that lasts, Redis closes the
// connection, and that is a reported gap.
//
//	conn := redis.NewClient(&redis.Options{Addr: "localhost:6379", MaxRetries: -1, ContextTimeoutEnabled: true})
//	s, err := subscriber.New(conn, subscriber.Options{})
//	subscriber.On(s, func(ctx context.Context, m message.Message[message.MatchUpdates]) error {
//		return calendar.Sync(ctx, m.Payload.Matches)
//	})
//	err = s.Run(ctx)
//
// # Callbacks
//
// A handler and Options.OnError run while their lane waits, the other callbacks
// while their session reads nothing. A panic in any of them is recovered. A
// handler may call Dispatch and Restart; a Dispatch to its own lane can only
// time out.
package subscriber

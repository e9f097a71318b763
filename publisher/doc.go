// Package publisher sends messages of the FOGIS services through Redis pub/sub
// and, when Redis did not take one, through a fallback.
//
// # What a publish promises
//
// One [Publisher.Publish] checks the message, encodes it once and then tries
// the routes one after another until one has it: Redis within one budget of
// time, then the [Fallback]. All attempts on all routes carry the same message
// ID. When no route took the message the error says so; nothing is lost in
// silence:
//
//   - [RoutePubSub]: Redis handed the message to [Receipt.Receivers] listeners.
//     That is not a receipt of theirs: a listener that Redis still counts may be
//     dead. For match updates fewer listeners than Options.RequireReceivers
//     count as not delivered, and the fallback is used.
//   - [RouteStream]: with Options.Durable, Redis keeps the message for readers to
//     come and has published it; see package durable for how long and how
//     safely. Too few listeners then send a copy to the fallback as well.
//   - [RouteFallback]: the receiver answered that it accepted all of it.
//   - [RouteOutbox]: with Options.Outbox, the message is on this computer's disk
//     and goes to Redis, or without streams to the fallback, in its turn: while
//     Run runs, or with the next Publish, also of a later process.
//   - [RouteNone]: publishing is disabled and there is no fallback.
//   - an [*Error]: no route took it. When [Error.Unknown] is set it may have
//     been delivered all the same, because an answer of Redis was lost.
//
// A message whose answer was lost is sent again, so a listener can get it
// twice, with the same ID; subscribers of this SDK handle it once. A stream gets
// it once all the same.
//
// # Order
//
// Messages of one type are sent one at a time, each after the one before has
// found its route, so that listeners get them in the order of the calls, also
// across a change of routes. Types do not wait for each other unless they share
// a channel.
package publisher

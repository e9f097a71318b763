// Package durable keeps the messages of a channel in a Redis stream beside the
// channel: they outlive the outages of their readers, and can be read again.
//
// A [Writer] appends and publishes in one transaction. A [Reader] reads for a
// group of instances under a [Lease], so that one instance of the group handles
// a channel at a time, in order; what it does not settle goes to the next
// holder. [Replay] reads without a group. [DeadLetters] holds what handlers
// could not handle.
//
// # What it promises
//
//   - What Append returned without error is in the stream until it is trimmed
//     by age, number or bytes, or Redis loses it: with appendfsync everysec a
//     server that dies loses up to a second, a failover what was not yet
//     replicated, an eviction or FLUSHALL everything.
//   - Each entry is given to a holder of the group's lease until one settles it
//     with Ack or Bury. It is given twice only when the first holder ended or
//     lost its lease, or when Redis lost what had been settled.
//   - Entries come in the order of the stream. A dead letter that is requeued
//     comes again, last.
//   - What was trimmed before it was read, and a stream that vanished, is
//     reported as a [Gap].
//
// It needs Redis 7 or newer, or Valkey 8, alone, behind Sentinel or as a
// Cluster, and runs on miniredis, which counts too little to tell of trimmed
// entries.
//
// # Keys
//
// For a channel C and a group G: the streams {C}:stream and {C}:dead, the
// string {C}:lease:G with the holder's token, the hash {C}:tries:G. The braces
// are part of the names. An entry has the fields id, type and data.
package durable

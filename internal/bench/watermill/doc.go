// Package watermill compares the SDK's durable consumer with that of
// watermill-redisstream on one redis-server. It is a module of its own, so that
// what watermill needs stays out of the SDK's. It consists of a test:
//
//	cd internal/bench/watermill && go test -count=1 -v -args -pairs=15
//
// Both read statuses from a stream in a group, each into a handler that does
// nothing, and acknowledge them. The clock runs until the group has nothing
// pending. Pairs are interleaved, as in package bench.
package watermill

package durable

import (
	"errors"
	"fmt"
	"strings"
)

// CheckChannel refuses a channel that cannot have a stream. The channel's name
// is the hash tag of its keys, so that Redis Cluster keeps them together, on
// the node that the channel's own name belongs to: it may hold no braces.
func CheckChannel(channel string) error {
	switch {
	case channel == "":
		return errors.New("durable: the channel has no name")
	case strings.ContainsAny(channel, "{}"):
		return fmt.Errorf("durable: channel %q: a name with { or } cannot tag the keys of a stream for Redis Cluster; choose another", channel)
	}
	return nil
}

// StreamKey is the key of a channel's stream.
func StreamKey(channel string) string { return "{" + channel + "}:stream" }

func deadKey(channel string) string         { return "{" + channel + "}:dead" }
func leaseKey(channel, group string) string { return "{" + channel + "}:lease:" + group }

// triesKey names a hash. By stream ID it has who tried an entry how often, and
// in these fields:
//
//   - handled: the newest entry that the group has handled
//   - settled: the newest one that it settled in another way
//   - lease: how long the holder's lease lasts
//   - released: the token of the last holder that gave its lease up in order
//   - purged: what [Purge] deleted unread
//   - counted: up to which entry the last holder counted, and how many had been
//     added up to there
func triesKey(channel, group string) string { return "{" + channel + "}:tries:" + group }

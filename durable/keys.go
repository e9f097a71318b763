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

// triesKey names a hash: by stream ID who tried an entry how often, in the field
// "handled" the newest entry that the group has handled, in "released" the token
// of the holder that last gave its lease up in order, in "settled" one settled after that in another way, in "lease" for how long it takes the lease, in "purged" what [Purge]
// took away unread.
func triesKey(channel, group string) string { return "{" + channel + "}:tries:" + group }

package durable

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Inspection is how a channel's stream stands.
type Inspection struct {
	Channel     string
	Length      int64     // entries retained
	Newest      time.Time // of the last entry, by the server's clock; zero when there is none
	DeadLetters int64     // of all groups
	Groups      []GroupInspection
}

// GroupInspection is how far a group has got.
type GroupInspection struct {
	Name    string
	Lag     int64 // entries that it has not read; -1 is not known
	Pending int64 // entries that it has read and not settled
	// Waiting is when the oldest entry was appended that the group has not
	// settled, by the server's clock; zero when there is none.
	Waiting time.Time
}

// Inspect looks at a channel's stream, its groups and its dead letters, without
// a lease and without an effect. A stream that is not there is an empty one.
// The error is an [*Error] or a refused name.
func Inspect(ctx context.Context, conn redis.UniversalClient, channel string) (Inspection, error) {
	if err := CheckChannel(channel); err != nil {
		return Inspection{}, err
	}
	found := Inspection{Channel: channel}
	node, err := topology.Node(ctx, conn, channel)
	if err == nil {
		err = found.inspect(ctx, node)
	}
	if err != nil {
		return Inspection{}, fail("inspect", channel, "", inspectRights, err)
	}
	return found, nil
}

const inspectRights rights = "+xinfo +xlen +xpending +xrange"

func (found *Inspection) inspect(ctx context.Context, c redis.UniversalClient) (err error) {
	key := StreamKey(found.Channel)
	if found.DeadLetters, err = c.XLen(ctx, deadKey(found.Channel)).Result(); err != nil {
		return err
	}
	stream, err := c.XInfoStream(ctx, key).Result()
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return nil
		}
		return err
	}
	found.Length, found.Newest = stream.Length, timeOf(stream.LastEntry.ID)
	groups, err := c.XInfoGroups(ctx, key).Result()
	if err != nil {
		return err
	}
	for _, g := range groups {
		info := GroupInspection{Name: g.Name, Lag: g.Lag, Pending: g.Pending}
		if newer(stream.LastEntry.ID, g.LastDeliveredID) {
			next, err := c.XRangeN(ctx, key, "("+g.LastDeliveredID, "+", 1).Result()
			if err != nil {
				return err
			}
			if len(next) > 0 {
				info.Waiting = timeOf(next[0].ID)
			}
		}
		if g.Pending > 0 {
			pending, err := c.XPending(ctx, key, g.Name).Result()
			if err != nil {
				return err
			}
			if pending.Count > 0 {
				info.Waiting = timeOf(pending.Lower)
			}
		}
		found.Groups = append(found.Groups, info)
	}
	return nil
}

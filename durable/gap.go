package durable

import (
	"fmt"
	"strings"
)

// Gap tells that messages may have been lost to a group, and which.
type Gap struct {
	Channel, Group string
	Cause          Cause
	// Missing is how many messages, -1 when that cannot be told.
	Missing int64
	// After and Before are the stream IDs between which they lay; "" is open.
	After, Before string
	// IDs names them for CausePendingTrimmed by stream ID and for
	// CauseDeadTrimmed by message ID.
	IDs []string
}

// Cause says why there is a [Gap].
type Cause string

// The causes of a gap.
const (
	// CauseTrimmed: the stream was trimmed beyond what the group had read.
	CauseTrimmed Cause = "trimmed unread"
	// CausePendingTrimmed: entries that an earlier holder had read and not
	// settled were trimmed before this one got them.
	CausePendingTrimmed Cause = "trimmed while pending"
	// CauseVanished: the group or its whole stream was gone and was created again,
	// as after FLUSHALL, an eviction, or a restart without persistence.
	CauseVanished Cause = "stream vanished"
	// CauseNewGroup: the group was not there, and no process that could tell
	// how far it had come was left to ask. Either it starts for the first time, or it
	// vanished together with everything that knew it: to a process that begins
	// now both look the same, so both are reported. What the group will not get
	// came before the stream's first entry.
	CauseNewGroup Cause = "new group"
	// CauseDeadTrimmed: the oldest dead letters made room for new ones, or were
	// older than MaxDeadAge.
	CauseDeadTrimmed Cause = "dead letters trimmed"
	// CausePendingLost: entries were delivered to the group and never settled, and
	// are not pending any more: somebody removed its consumer or moved the group.
	CausePendingLost Cause = "pending entries removed"
	// CausePurged: an operator deleted entries by [Purge], with Force, before
	// the group had read them.
	CausePurged Cause = "purged unread"
)

// String tells on one line what is known about the gap.
func (g Gap) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for group %s: %s", g.Channel, g.Group, g.Cause)
	if g.Missing >= 0 {
		fmt.Fprintf(&b, ", %d messages", g.Missing)
	}
	if g.After != "" {
		b.WriteString(", after " + g.After)
	}
	if g.Before != "" {
		b.WriteString(", before " + g.Before)
	}
	for i, id := range g.IDs {
		if i == 10 {
			fmt.Fprintf(&b, " and %d more", len(g.IDs)-i)
			break
		}
		b.WriteString(" " + clip(id))
	}
	return b.String()
}

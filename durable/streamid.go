package durable

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseID reads a stream ID, "<milliseconds>-<number>".
func parseID(id string) (ms, seq uint64, ok bool) {
	first, second, found := strings.Cut(id, "-")
	ms, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if found {
		if seq, err = strconv.ParseUint(second, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return ms, seq, true
}

// newer tells whether stream ID a comes after b; "" comes first. Both are as
// Redis writes them: its numbers have no leading zeros, so the longer one is
// the greater.
func newer(a, b string) bool {
	ams, aseq, _ := strings.Cut(a, "-")
	bms, bseq, _ := strings.Cut(b, "-")
	if ams != bms {
		return len(ams) > len(bms) || len(ams) == len(bms) && ams > bms
	}
	return len(aseq) > len(bseq) || len(aseq) == len(bseq) && aseq > bseq
}

// timeOf is when the server made a stream ID, zero for what is none.
func timeOf(id string) time.Time {
	ms, _, ok := parseID(id)
	if !ok || ms > 1<<62 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// preceding and following are the IDs next to one; "" for what is none.
func preceding(id string) string {
	ms, seq, ok := parseID(id)
	switch {
	case ok && seq > 0:
		return fmt.Sprintf("%d-%d", ms, seq-1)
	case ok && ms > 0:
		return fmt.Sprintf("%d-%d", ms-1, uint64(math.MaxUint64))
	}
	return ""
}

func following(id string) string {
	ms, seq, ok := parseID(id)
	switch {
	case ok && seq < math.MaxUint64:
		return fmt.Sprintf("%d-%d", ms, seq+1)
	case ok:
		return fmt.Sprintf("%d-0", ms+1)
	}
	return ""
}

package durable

import (
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

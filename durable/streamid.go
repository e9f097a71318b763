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

// newer tells whether stream ID a comes after b. What is no ID comes first.
func newer(a, b string) bool {
	ams, aseq, aok := parseID(a)
	bms, bseq, bok := parseID(b)
	if !aok || !bok {
		return aok
	}
	return ams > bms || ams == bms && aseq > bseq
}

// timeOf is when the server made a stream ID, zero for what is none.
func timeOf(id string) time.Time {
	ms, _, ok := parseID(id)
	if !ok || ms > 1<<62 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

package pubsubtest

import (
	"runtime"
	"strings"
	"testing"
)

// fail fails the test and ends the calling goroutine. FailNow is for a test's
// own goroutine alone.
func fail(tb testing.TB, format string, args ...any) {
	tb.Helper()
	tb.Errorf(format, args...)
	if isTests() {
		tb.FailNow()
	}
	runtime.Goexit()
}

// isTests tells whether package testing started the calling goroutine.
func isTests() bool {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "testing.") {
			return true
		}
		if !more {
			return false
		}
	}
}

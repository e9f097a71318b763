package message

import (
	"strconv"
	"strings"
	"time"
)

// noTime is what FOGIS writes where it knows no time: the smallest that .NET
// has, 0001-01-01.
const noTime = -62135596800000

// clockParts are the other ways in which a match tells its kick-off: in local
// Swedish time.
type clockParts struct {
	date, time, both                string
	otherDate, otherTime, otherBoth string
}

// kickoff reads tid, else date and time; zero when nothing tells the time.
func (c *clockParts) kickoff(tid string) time.Time {
	if t, ok := parseDateMillis(tid); ok {
		return t
	}
	if t, ok := localTime(tid); ok {
		return t
	}
	fill(&c.date, c.otherDate)
	fill(&c.time, c.otherTime)
	fill(&c.time, tid) // "19:00" in the simple form
	year, month, day, _, ok := parseDate(c.date)
	if ok {
		if hour, minute, second, _, rest, ok := parseClock(c.time); ok && rest == "" {
			return time.Date(year, time.Month(month), day, hour, minute, second, 0, stockholm())
		}
	}
	for _, both := range []string{c.both, c.otherBoth, c.date} {
		if t, ok := localTime(strings.Replace(both, ", ", " ", 1)); ok {
			return t
		}
	}
	return time.Time{}
}

// localTime reads a time that is Swedish unless it names its zone.
func localTime(text string) (time.Time, bool) {
	t, _, ok := parseTime(text, stockholm())
	if !ok || t.Year() <= 1 {
		return time.Time{}, false
	}
	return t.In(stockholm()), true
}

// parseDateMillis reads /Date(ms)/ and its spelling with literal backslashes.
func parseDateMillis(text string) (time.Time, bool) {
	_, rest, ok := strings.Cut(text, "Date(")
	if !ok {
		return time.Time{}, false
	}
	n := 0
	for n < len(rest) && (rest[n]-'0' <= 9 || n == 0 && rest[n] == '-') {
		n++
	}
	millis, err := strconv.ParseInt(rest[:n], 10, 64)
	if err != nil || millis <= noTime || millis > -noTime*5 {
		return time.Time{}, false
	}
	return time.UnixMilli(millis).In(stockholm()), true
}

// appendDateMillis writes t as FOGIS does; the zero time as its own mark for
// an unknown one.
func appendDateMillis(dst []byte, t time.Time) []byte {
	millis := int64(noTime)
	if !t.IsZero() {
		millis = t.UnixMilli()
	}
	dst = append(dst, `"/Date(`...)
	dst = strconv.AppendInt(dst, millis, 10)
	return append(dst, `)/"`...)
}

package message

import (
	"strconv"
	"strings"
	"time"
)

const (
	// noTime is what FOGIS writes where it knows no time, in milliseconds:
	// 0001-01-01, the smallest that .NET has.
	noTime = -62_135_596_800_000
	// lastTime is the last one with a year of four digits.
	lastTime = 253_402_300_799_999
)

// clockParts are the other ways in which a match tells its kick-off: in local
// Swedish time.
type clockParts struct {
	date, time, both                string
	otherDate, otherTime, otherBoth string
}

// kickoff reads tid, else date and time; zero when nothing tells the time.
func (c *clockParts) kickoff(tid string) time.Time {
	if t := parseDateMillis(tid); !t.IsZero() {
		return t
	}
	if len(tid) >= len("100000000000") && digits(tid, 0) == len(tid) { // as seconds it would be after the year 5000
		millis, _ := strconv.ParseInt(tid, 10, 64)
		return swedish(millis)
	}
	if t := localTime(tid); !t.IsZero() {
		return t
	}
	fill(&c.date, c.otherDate)
	fill(&c.time, c.otherTime)
	fill(&c.time, tid) // "19:00" in the simple form
	c.time = clock(c.time)
	if t := localTime(c.date + " " + c.time); !t.IsZero() {
		return t
	}
	for _, both := range []string{c.both, c.otherBoth} {
		date, rest, _ := strings.Cut(strings.Replace(both, ", ", " ", 1), " ")
		if t := localTime(date + " " + clock(rest)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// clock writes a time of day that people have written, 9:00 or 19.00, as 09:00 or
// 19:00. Anything else stays as it is.
func clock(text string) string {
	n := digits(text, 0)
	if n < 1 || n > 2 || n == len(text) || text[n] != ':' && text[n] != '.' || digits(text, n+1) != n+3 {
		return text
	}
	if n == 1 {
		text, n = "0"+text, 2
	}
	if text[n] == '.' {
		text = text[:n] + ":" + text[n+1:]
	}
	return text
}

// localTime reads a time that is Swedish unless it names its zone.
func localTime(text string) time.Time {
	t, _, ok := parseTime(text, stockholm())
	if !ok {
		return time.Time{}
	}
	return swedish(t.UnixMilli())
}

// parseDateMillis reads /Date(ms)/ and its spelling with literal backslashes.
func parseDateMillis(text string) time.Time {
	_, rest, ok := strings.Cut(text, "Date(")
	if !ok {
		return time.Time{}
	}
	n := 0
	for n < len(rest) && (rest[n]-'0' <= 9 || n == 0 && rest[n] == '-') {
		n++
	}
	millis, err := strconv.ParseInt(rest[:n], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return swedish(millis)
}

// swedish is the time of a kick-off; zero when it means none.
func swedish(millis int64) time.Time {
	if millis <= noTime || millis > lastTime {
		return time.Time{}
	}
	return time.UnixMilli(millis).In(stockholm())
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

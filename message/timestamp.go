package message

import (
	"sync"
	"time"
	_ "time/tzdata" // containers often have no zone files
)

// Timestamp is a point in time with the text that gave it.
type Timestamp struct {
	time.Time // zero when the text could not be read
	// Text is the original spelling, "" when the field was missing.
	Text string
	// Uncertain tells that the text named no zone, so that Time rests on the
	// decoder's Zone.
	Uncertain bool
}

// stockholm is the zone of every local time in FOGIS.
var stockholm = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		return time.UTC // cannot be: time/tzdata is linked in
	}
	return zone
})

// parseTimestamp reads every spelling that the services write: with six
// digits, three or none after the second, with Z, +00:00 or no zone at all.
func parseTimestamp(text string, zone *time.Location) Timestamp {
	if zone == nil {
		zone = stockholm()
	}
	t, certain, ok := parseTime(text, zone)
	if !ok {
		return Timestamp{Text: text}
	}
	return Timestamp{Time: t, Text: text, Uncertain: !certain}
}

// parseTime reads YYYY-MM-DD, T or a space, HH:MM, and optionally seconds, a
// fraction and a zone. certain tells that there was a zone; the result is
// then in UTC, else in zone.
func parseTime(text string, zone *time.Location) (t time.Time, certain, ok bool) {
	year, month, day, rest, ok := parseDate(text)
	if !ok || rest == "" || rest[0] != 'T' && rest[0] != 't' && rest[0] != ' ' {
		return time.Time{}, false, false
	}
	hour, minute, second, nanos, rest, ok := parseClock(rest[1:])
	if !ok {
		return time.Time{}, false, false
	}
	var offset time.Duration
	if rest != "" {
		if offset, ok = parseOffset(rest); !ok {
			return time.Time{}, false, false
		}
		certain, zone = true, time.UTC
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone).Add(-offset)
	if y := t.UTC().Year(); y < 1 || y > 9999 || t.IsZero() {
		return time.Time{}, false, false // could not be written again
	}
	return t, certain, true
}

// parseDate reads YYYY-MM-DD at the head of text.
func parseDate(text string) (year, month, day int, rest string, ok bool) {
	if len(text) < 10 || text[4] != '-' || text[7] != '-' {
		return 0, 0, 0, "", false
	}
	year, ok1 := parseDigits(text[:4])
	month, ok2 := parseDigits(text[5:7])
	day, ok3 := parseDigits(text[8:10])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, 0, 0, "", false
	}
	return year, month, day, text[10:], true
}

// daysIn is the length of a month: the day before the next month's first.
func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseClock reads HH:MM[:SS[.fraction]] at the head of text.
func parseClock(text string) (hour, minute, second, nanos int, rest string, ok bool) {
	if len(text) < 5 || text[2] != ':' {
		return 0, 0, 0, 0, "", false
	}
	hour, ok1 := parseDigits(text[:2])
	minute, ok2 := parseDigits(text[3:5])
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, 0, 0, 0, "", false
	}
	rest = text[5:]
	if len(rest) < 3 || rest[0] != ':' {
		return hour, minute, 0, 0, rest, true
	}
	if second, ok = parseDigits(rest[1:3]); !ok || second > 59 {
		return 0, 0, 0, 0, "", false
	}
	rest = rest[3:]
	if len(rest) < 2 || rest[0] != '.' && rest[0] != ',' {
		return hour, minute, second, 0, rest, true
	}
	rest = rest[1:]
	n := 0
	for unit := 100_000_000; n < len(rest) && rest[n]-'0' <= 9; n++ {
		nanos += int(rest[n]-'0') * unit
		unit /= 10
	}
	return hour, minute, second, nanos, rest[n:], n > 0
}

// parseOffset reads Z, +HH:MM, +HHMM or +HH.
func parseOffset(text string) (time.Duration, bool) {
	if text == "Z" || text == "z" {
		return 0, true
	}
	if text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	digits := text[1:]
	if len(digits) == 5 && digits[2] == ':' {
		digits = digits[:2] + digits[3:]
	}
	if len(digits) == 2 {
		digits += "00"
	}
	if len(digits) != 4 {
		return 0, false
	}
	hours, ok1 := parseDigits(digits[:2])
	minutes, ok2 := parseDigits(digits[2:])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}

func parseDigits(text string) (int, bool) {
	n := 0
	for i := range len(text) {
		c := text[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

// appendTime writes t as every envelope does: UTC, six digits, Z. By hand it
// takes a fifth of what AppendFormat takes, and a status holds two of them.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, `"2006-01-02T15:04:05.000000Z"`)
	}
	hour, minute, second := t.Clock()
	dst = append(dst, '"')
	dst = appendDigits(dst, year, 4)
	dst = appendDigits(append(dst, '-'), int(month), 2)
	dst = appendDigits(append(dst, '-'), day, 2)
	dst = appendDigits(append(dst, 'T'), hour, 2)
	dst = appendDigits(append(dst, ':'), minute, 2)
	dst = appendDigits(append(dst, ':'), second, 2)
	dst = appendDigits(append(dst, '.'), t.Nanosecond()/1000, 6)
	return append(dst, 'Z', '"')
}

// appendDigits writes n, which has at most width digits, with leading zeros.
func appendDigits(dst []byte, n, width int) []byte {
	dst = append(dst, "000000"[:width]...)
	for i := len(dst) - 1; n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

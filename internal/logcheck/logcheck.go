// Package logcheck keeps personal data and passwords out of what the project
// says: a test that uses its logger fails if a telephone number, an e-mail or
// street address or the password of the fixtures appears in a log record, and
// [Clean] does the same for any other text.
//
// The fixtures hold invented people only. Their values are easy to tell from
// everything else, so what is found is a leak: telephone numbers from 070-174
// 06 05 to 99, which Sweden sets aside for fiction, addresses at example.com,
// the streets of [Forbidden], and [Password].
package logcheck

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Password is the password that every test of the project uses, so that it can
// be searched for.
const Password = "s3kret-l0senord"

// Forbidden lists the texts that may stand nowhere in the project's output,
// in any case of letters. Telephone numbers are found by their form and are
// not in it.
func Forbidden() []string {
	return []string{
		Password,
		"hemligt",
		"@example.com",
		"%40example.com",
		"Påhittsvägen",
		"Testgränd",
		"Fiktivgatan",
		"c/o Fiktiv",
	}
}

const (
	// gap is what may stand between two digits of a telephone number.
	gap = `(?:%20|[\s().\-/+\x{a0}\x{2009}\x{202f}\x{2010}-\x{2013}]){0,3}`
	// lead is the trunk zero or the country's code, with an optional (0).
	lead = `(?:^|\D)(?:(?:\+|00)?` + gap + `46` + gap + `(?:\(?0\)?)?|0)`
)

// telephone matches the numbers 070-174 06 05 to 99 in any grouping, national
// or international.
var telephone = regexp.MustCompile(lead + gap + strings.Join(
	[]string{"7", "0", "1", "7", "4", "0", "6", "(?:0" + gap + "[5-9]|[1-9]" + gap + "[0-9])"}, gap) + `(?:\D|$)`)

var escape = regexp.MustCompile(`\\u[0-9a-fA-F]{4}`)

// Find returns the forbidden values in text, in no particular order and each
// perhaps more than once. It looks through the \u escapes of JSON and through
// base64, which is how encoding/json shows bytes.
func Find(text string) []string {
	found := find(text)
	for word := range strings.FieldsFuncSeq(text, notBase64) {
		if len(word) < 16 {
			continue
		}
		if len(word)%4 == 1 {
			word = word[:len(word)-1] // no base64 has that length
		}
		if b, err := base64.RawStdEncoding.DecodeString(word); err == nil {
			found = append(found, find(string(b))...)
		}
	}
	return found
}

func notBase64(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/'
}

func find(text string) []string {
	if strings.Contains(text, `\u`) {
		text = escape.ReplaceAllStringFunc(text, func(s string) string {
			n, err := strconv.ParseUint(s[2:], 16, 16)
			if err != nil {
				return s
			}
			return string(rune(n))
		})
	}
	var found []string
	lower := strings.ToLower(text)
	for _, f := range Forbidden() {
		if strings.Contains(lower, strings.ToLower(f)) {
			found = append(found, f)
		}
	}
	if mayHoldTelephone(text) {
		for _, number := range telephone.FindAllString(text, -1) {
			found = append(found, strings.TrimSpace(number))
		}
	}
	return found
}

// mayHoldTelephone tells whether the digits 7017406 follow each other in text
// with little in between. It spares the regular expression, which is a hundred
// times slower, on logs of some megabytes.
func mayHoldTelephone(text string) bool {
	for i := strings.IndexByte(text, '7'); i >= 0; {
		rest := text[i+1:]
		if startsWithDigits(rest, "017406") {
			return true
		}
		next := strings.IndexByte(rest, '7')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

func startsWithDigits(text, digits string) bool {
	for i := range len(digits) {
		const longestGap = 9 // bytes: three of three
		for skipped := 0; ; skipped++ {
			text = strings.TrimPrefix(text, "%20")
			if text == "" || skipped > longestGap {
				return false
			}
			c := text[0]
			text = text[1:]
			if c == digits[i] {
				break
			}
			if c >= '0' && c <= '9' {
				return false
			}
		}
	}
	return true
}

// Clean fails the test, which goes on, if text holds a forbidden value; label
// says whose text it is. Use it for what is not logged: errors, receipts,
// status JSON, the output of a command.
func Clean(tb testing.TB, label, text string) {
	tb.Helper()
	if found := Find(text); len(found) > 0 {
		tb.Errorf("logcheck: %s shows %q", label, found)
	}
}

// CleanValue is [Clean] for a value, in each form that fmt gives it.
func CleanValue(tb testing.TB, label string, v any) {
	tb.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		Clean(tb, label+" as "+verb, fmt.Sprintf(verb, v))
	}
}

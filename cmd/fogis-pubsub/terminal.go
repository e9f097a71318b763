package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/PitchConnect/fogispubsub/config"
)

// terminal is where a command writes: lines for people and lines of JSON. It
// escapes what a terminal would obey, in texts that others chose, in the form
// that JSON has too; line ends and tabs stay. Each Write holds whole characters.
type terminal struct {
	w    io.Writer
	hide func(string) string // nil: nothing is hidden
}

func (t terminal) Write(data []byte) (int, error) {
	text := data
	if t.hide != nil {
		text = []byte(t.hide(string(text)))
	}
	if _, err := t.w.Write(escape(text)); err != nil {
		return 0, err
	}
	return len(data), nil
}

// escape writes control characters, marks that turn the direction of text, and
// broken UTF-8 as \u and four digits.
func escape(data []byte) []byte {
	begin := 0
	var out []byte
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if obeyed(r) || r == utf8.RuneError && size == 1 {
			out = append(out, data[begin:i]...)
			out = fmt.Appendf(out, `\u%04x`, r)
			begin = i + size
		}
		i += size
	}
	if begin == 0 {
		return data
	}
	return append(out, data[begin:]...)
}

func obeyed(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// usersPlace is the placeholder for a user in the URL forms that errors show.
const usersPlace = "[user:password@"

var userOfURL = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'@]+@`)

// hider hides the passwords of URLs, and every URL among the arguments as
// [config.URL] shows it, whatever text it comes in.
func hider(args []string) func(string) string {
	var hidden []string
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		for _, part := range []string{arg, name, value} {
			part = strings.TrimLeft(part, "-")
			if !strings.Contains(part, "://") {
				continue
			}
			if shown := config.NewURL(part).String(); shown != part {
				quoted := fmt.Sprintf("%q", part)
				hidden = append(hidden, part, quoted[1:len(quoted)-1])
			}
		}
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) })
	return func(text string) string {
		for _, part := range hidden {
			text = strings.ReplaceAll(text, part, config.NewURL(part).String())
		}
		return userOfURL.ReplaceAllStringFunc(text, func(found string) string {
			if strings.HasSuffix(found, "://"+usersPlace) {
				return found
			}
			return userOfURL.ReplaceAllString(found, "${1}***@")
		})
	}
}

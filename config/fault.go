package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error reports every fault of a configuration, in the order of the package's
// table. It quotes no value.
type Error struct {
	Faults []Fault // at least one
}

// Error returns one line for each fault.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults, each a [Fault].
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		errs[i] = f
	}
	return errs
}

// Fault is one setting that cannot be used.
type Fault struct {
	Variable string // the environment variable
	Field    string // the field of Config, "Redis.URL"; "" from FromEnv
	Got      string // the value's shape, "3 letters"; never the value
	Want     string // the accepted forms
}

// Error returns the variable, the shape of its value and the accepted forms.
func (f Fault) Error() string {
	name := f.Variable
	if f.Field != "" {
		name = f.Field + " (" + f.Variable + ")"
	}
	return fmt.Sprintf("%s: got %s, want %s", name, f.Got, f.Want)
}

// newError returns nil when there is no fault.
func newError(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return &Error{Faults: faults}
}

// shape describes a value well enough to find the slip, and no better: any
// value may be a password that went to the wrong variable.
func shape(value string) string {
	if !utf8.ValidString(value) {
		return "text that is not UTF-8"
	}
	if scheme, _, found := strings.Cut(value, "://"); found && knownScheme(scheme) {
		return "a URL with scheme " + scheme
	}
	n := utf8.RuneCountInString(value)
	if only(value, unicode.IsLetter) {
		return count(n, "letter")
	}
	if only(value, func(r rune) bool { return '0' <= r && r <= '9' }) {
		return count(n, "digit")
	}
	if number, err := strconv.ParseFloat(value, 64); err == nil {
		if number < 0 {
			return "a negative number"
		}
		return "a decimal number"
	}
	return count(n, "character")
}

func only(value string, in func(rune) bool) bool {
	return strings.IndexFunc(value, func(r rune) bool { return !in(r) }) < 0
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

package config

import (
	"fmt"
	"log/slog"
)

// hidden stands for what must not be printed.
const hidden = "***"

// Secret is a text that no printed form shows: every fmt verb, slog, JSON and
// text encoding give *** (or nothing for the zero value, which is the empty
// text). All packages of this module take passwords and tokens as a Secret.
// Compare secrets by [Secret.Reveal], not by ==.
type Secret struct{ text *veiled }

// NewSecret returns the secret that holds text.
func NewSecret(text string) Secret { return Secret{veil(text)} }

// Reveal returns the real text. Do not print it.
func (s Secret) Reveal() string { return s.text.reveal() }

// IsZero tells whether the secret is the empty text.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns *** or, for the empty text, "".
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format implements [fmt.Formatter]: all verbs see [Secret.String].
func (s Secret) Format(f fmt.State, verb rune) { formatHidden(f, verb, s.String()) }

// LogValue implements [slog.LogValuer] by [Secret.String].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler] by [Secret.String]; JSON
// uses it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// veiled is a text that printers do not find. It stands behind a pointer,
// because fmt calls no method on a value in somebody's unexported field: there
// it prints an address. Its bytes are inverted, because other printers follow
// pointers, as those that show how two values differ in a test.
type veiled struct{ inverted []byte }

// veil returns nil for the empty text.
func veil(text string) *veiled {
	if text == "" {
		return nil
	}
	return &veiled{invert([]byte(text))}
}

func (v *veiled) reveal() string {
	if v == nil {
		return ""
	}
	return string(invert(v.inverted))
}

func invert(text []byte) []byte {
	inverted := make([]byte, len(text))
	for i, b := range text {
		inverted[i] = ^b
	}
	return inverted
}

// formatHidden prints shown as any string under the same verb and flags. A
// Stringer alone would not do: fmt prints the inside of a value under a verb
// that does not suit strings, as %d.
func formatHidden(f fmt.State, verb rune, shown string) {
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), shown)
}

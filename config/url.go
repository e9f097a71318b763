package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// URL is an address that may hold a password. Every printed form (fmt, slog,
// JSON, text) shows scheme, host, port and path, and *** for the user part and
// the query; a text that is no clean URL of a known scheme is *** as a whole.
// The zero value is the empty text. Compare by [URL.Reveal], not by ==.
type URL struct{ text *veiled }

// NewURL returns the URL with that text. It checks nothing: [Config.Validate]
// does, where it is known what the URL is for.
func NewURL(text string) URL { return URL{veil(text)} }

// Reveal returns the real text, password included. Do not print it.
func (u URL) Reveal() string { return u.text.reveal() }

// IsZero tells whether the URL is the empty text.
func (u URL) IsZero() bool { return u.text == nil }

// String returns the URL without its secrets.
func (u URL) String() string {
	if u.IsZero() {
		return ""
	}
	one, hosts := splitHosts(u.Reveal())
	parsed, err := url.Parse(one)
	if err != nil || !knownScheme(parsed.Scheme) || parsed.Opaque != "" {
		return hidden
	}
	// An @ behind the host means that an unescaped character of a password
	// (/ ? #) ended the host part early: what looks like host or path is it.
	if strings.Contains(parsed.Path+parsed.RawQuery+parsed.Fragment, "@") {
		return hidden
	}
	var b strings.Builder
	b.WriteString(parsed.Scheme + "://")
	if parsed.User != nil {
		b.WriteString(hidden + "@")
	}
	b.WriteString(parsed.Host)
	for _, text := range hosts[1:] {
		host, err := url.Parse("redis://" + text)
		if err != nil {
			return hidden
		}
		b.WriteString("," + host.Host)
	}
	b.WriteString(parsed.EscapedPath())
	if parsed.RawQuery != "" {
		b.WriteString("?" + hidden)
	}
	return b.String()
}

// Format implements [fmt.Formatter]: all verbs see [URL.String].
func (u URL) Format(f fmt.State, verb rune) { formatHidden(f, verb, u.String()) }

// LogValue implements [slog.LogValuer] by [URL.String].
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText implements [encoding.TextMarshaler] by [URL.String]; JSON uses
// it too.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// knownScheme tells whether a scheme may be repeated to the reader of a fault
// or a log. Of any other text in front of a colon nobody knows that it is no
// secret.
func knownScheme(scheme string) bool {
	switch scheme {
	case "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "http", "https", "tcp", "ws", "wss", "amqp", "ftp", "file":
		return true
	}
	return false
}

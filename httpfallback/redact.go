package httpfallback

import (
	"net/url"
	"strings"
)

// redact gives the URL without what may be secret: user, password and query.
func redact(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

// validHeader tells whether s can stand in a header field.
func validHeader(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

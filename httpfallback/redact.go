package httpfallback

import (
	"fmt"
	"net/url"
	"strings"
)

// redact gives the URL without what may be secret: user, password and query.
func redact(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

// String shows the settings without the token.
func (o Options) String() string {
	return fmt.Sprintf("{Token:%s BatchSize:%d Timeout:%v Retries:%d RetryDelay:%v}",
		hidden(o.Token), o.BatchSize, o.Timeout, o.Retries, o.RetryDelay)
}

// GoString is [Options.String] for %#v.
func (o Options) GoString() string { return "httpfallback.Options" + o.String() }

// String shows the settings without the token.
func (o HandlerOptions) String() string {
	return fmt.Sprintf("{Token:%s AllowUnauthenticated:%t MaxBytes:%d}",
		hidden(o.Token), o.AllowUnauthenticated, o.MaxBytes)
}

// GoString is [HandlerOptions.String] for %#v.
func (o HandlerOptions) GoString() string { return "httpfallback.HandlerOptions" + o.String() }

func hidden(token string) string {
	if token == "" {
		return "none"
	}
	return "set"
}

// validHeader tells whether s can stand in a header field.
func validHeader(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

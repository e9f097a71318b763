package config

import (
	"net/url"
	"strings"
)

// withPassword puts the password of REDIS_PASSWORD into an address that has
// none. got is what is wrong with giving it.
func withPassword(address, password string) (_, got string) {
	endpoint, fault := parseEndpoint(address)
	switch {
	case fault != "" || password == "" || endpoint.Password.Reveal() == password:
		return address, ""
	case !endpoint.Password.IsZero():
		return address, "another password than the one in REDIS_URL"
	}
	scheme, rest, _ := strings.Cut(address, "://")
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	at := strings.LastIndexByte(authority, '@')
	user := strings.TrimSuffix(authority[:max(at, 0)], ":")
	return scheme + "://" + user + url.UserPassword("", password).String() + "@" + authority[at+1:] + tail, ""
}

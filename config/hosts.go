package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// splitHosts takes the hosts of a URL apart, which net/url knows only one of.
// one is the URL with the first of them alone. A comma in the user part is a
// password's.
func splitHosts(text string) (one string, hosts []string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return text, []string{""}
	}
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	at := strings.LastIndexByte(authority, '@') + 1
	hosts = strings.Split(authority[at:], ",")
	return scheme + "://" + authority[:at] + hosts[0] + tail, hosts
}

// addresses returns host:port for each of the hosts, the first of which is u's,
// or what is wrong with them as their shape.
func addresses(u *url.URL, hosts []string, port string) (list []string, got string) {
	for i, text := range hosts {
		if i > 0 {
			if u, got = parseURL("redis://"+text, "redis"); got != "" {
				return nil, got
			}
		}
		if got := checkHost(u); got != "" {
			return nil, got
		}
		address := net.JoinHostPort(u.Hostname(), port)
		if own := u.Port(); own != "" {
			address = net.JoinHostPort(u.Hostname(), own)
		}
		if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list, ""
}

// checkHost refuses a URL without host, a host that no server can have, and
// such a port.
func checkHost(u *url.URL) (got string) {
	switch host := u.Hostname(); {
	case host == "":
		return "a URL without host"
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return "a URL with two ports"
	case !isHost(strings.SplitN(host, "%", 2)[0]):
		return "a URL with a host that holds other characters than letters, digits, dots, - and _; a query begins with ?"
	}
	if port := u.Port(); port != "" {
		if _, ok := wholeNumber(port, 1, maxPort); !ok {
			return "a URL with a port outside 1 to 65535"
		}
	}
	return ""
}

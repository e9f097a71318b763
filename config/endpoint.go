package config

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Endpoint is where and as whom to connect to Redis: the parts of a Redis
// address.
type Endpoint struct {
	Network  string // "tcp" or "unix"
	Address  string // host:port, or the path of the socket
	Username string // "": the default user
	Password Secret
	DB       int

	TLS        bool   // rediss
	ServerName string // host that the certificate must name, with TLS
	SkipVerify bool   // ssl_cert_reqs=none: take any certificate
}

const (
	wantRedisURL = "redis://[user:password@]host[:port][/db], rediss://… or unix://[user:password@]/path, special characters percent-encoded"
	wantHTTPURL  = "http://host[:port]/path or https://host[:port]/path"
)

// Endpoint reads the address in URL, or the default one when URL is zero. The
// error is a [*Error] with one [Fault].
func (r Redis) Endpoint() (Endpoint, error) {
	text := r.URL.Reveal()
	if text == "" {
		text = defaultRedisURL
	}
	endpoint, got := parseEndpoint(text)
	if got != "" {
		return Endpoint{}, &Error{Faults: []Fault{redisURLFault(got)}}
	}
	return endpoint, nil
}

func redisURLFault(got string) Fault {
	return Fault{Variable: "REDIS_URL", Field: "Redis.URL", Got: got, Want: wantRedisURL}
}

// parseEndpoint returns what is wrong with text as its shape, or "". Errors of
// net/url are not passed on: they quote the URL.
func parseEndpoint(text string) (endpoint Endpoint, got string) {
	if scheme, rest, _ := strings.Cut(text, "://"); scheme == "redis+sentinel" {
		return endpoint, "a Sentinel address, which comes with a later version"
	} else if isNodeList(rest) {
		return endpoint, "a list of Cluster nodes, which comes with a later version"
	}
	u, got := parseURL(text, "redis", "rediss", "unix")
	if got != "" {
		return endpoint, got
	}
	if u.User != nil {
		endpoint.Username = u.User.Username()
		password, _ := u.User.Password()
		endpoint.Password = NewSecret(password)
	}
	path := u.Path
	if u.Scheme == "unix" {
		if u.Host != "" || len(path) < 2 {
			return endpoint, "a unix URL without an absolute path"
		}
		endpoint.Network, endpoint.Address = "unix", path
		path = ""
	} else {
		if got := checkHost(u); got != "" {
			return endpoint, got
		}
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		endpoint.Network, endpoint.Address = "tcp", net.JoinHostPort(u.Hostname(), port)
	}
	if u.Scheme == "rediss" {
		endpoint.TLS, endpoint.ServerName = true, u.Hostname()
	}
	return endpoint, endpoint.readDB(strings.TrimPrefix(path, "/"), u.RawQuery)
}

// readDB reads the database number, which stands in the path or the query, and
// the query's other keys.
func (e *Endpoint) readDB(db, rawQuery string) (got string) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "a URL with a query that cannot be parsed"
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		values := query[key]
		switch {
		case len(values) > 1:
			return "a URL with a query key given twice"
		case key == "db" && db == "":
			db = values[0]
		case key == "db":
			return "a URL with two database numbers"
		case key == "username" && e.Username == "":
			e.Username = values[0]
		case key == "password" && e.Password.IsZero():
			e.Password = NewSecret(values[0])
		case key == "ssl_cert_reqs" && e.TLS && values[0] == "none":
			e.SkipVerify = true
		case key == "ssl_cert_reqs" && e.TLS && values[0] == "required":
		default:
			return "a URL with a query key or value that is not known here (known: db, username, password and, with rediss, ssl_cert_reqs=required or none)"
		}
	}
	if db == "" {
		return ""
	}
	number, ok := wholeNumber(db, 0, maxDB)
	if !ok {
		return "a URL whose database is not a number"
	}
	e.DB = number
	return ""
}

// checkFallbackURL returns what is wrong with text as its shape, or "".
func checkFallbackURL(text string) (got string) {
	u, got := parseURL(text, "http", "https")
	if got != "" {
		return got
	}
	return checkHost(u)
}

// parseURL reads a URL of one of the schemes.
func parseURL(text string, schemes ...string) (u *url.URL, got string) {
	scheme, _, found := strings.Cut(text, "://")
	if !found || !slices.Contains(schemes, scheme) {
		return nil, shape(text)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, "a URL that cannot be parsed"
	}
	if u.Fragment != "" || strings.Contains(u.Path, "@") {
		return nil, "a URL with an unescaped character in its password"
	}
	return u, ""
}

// checkHost refuses a URL without host, and a port that no server can have.
func checkHost(u *url.URL) (got string) {
	switch host := u.Hostname(); {
	case host == "":
		return "a URL without host"
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return "a URL with two ports"
	}
	if port := u.Port(); port != "" {
		if _, ok := wholeNumber(port, 1, maxPort); !ok {
			return "a URL with a port outside 1 to 65535"
		}
	}
	return ""
}

// isNodeList tells whether the host part of a URL names several hosts. A comma
// in the user part is a password's.
func isNodeList(rest string) bool {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return strings.Contains(rest[strings.LastIndexByte(rest, '@')+1:], ",")
}

const (
	maxPort = 65535
	maxDB   = 1<<31 - 1
)

// wholeNumber reads decimal digits, without sign, within the bounds.
func wholeNumber(text string, low, high int) (int, bool) {
	number, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(number) < low || int(number) > high {
		return 0, false
	}
	return int(number), true
}

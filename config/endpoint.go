package config

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Endpoint is where and as whom to connect to Redis: the parts of a Redis
// address. One of Address, Cluster and Sentinels is set.
type Endpoint struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket
	// Cluster holds the host:port of some nodes of a Cluster, from which the
	// others are learnt.
	Cluster []string
	// Sentinels holds the host:port of the Sentinels that know where Master is.
	Sentinels []string
	Master    string

	Username string // "": the default user
	Password Secret
	DB       int

	// SentinelUsername and SentinelPassword are for the Sentinels themselves.
	SentinelUsername string
	SentinelPassword Secret

	TLS bool // rediss
	// ServerName is the host that the certificate must name, with TLS; "" with
	// Cluster and Sentinels: the host of each address, as these tell it.
	ServerName string
	SkipVerify bool // ssl_cert_reqs=none: take any certificate
}

const (
	wantRedisURL = "redis://[user:password@]host[:port][/db], rediss://… or unix://[user:password@]/path, redis://…host[:port],host[:port] for a Cluster, " +
		"or redis+sentinel://[user:password@]host[:port],host[:port]/master[/db], special characters percent-encoded"
	wantHTTPURL = "http://host[:port]/path or https://host[:port]/path"
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
	one, hosts := splitHosts(text)
	if next, found := strings.CutSuffix(hosts[len(hosts)-1], ":"); found && len(hosts) > 1 && knownScheme(next) {
		return endpoint, "a list of URLs; write scheme, user and password once, then host:port,host:port"
	}
	u, got := parseURL(one, "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
	if got != "" {
		return endpoint, got
	}
	if u.User != nil {
		endpoint.Username = u.User.Username()
		password, _ := u.User.Password()
		endpoint.Password = NewSecret(password)
	}
	scheme, sentinel := strings.CutSuffix(u.Scheme, "+sentinel")
	endpoint.TLS = scheme == "rediss"
	db := strings.TrimPrefix(u.Path, "/")
	switch {
	case scheme == "unix":
		if u.Host != "" || len(u.Path) < 2 {
			return endpoint, "a unix URL without an absolute path"
		}
		endpoint.Network, endpoint.Address, db = "unix", u.Path, ""
	case sentinel:
		endpoint.Network = "tcp"
		if endpoint.Sentinels, got = addresses(u, hosts, defaultSentinelPort); got != "" {
			return endpoint, got
		}
		endpoint.Master, db, _ = strings.Cut(db, "/")
		if got := checkName(endpoint.Master); got != "" || endpoint.Master == "" {
			return endpoint, "a Sentinel address without the name of a master as its path"
		}
	case len(hosts) > 1:
		endpoint.Network = "tcp"
		endpoint.Cluster, got = addresses(u, hosts, defaultPort)
	default:
		var only []string
		if only, got = addresses(u, hosts, defaultPort); got == "" {
			endpoint.Network, endpoint.Address = "tcp", only[0]
		}
		if endpoint.TLS {
			endpoint.ServerName = u.Hostname()
		}
	}
	if got != "" {
		return endpoint, got
	}
	if got := endpoint.readDB(db, u.RawQuery); got != "" {
		return endpoint, got
	}
	if endpoint.DB != 0 && len(endpoint.Cluster) > 0 {
		return endpoint, "a list of Cluster nodes with a database, of which a Cluster has only 0"
	}
	return endpoint, ""
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
		case key == "sentinel_username" && len(e.Sentinels) > 0:
			e.SentinelUsername = values[0]
		case key == "sentinel_password" && len(e.Sentinels) > 0:
			e.SentinelPassword = NewSecret(values[0])
		case key == "ssl_cert_reqs" && e.TLS && values[0] == "none":
			e.SkipVerify = true
		case key == "ssl_cert_reqs" && e.TLS && values[0] == "required":
		default:
			return "a URL with a query key or value that is not known here (known: db, username, password, with rediss ssl_cert_reqs=required or none, and with Sentinel sentinel_username and sentinel_password)"
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
	switch {
	case got != "":
		return got
	case strings.Contains(u.RawQuery, "@"):
		return "a URL with an unescaped @ in its password or its query"
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
	switch {
	case strings.Contains(u.Path+u.Fragment, "@"):
		return nil, "a URL with an unescaped character in its password"
	case u.Fragment != "":
		return nil, "a URL with a fragment, the part behind #"
	}
	return u, ""
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

package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/config"
)

func TestRedis_Endpoint_reads_every_accepted_form(t *testing.T) {
	t.Parallel()
	tcp := func(address string) config.Endpoint { return config.Endpoint{Network: "tcp", Address: address} }
	for text, want := range map[string]config.Endpoint{
		"":                                  tcp("fogis-redis:6379"),
		"redis://fogis-redis":               tcp("fogis-redis:6379"),
		"redis://fogis-redis:":              tcp("fogis-redis:6379"),
		"redis://fogis-redis:6380":          tcp("fogis-redis:6380"),
		"redis://fogis-redis:6379/":         tcp("fogis-redis:6379"),
		"redis://[::1]:6379":                tcp("[::1]:6379"),
		"redis://[::1]":                     tcp("[::1]:6379"),
		"redis://r:1/0":                     tcp("r:1"),
		"redis://r:65535":                   tcp("r:65535"),
		"redis://r/15":                      {Network: "tcp", Address: "r:6379", DB: 15},
		"redis://r?db=15":                   {Network: "tcp", Address: "r:6379", DB: 15},
		"redis://r/?db=15":                  {Network: "tcp", Address: "r:6379", DB: 15},
		"redis://:pw@r":                     {Network: "tcp", Address: "r:6379", Password: config.NewSecret("pw")},
		"redis://user:pw@r":                 {Network: "tcp", Address: "r:6379", Username: "user", Password: config.NewSecret("pw")},
		"redis://user@r":                    {Network: "tcp", Address: "r:6379", Username: "user"},
		"redis://:p%40s%2Fs%23%25@r":        {Network: "tcp", Address: "r:6379", Password: config.NewSecret("p@s/s#%")},
		"redis://:a,b@r":                    {Network: "tcp", Address: "r:6379", Password: config.NewSecret("a,b")},
		"redis://:a@b@r":                    {Network: "tcp", Address: "r:6379", Password: config.NewSecret("a@b")},
		"redis://r?username=u":              {Network: "tcp", Address: "r:6379", Username: "u"},
		"redis://r?password=p%20w":          {Network: "tcp", Address: "r:6379", Password: config.NewSecret("p w")},
		"rediss://r":                        {Network: "tcp", Address: "r:6379", TLS: true, ServerName: "r"},
		"rediss://[::1]:6380/1":             {Network: "tcp", Address: "[::1]:6380", DB: 1, TLS: true, ServerName: "::1"},
		"rediss://r?ssl_cert_reqs=none":     {Network: "tcp", Address: "r:6379", TLS: true, ServerName: "r", SkipVerify: true},
		"rediss://r?ssl_cert_reqs=required": {Network: "tcp", Address: "r:6379", TLS: true, ServerName: "r"},
		"redis://a,b:7001":                  {Network: "tcp", Cluster: []string{"a:6379", "b:7001"}},
		"rediss://u:p,w@a:1,[::1]/0?ssl_cert_reqs=none": {
			Network: "tcp", Cluster: []string{"a:1", "[::1]:6379"}, Username: "u", Password: config.NewSecret("p,w"), TLS: true, SkipVerify: true,
		},
		"redis://c:1,c:1":         {Network: "tcp", Cluster: []string{"c:1"}},
		"redis+sentinel://s/main": {Network: "tcp", Sentinels: []string{"s:26379"}, Master: "main"},
		"redis+sentinel://u:pw@a:1,b,[::1]:2/my-main/3?sentinel_username=su&sentinel_password=s%40w": {
			Network: "tcp", Sentinels: []string{"a:1", "b:26379", "[::1]:2"}, Master: "my-main", DB: 3,
			Username: "u", Password: config.NewSecret("pw"), SentinelUsername: "su", SentinelPassword: config.NewSecret("s@w"),
		},
		"rediss+sentinel://a/m?db=4&ssl_cert_reqs=required": {Network: "tcp", Sentinels: []string{"a:26379"}, Master: "m", DB: 4, TLS: true},
		"unix:///a,b.sock":                {Network: "unix", Address: "/a,b.sock"},
		"unix:///run/redis.sock":          {Network: "unix", Address: "/run/redis.sock"},
		"unix://:pw@/run/redis.sock?db=2": {Network: "unix", Address: "/run/redis.sock", Password: config.NewSecret("pw"), DB: 2},
	} {
		got, err := config.Redis{URL: config.NewURL(text)}.Endpoint()
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestRedis_Endpoint_refuses_the_rest_by_shape(t *testing.T) {
	t.Parallel()
	const (
		unparsed  = "a URL that cannot be parsed"
		noHost    = "a URL without host"
		port      = "a URL with a port outside 1 to 65535"
		database  = "a URL whose database is not a number"
		twoDBs    = "a URL with two database numbers"
		unescaped = "a URL with an unescaped character in its password"
		fragment  = "a URL with a fragment, the part behind #"
		host      = "a URL with a host that holds other characters than letters, digits, dots, - and _; a query begins with ?"
		noPath    = "a unix URL without an absolute path"
		key       = "a URL with a query key or value that is not known here (known: db, username, password, with rediss ssl_cert_reqs=required or none, and with Sentinel sentinel_username and sentinel_password)"
		list      = "a list of URLs; write scheme, user and password once, then host:port,host:port"
		clusterDB = "a list of Cluster nodes with a database, of which a Cluster has only 0"
		master    = "a Sentinel address without the name of a master as its path"
	)
	for text, got := range map[string]string{
		"http://redis:6379":                          "a URL with scheme http",
		"secret://redis:6379":                        "19 characters",
		"redis:6379":                                 "10 characters",
		"redis":                                      "5 letters",
		"//redis:6379":                               "12 characters",
		"\xff://":                                    "text that is not UTF-8",
		"redis://":                                   noHost,
		"redis://:6379":                              noHost,
		"redis:///0":                                 noHost,
		"redis://:pw@":                               noHost,
		"redis://:pw@:6379":                          noHost,
		"redis://r:0":                                port,
		"redis://r:65536":                            port,
		"redis://r:99999999999999999999":             port,
		"redis://r:http":                             unparsed,
		"redis://r:6379:6379":                        "a URL with two ports",
		"redis://a b":                                unparsed,
		"redis://r\n":                                unparsed,
		"redis://[::1":                               unparsed,
		"redis://:100%sure@r":                        unparsed,
		"redis://:pa/ss@r":                           unparsed,
		"redis://:123/4@r":                           unescaped,
		"redis://u:1#2@r":                            unescaped,
		"redis://r/1#2":                              fragment,
		"redis://r;db=1":                             host,
		"redis://a,b;db=1":                           host,
		"redis://räka":                               host,
		"redis://u:1?2@r":                            key,
		"redis://r/zero":                             database,
		"redis://r/-1":                               database,
		"redis://r/0/1":                              database,
		"redis://r//":                                database,
		"redis://r/99999999999":                      database,
		"redis://r?db=x":                             database,
		"redis://r/1?db=2":                           twoDBs,
		"redis://r?db=1&db=2":                        "a URL with a query key given twice",
		"redis://r?db=1;x":                           "a URL with a query that cannot be parsed",
		"redis://r?socket_timeout=5":                 key,
		"redis://r?ssl_cert_reqs=none":               key,
		"rediss://r?ssl_cert_reqs=maybe":             key,
		"redis://:pw@r?password=pw2":                 key,
		"unix://":                                    noPath,
		"unix:///":                                   noPath,
		"unix://run/redis.sock":                      noPath,
		"redis://a:1,redis://b:2":                    list,
		"redis://:pw@a:1,redis://:pw@b:2":            list,
		"redis://a:1,b:2/1":                          clusterDB,
		"redis://a:1,b:2?db=1":                       clusterDB,
		"redis://a:1,":                               noHost,
		"redis://,a:1":                               noHost,
		"redis://a:1,b:0":                            port,
		"redis://a:1,b:x":                            unparsed,
		"redis://a:1,b:1:2":                          "a URL with two ports",
		"redis://a:1,[::1":                           unparsed,
		"redis://a:1,b c":                            unparsed,
		"redis://a,b?sentinel_password=x":            key,
		"redis+sentinel://a:26379,b:26379":           master,
		"redis+sentinel://a/":                        master,
		"redis+sentinel:///main":                     noHost,
		"redis+sentinel://a//1":                      master,
		"redis+sentinel://a/my%20main":               master,
		"redis+sentinel://a/main/x":                  database,
		"redis+sentinel://a/main/1/2":                database,
		"redis+sentinel://a/main/1?db=1":             twoDBs,
		"redis+sentinel://a/main?ssl_cert_reqs=none": key,
		"redis+sentinel://a:1/main,redis+sentinel://b:1/main": database,
		"redis+sentinel://a:1,redis+sentinel://b:1/main":      list,
		"unix+sentinel://a/main":                              "22 characters",
	} {
		_, err := config.Redis{URL: config.NewURL(text)}.Endpoint()
		var settings *config.Error
		require.ErrorAs(t, err, &settings, text)
		require.Len(t, settings.Faults, 1)
		require.Equal(t, got, settings.Faults[0].Got, text)
		require.Contains(t, settings.Faults[0].Want, "redis://")
		require.Contains(t, settings.Faults[0].Want, "rediss://")
		require.Contains(t, settings.Faults[0].Want, "unix://")

		require.Error(t, config.Config{Redis: config.Redis{URL: config.NewURL(text)}}.Validate())
	}
}

func TestConfig_Validate_checks_the_fallback_url(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://calendar:5003/manual-sync", "https://user:pw@calendar.example.com/x?y=z", "http://[::1]:80", "http://10.0.0.1"} {
		require.NoError(t, config.Config{Fallback: config.Fallback{URL: config.NewURL(text)}}.Validate(), text)
	}
	for text, got := range map[string]string{
		"redis://calendar":      "a URL with scheme redis",
		"calendar:5003":         "13 characters",
		"http://":               "a URL without host",
		"http:///manual-sync":   "a URL without host",
		"http://calendar:70000": "a URL with a port outside 1 to 65535",
		"http://a:b:c":          "a URL that cannot be parsed",
		"http://u:p/w@calendar": "a URL that cannot be parsed",
		"http://u:1/w@calendar": "a URL with an unescaped character in its password",
		"http://u:1#w@calendar": "a URL with an unescaped character in its password",
		"http://u:1?w@calendar": "a URL with an unescaped @ in its password or its query",
		"http://calendar/#top":  "a URL with a fragment, the part behind #",
		"http://calendar;a=b/":  "a URL with a host that holds other characters",
	} {
		err := config.Config{Fallback: config.Fallback{URL: config.NewURL(text)}}.Validate()
		require.ErrorContains(t, err, "Fallback.URL (FOGIS_FALLBACK_URL): got "+got, text)
		require.ErrorContains(t, err, ", want http://", text)
	}
	both := config.Fallback{URL: config.NewURL("http://user:pw@calendar/"), Token: config.NewSecret("t0ken")}
	require.ErrorContains(t, config.Config{Fallback: both}.Validate(), "Fallback.Token (FOGIS_FALLBACK_TOKEN): got a token beside a user in FOGIS_FALLBACK_URL")
}

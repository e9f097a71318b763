package config_test

import (
	"strings"
	"testing"

	"github.com/PitchConnect/fogispubsub/config"
)

// FuzzFromEnv puts the marker where a password or token stands, between texts
// that the fuzzer chooses, and as the value of what is neither shown nor used.
func FuzzFromEnv(f *testing.F) {
	for _, seed := range [][6]string{
		{"redis", "user", "", "", "host:6379/0", "5"},
		{"rediss", "", "%40", "", "[::1]:6380?ssl_cert_reqs=none", "yes"},
		{"unix", "", "", "", "/run/redis.sock?db=1", "0.5s"},
		{"https", "u", "a/", "#b", "calendar.example.com/manual-sync", "-1"},
		{"redis", "u", "1@h/", "?x", "h,redis://b:1", "{a}"},
		{"redis://a,b/", ":", "@@", "%zz", "", "\xff\x00"},
		{"redis+sentinel", "", ":", "&db=", "a,b/main", "tcp://10.0.0.9:6379"},
		{"http:", "?", "\n", " ", "@", "fogis:matches:updates"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5])
	}
	f.Fuzz(func(t *testing.T, scheme, user, before, after, rest, other string) {
		if strings.Contains(strings.ToLower(scheme+user+rest+other), "s3k") {
			return // the fuzzer found the marker itself, and put it where no secret stands
		}
		address := scheme + "://" + user + ":" + before + marker + after + "@" + rest
		every := env{}
		for _, name := range documented() {
			every[name] = other
		}
		secret := env{"REDIS_URL": address, "FOGIS_FALLBACK_URL": address, "FOGIS_FALLBACK_TOKEN": before + marker + after}
		misplaced := env{"REDIS_HOST": address, "REDIS_TIMEOUT": marker + other, "REDIS_ENABLED": marker, "REDIS_DB": address, "REDIS_MAX_RETRIES": other + marker}
		for _, e := range []env{every, secret, misplaced} {
			c, err := config.FromEnv(e.get)
			if err != nil {
				requireHidden(t, err)
				continue
			}
			requireHidden(t, c)
			if err := c.Validate(); err != nil {
				t.Fatalf("FromEnv accepted what Validate refuses: %v", err)
			}
			if _, err := c.Redis.Endpoint(); err != nil {
				t.Fatalf("FromEnv accepted what Endpoint refuses: %v", err)
			}
		}
	})
}

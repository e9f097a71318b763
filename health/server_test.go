package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var saved = time.Unix(1_790_000_000, 0)

// cannedInfo is what a server of that kind answered to INFO after one PUBLISH,
// SET, GET and SAVE, without the lines that name its machine, with fields set
// otherwise. Redis 8 is its first milestone, which calls itself 7.9.224, and has
// its append-only file on; the others are as they come.
func cannedInfo(t testing.TB, name string, set ...string) info {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	require.NoError(t, err)
	fields := parseInfo(string(text))
	for i := 0; i < len(set); i += 2 {
		require.Contains(t, fields, set[i], "a field that the server has")
		fields[set[i]] = set[i+1]
	}
	return fields
}

func TestServer_cannedInfo_isHealthy(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]string{"redis6": "6.2.16", "redis7": "7.0.15", "redis8": "7.9.224", "valkey8": "7.2.4"} {
		f := cannedInfo(t, name)
		p := performance(f)
		require.Equal(t, Healthy, p.Status, "%s: %v", name, p.Err())
		require.Equal(t, version, p.Details["redis_version"], name)
		require.Positive(t, p.Details["used_memory"], name)
		require.Equal(t, Healthy, eviction(f, true).Status, name)
		require.Equal(t, Healthy, persistence(f, false, saved).Status, name)
		if name == "redis8" {
			require.Equal(t, Healthy, persistence(f, true, saved).Status, name)
		} else {
			require.Contains(t, persistence(f, true, saved).Err().Error(), "appendonly", name)
		}
		if name == "valkey8" {
			require.Equal(t, "8.0.1", p.Details["valkey_version"])
			require.Equal(t, "standalone", p.Details["server_mode"], "its name for redis_mode")
		}
	}
}

func TestServer_thresholds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		check string
		keeps bool
		set   []string
		want  State
		says  string
	}{
		{"performance", false, []string{"used_memory", "209715199"}, Healthy, ""},
		{"performance", false, []string{"used_memory", "209715200"}, Degraded, "200 MB of memory"},
		{"performance", false, []string{"used_memory", "251658240"}, Degraded, "critical: 240 MB"},
		{"performance", false, []string{"used_memory", "251658240", "maxmemory", "1073741824"}, Healthy, ""},
		{"performance", false, []string{"used_memory", "900000000", "maxmemory", "1073741824"}, Degraded, "858 MB of memory are used, 800 are good"},
		{"performance", false, []string{"connected_clients", "50"}, Healthy, ""},
		{"performance", false, []string{"connected_clients", "51"}, Degraded, "51 clients"},
		{"performance", false, []string{"keyspace_hits", "0", "keyspace_misses", "101"}, Healthy, "0 % of the keys"},
		{"performance", false, []string{"keyspace_hits", "81", "keyspace_misses", "20"}, Healthy, ""},
		{"performance", false, []string{"loading", "1"}, Unhealthy, "loads its data"},
		{"performance", false, []string{"role", "slave"}, Unhealthy, "replica"},
		{"persistence", false, nil, Healthy, "appendonly"},
		{"persistence", true, nil, Degraded, "appendonly"},
		{"persistence", true, []string{"aof_enabled", "1"}, Healthy, ""},
		{"persistence", true, []string{"rdb_changes_since_last_save", "7", "rdb_last_save_time", "1789996399"}, Degraded, "7 changes"},
		{"persistence", true, []string{"aof_enabled", "1", "aof_last_write_status", "err"}, Degraded, "aof_last_write_status is err"},
		{"persistence", false, []string{"rdb_last_bgsave_status", "err"}, Degraded, "refuse every write"},
		{"eviction", true, []string{"maxmemory_policy", "allkeys-lru"}, Healthy, "would evict streams"},
		{"eviction", true, []string{"maxmemory_policy", "allkeys-lru", "maxmemory", "268435456"}, Degraded, "noeviction"},
		{"eviction", false, []string{"maxmemory_policy", "allkeys-lru", "maxmemory", "268435456"}, Healthy, "would evict"},
		{"eviction", true, []string{"maxmemory_policy", "allkeys-lru", "evicted_keys", "3"}, Degraded, "evicted 3 keys"},
		{"eviction", true, []string{"maxmemory_policy", "volatile-ttl", "maxmemory", "268435456"}, Healthy, ""},
	} {
		t.Run(test.check+"/"+strings.Join(test.set, ","), func(t *testing.T) {
			f := cannedInfo(t, "redis7", test.set...)
			var c Check
			switch test.check {
			case "performance":
				c = performance(f)
			case "persistence":
				c = persistence(f, test.keeps, saved)
			case "eviction":
				c = eviction(f, test.keeps)
			}
			require.Equal(t, test.want, c.Status, c.Findings)
			var said []string
			for _, finding := range c.Findings {
				said = append(said, finding.String())
			}
			if test.says == "" {
				require.Empty(t, said)
			} else {
				require.Contains(t, strings.Join(said, "\n"), test.says)
			}
		})
	}
}

func TestOutputBuffer(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]State{
		"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60": Healthy,
		"normal 0 0 0 replica 0 0 0 pubsub 0 0 0":                             Healthy,
		"normal 0 0 0 slave 0 0 0 pubsub 1048576 0 0":                         Degraded,
		"pubsub":       Unknown,
		"pubsub 1 2":   Unknown,
		"pubsub a b c": Unknown,
		"":             Unknown,
	} {
		require.Equal(t, want, outputBuffer(value).Status, value)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	require.Equal(t, Healthy, clock(-time.Second, 0).Status)
	require.Equal(t, Degraded, clock(1001*time.Millisecond, 0).Status)
	require.Equal(t, Healthy, clock(1100*time.Millisecond, 200*time.Millisecond).Status, "the answer's way is no difference")
	require.ErrorContains(t, clock(-time.Hour, 0).Err(), "NTP")
}

func TestNewReport_judgesTogether(t *testing.T) {
	t.Parallel()
	check := func(name string, s State) Check { return Check{Name: name, Status: s} }
	for _, test := range []struct {
		connection, pubsub, fallback, other, want State
	}{
		{Healthy, Healthy, Healthy, Healthy, Healthy},
		{Healthy, Healthy, "", Unknown, Healthy},
		{Healthy, Healthy, Unhealthy, Healthy, Degraded},
		{Healthy, Healthy, "", Degraded, Degraded},
		{Healthy, Healthy, "", Unhealthy, Degraded},
		{Degraded, Healthy, "", Healthy, Degraded},
		{Unhealthy, Unknown, Healthy, Healthy, Degraded},
		{Unhealthy, Unknown, Unhealthy, Healthy, Unhealthy},
		{Unhealthy, Unknown, "", Healthy, Unhealthy},
		{Healthy, Unhealthy, Healthy, Healthy, Degraded},
		{Unknown, Unknown, Healthy, Healthy, Unknown},
	} {
		checks := []Check{check(NameConnectivity, test.connection), check(NamePubSub, test.pubsub), check("other", test.other)}
		if test.fallback != "" {
			checks = append(checks, check(NameFallback, test.fallback))
		}
		r := NewReport(saved, checks...)
		require.Equal(t, test.want, r.Overall, "%+v", test)
		if test.connection == Unhealthy && test.fallback == Healthy {
			require.Equal(t, "⚠️ Degraded: Redis unavailable - HTTP fallback active", r.Summary)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, name := range []string{"redis6", "redis7", "redis8", "valkey8"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add("used_memory:99999999999999999999\nmaxmemory:-1\nkeyspace_hits:-5\nkeyspace_misses:5")
	f.Fuzz(func(t *testing.T, text string) {
		fields := parseInfo(text)
		for _, c := range []Check{performance(fields), persistence(fields, true, saved), eviction(fields, true), outputBuffer(text)} {
			if _, err := c.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

package devserver

import (
	"fmt"
	"path"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// version is the Redis whose commands miniredis mostly has.
const version = "7.2.0"

// answer is asked before miniredis for every command and tells whether it has
// answered. It serves what health checks ask and miniredis does not know.
func (s *Server) answer(c *server.Peer, cmd string, args ...string) bool {
	sub := ""
	if len(args) > 0 {
		sub = strings.ToUpper(args[0])
	}
	switch {
	case cmd == "INFO":
		c.WriteBulk(s.info(args))
	case cmd == "CONFIG" && sub == "GET" && len(args) > 1:
		values := configValues(args[1:], s.limit)
		c.Block(func(w *server.Writer) {
			w.WriteMapLen(len(values))
			for _, v := range values {
				w.WriteBulk(v.name)
				w.WriteBulk(v.value)
			}
		})
	case cmd == "CLIENT" && sub == "SETINFO" && len(args) == 3:
		c.WriteOK()
	default:
		return false
	}
	return true
}

type setting struct{ name, value string }

// section is a part of INFO.
type section struct {
	name   string
	values []setting
}

// info answers INFO: the sections that args name, or all. A name that no
// section has brings nothing, as in Redis.
func (s *Server) info(args []string) string {
	all := len(args) == 0
	want := map[string]bool{}
	for _, a := range args {
		a = strings.ToLower(a)
		all = all || a == "all" || a == "default" || a == "everything"
		want[a] = true
	}
	var b strings.Builder
	for _, sec := range s.sections() {
		if !all && !want[strings.ToLower(sec.name)] {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		fmt.Fprintf(&b, "# %s\r\n", sec.name)
		for _, v := range sec.values {
			fmt.Fprintf(&b, "%s:%s\r\n", v.name, v.value)
		}
	}
	return b.String()
}

func (s *Server) sections() []section {
	s.mu.Lock()
	clients := len(s.conns)
	port := "0"
	if s.listener != nil {
		addr := s.listener.Addr().String()
		port = addr[strings.LastIndexByte(addr, ':')+1:]
	}
	s.mu.Unlock()
	up := int(time.Since(s.started).Seconds())
	used := heapBytes()
	redis := s.redis.Server()
	return []section{
		{"Server", []setting{
			{"redis_version", version}, {"redis_mode", "standalone"}, {"server_name", "fogispubsub-devserver"},
			{"os", runtime.GOOS + " " + runtime.GOARCH}, {"tcp_port", port},
			{"uptime_in_seconds", fmt.Sprint(up)}, {"uptime_in_days", fmt.Sprint(up / 86400)},
		}},
		{"Clients", []setting{{"connected_clients", fmt.Sprint(clients)}}},
		{"Memory", []setting{
			{"used_memory", fmt.Sprint(used)}, {"used_memory_human", fmt.Sprintf("%.2fM", float64(used)/(1<<20))},
			{"used_memory_peak", fmt.Sprint(used)}, {"maxmemory", "0"}, {"maxmemory_human", "0B"},
			{"maxmemory_policy", "noeviction"}, {"mem_fragmentation_ratio", "1.00"},
		}},
		{"Persistence", []setting{
			{"loading", "0"}, {"async_loading", "0"}, {"rdb_changes_since_last_save", "0"}, {"rdb_bgsave_in_progress", "0"},
			{"rdb_last_bgsave_status", "ok"}, {"aof_enabled", "0"}, {"aof_rewrite_in_progress", "0"}, {"aof_last_write_status", "ok"},
		}},
		{"Stats", []setting{
			{"total_connections_received", fmt.Sprint(redis.TotalConnections() - 1)}, // one was ours
			{"total_commands_processed", fmt.Sprint(redis.TotalCommands())},
			{"rejected_connections", "0"}, {"evicted_keys", "0"},
		}},
		{"Replication", []setting{{"role", "master"}, {"connected_slaves", "0"}}},
		{"Cluster", []setting{{"cluster_enabled", "0"}}},
	}
}

// configValues answers CONFIG GET for the settings that health checks read, in
// a fixed order. The names may be patterns.
func configValues(names []string, limit int) []setting {
	if limit < 0 {
		limit = 0 // Redis writes no limit as zero
	}
	var found []setting
	for _, s := range []setting{
		{"appendonly", "no"},
		{"client-output-buffer-limit", fmt.Sprintf("normal 0 0 0 slave 0 0 0 pubsub %d 0 0", limit)},
		{"databases", "16"},
		{"maxmemory", "0"},
		{"maxmemory-policy", "noeviction"},
		{"notify-keyspace-events", ""},
		{"save", ""},
		{"timeout", "0"},
	} {
		for _, name := range names {
			if ok, _ := path.Match(strings.ToLower(name), s.name); ok {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

// heapBytes is the memory in use by the whole process, since the server has
// none of its own.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// Question is what [Server] asks with.
type Question struct {
	// Channels lead to the servers that are asked: of a Cluster those that have
	// the channels, otherwise one.
	Channels []string
	// Keeps tells that messages are kept in streams there: then it counts
	// whether they survive a restart and a full memory.
	Keeps bool
	// Commands are what the user must be allowed to send to the channel's
	// server, by channel; none is sent for its effect, see [Server].
	Commands map[string][][]any
}

// Server asks for what INFO, CONFIG, TIME and the user's rights tell, and
// returns the checks performance, persistence, eviction, output_buffer, clock
// and permissions. The worst answer of several servers counts.
//
// The rights are asked for by queuing each command in a MULTI that is
// discarded: Redis refuses there what the user may not do, and runs nothing.
func Server(ctx context.Context, conn redis.UniversalClient, q Question) []Check {
	ctx, cancel := bounded(ctx)
	defer cancel()
	checks := []Check{{Name: NamePerformance}, {Name: NamePersistence}, {Name: NameEviction}, {Name: NameOutputBuffer}, {Name: NameClock}, {Name: NamePermissions}}
	for i := range checks {
		checks[i].Status = Healthy
	}
	nodes, err := nodesOf(ctx, conn, q.Channels)
	if err != nil {
		for i := range checks {
			checks[i] = unasked(checks[i].Name, err, "")
		}
		return checks
	}
	for _, n := range nodes {
		for i, c := range n.ask(ctx, q) {
			n.name(&c, len(nodes) > 1)
			merge(&checks[i], c)
		}
	}
	return checks
}

// node is one server and the channels that are its.
type node struct {
	conn     redis.UniversalClient
	addr     string
	channels []string
}

func nodesOf(ctx context.Context, conn redis.UniversalClient, channels []string) ([]*node, error) {
	var nodes []*node
	byConn := map[redis.UniversalClient]*node{}
	for _, channel := range channels {
		c, err := topology.Node(ctx, conn, channel)
		if err != nil {
			return nil, err
		}
		n := byConn[c]
		if n == nil {
			n = &node{conn: c, addr: topology.Addr(c)}
			byConn[c] = n
			nodes = append(nodes, n)
		}
		n.channels = append(n.channels, channel)
	}
	if len(nodes) == 0 {
		nodes = []*node{{conn: conn, addr: topology.Addr(conn)}}
	}
	return nodes, nil
}

// name says in the findings which of several servers they are of.
func (n *node) name(c *Check, several bool) {
	if !several {
		return
	}
	for i := range c.Findings {
		c.Findings[i].Reason = n.addr + ": " + c.Findings[i].Reason
	}
	if len(c.Details) > 0 {
		c.Details = map[string]any{n.addr: c.Details}
	}
}

// merge adds what one server answered.
func merge(into *Check, c Check) {
	if worse(c.Status, into.Status) {
		into.Status = c.Status
	}
	into.Elapsed = max(into.Elapsed, c.Elapsed)
	into.Findings = append(into.Findings, c.Findings...)
	for name, value := range c.Details {
		if into.Details == nil {
			into.Details = map[string]any{}
		}
		into.Details[name] = value
	}
}

// ask returns the checks in the order of Server.
func (n *node) ask(ctx context.Context, q Question) []Check {
	began := time.Now()
	text, err := n.conn.Info(ctx).Result()
	took := time.Since(began)
	var checks []Check
	if err != nil {
		const cure = "the check needs the right +info"
		for _, name := range []string{NamePerformance, NamePersistence, NameEviction} {
			checks = append(checks, unasked(name, err, cure))
		}
	} else {
		info := parseInfo(text)
		checks = append(checks, performance(info), persistence(info, q.Keeps, time.Now()), eviction(info, q.Keeps))
		for i := range checks {
			checks[i].Elapsed = took
		}
	}
	return append(checks, n.outputBuffer(ctx), n.clock(ctx), n.permissions(ctx, q))
}

// info is what INFO answered, by the names of its fields.
type info map[string]string

// parseInfo reads any text: lines that are no field are passed over.
func parseInfo(text string) info {
	fields := info{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		if name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":"); ok && !strings.HasPrefix(name, "#") {
			fields[name] = value
		}
	}
	return fields
}

// number is a field as a number; known is false when it is not there.
func (f info) number(name string) (n int64, known bool) {
	n, err := strconv.ParseInt(f[name], 10, 64)
	return n, err == nil
}

// detail puts fields into the details, numbers as numbers.
func (f info) detail(names ...string) map[string]any {
	details := map[string]any{}
	for _, name := range names {
		if n, ok := f.number(name); ok {
			details[name] = n
		} else if text, ok := f[name]; ok {
			details[name] = text
		}
	}
	return details
}

// The thresholds of the health monitor and its guide (docs/wire.md §9.1, §9.2).
// The bytes are those of a server with 256 MB; one that is limited otherwise is
// judged by the same share of its limit.
const (
	mega           = 1 << 20
	guideLimit     = 256 * mega
	memoryWarning  = 200 * mega
	memoryCritical = 240 * mega
	manyClients    = 50
	fewHits        = 80.0
	fewRequests    = 100
)

func performance(f info) Check {
	c := Check{Name: NamePerformance, Status: Healthy, Details: f.detail(
		"redis_version", "valkey_version", "redis_mode", "server_mode", "role", "uptime_in_seconds", "connected_clients", "used_memory", "maxmemory",
		"total_commands_processed", "instantaneous_ops_per_sec", "evicted_keys", "rejected_connections")}
	if f["loading"] == "1" {
		c.Find(Unhealthy, "the server loads its data and takes no commands yet", "wait; it tells how far it is in INFO persistence")
	}
	if role := f["role"]; role != "" && role != "master" {
		c.Find(Unhealthy, "the server is a replica: what is published there reaches its own listeners only", "set REDIS_URL to the master, or to the Sentinels")
	}
	used, known := f.number("used_memory")
	limit, _ := f.number("maxmemory")
	share := func(of int64) int64 {
		if limit > 0 {
			return int64(float64(of) / guideLimit * float64(limit))
		}
		return of
	}
	switch {
	case !known:
	case used >= share(memoryCritical):
		c.Find(Degraded, fmt.Sprintf("critical: %d MB of memory are used, %d are good", used/mega, share(memoryWarning)/mega), "raise maxmemory, or bound the streams (REDIS_STREAM_MAX_BYTES)")
	case used >= share(memoryWarning):
		c.Find(Degraded, fmt.Sprintf("%d MB of memory are used, %d are good", used/mega, share(memoryWarning)/mega), "look for what else is kept there (redis-cli --bigkeys)")
	}
	if clients, ok := f.number("connected_clients"); ok && clients > manyClients {
		c.Find(Degraded, fmt.Sprintf("%d clients are connected, more than %d", clients, manyClients), "look for connections that are not closed (CLIENT LIST)")
	}
	hits, _ := f.number("keyspace_hits")
	misses, _ := f.number("keyspace_misses")
	rate := 100.0
	if hits+misses > 0 {
		rate = float64(hits) / float64(hits+misses) * 100
	}
	c.Details["hit_rate"] = float64(int(rate*10)) / 10
	if rate < fewHits && hits+misses > fewRequests {
		// The monitor warns. For messages a key that is not there is no fault.
		c.Find(Healthy, fmt.Sprintf("%.0f %% of the keys that were asked for exist; for pub/sub and streams that says nothing", rate), "")
	}
	return c
}

// oldSave is when a snapshot counts as old.
const oldSave = time.Hour

func persistence(f info, keeps bool, now time.Time) Check {
	c := Check{Name: NamePersistence, Status: Healthy, Details: f.detail(
		"aof_enabled", "aof_last_write_status", "rdb_last_bgsave_status", "rdb_last_save_time", "rdb_changes_since_last_save")}
	bad := Healthy // without streams nothing of ours is lost by it
	if keeps {
		bad = Degraded
	}
	if f["aof_enabled"] == "0" {
		c.Find(bad, "the server does not write what it keeps to disk at once (appendonly no)", "CONFIG SET appendonly yes, and in its file; with appendfsync always if no message may be lost")
		changes, _ := f.number("rdb_changes_since_last_save")
		if saved, ok := f.number("rdb_last_save_time"); ok && changes > 0 && now.Sub(time.Unix(saved, 0)) > oldSave {
			c.Find(bad, fmt.Sprintf("the last snapshot is older than %v, and %d changes came since", oldSave, changes), "set save points, or appendonly yes")
		}
	}
	for _, name := range []string{"aof_last_write_status", "rdb_last_bgsave_status"} {
		if status, ok := f[name]; ok && status != "ok" {
			c.Find(Degraded, name+" is "+clip(status)+": Redis may refuse every write until this is fixed", "look at the server's log and its disk; "+withoutSnapshots)
		}
	}
	return c
}

func eviction(f info, keeps bool) Check {
	c := Check{Name: NameEviction, Status: Healthy, Details: f.detail("maxmemory_policy", "maxmemory", "evicted_keys")}
	policy := f["maxmemory_policy"]
	limit, _ := f.number("maxmemory")
	evicted, _ := f.number("evicted_keys")
	if !strings.HasPrefix(policy, "allkeys-") {
		return c
	}
	const cure = "CONFIG SET maxmemory-policy noeviction, and in its file"
	switch {
	case keeps && evicted > 0:
		c.Find(Degraded, fmt.Sprintf("the policy %s has evicted %d keys: streams are among what it may take", clip(policy), evicted), cure)
	case keeps && limit > 0:
		c.Find(Degraded, fmt.Sprintf("the policy %s evicts streams when the memory is full, without a word", clip(policy)), cure)
	default:
		c.Find(Healthy, fmt.Sprintf("the policy %s would evict streams when the memory is full", clip(policy)), cure)
	}
	return c
}

// smallBuffer is the limit under which a few of the largest messages close a
// listener's connection: Redis' default is 32 MB, a message at most 8.
const smallBuffer = 32 * mega

func (n *node) outputBuffer(ctx context.Context) Check {
	const setting = "client-output-buffer-limit"
	began := time.Now()
	answer, err := n.conn.ConfigGet(ctx, setting).Result()
	if err != nil {
		return unasked(NameOutputBuffer, err, "the check needs the right +config|get")
	}
	c := outputBuffer(answer[setting])
	c.Elapsed = time.Since(began)
	return c
}

// outputBuffer judges "normal 0 0 0 slave … pubsub <hard> <soft> <seconds>".
func outputBuffer(value string) Check {
	c := Check{Name: NameOutputBuffer, Status: Healthy}
	words := strings.Fields(value)
	for i, word := range words {
		if word != "pubsub" || i+3 >= len(words) {
			continue
		}
		hard, err := strconv.ParseInt(words[i+1], 10, 64)
		soft, err2 := strconv.ParseInt(words[i+2], 10, 64)
		if err != nil || err2 != nil {
			break
		}
		c.Details = map[string]any{"pubsub_hard_bytes": hard, "pubsub_soft_bytes": soft, "pubsub_soft_seconds": words[i+3]}
		if hard > 0 && hard < smallBuffer {
			c.Find(Degraded, fmt.Sprintf("a listener is cut off when %d MB wait for it; a message may have 8", hard/mega), "CONFIG SET client-output-buffer-limit \"pubsub 33554432 8388608 60\"")
		}
		return c
	}
	return unasked(NameOutputBuffer, errors.New("the server does not tell it"), "")
}

// maxClockDifference is what two clocks kept by NTP never have.
const maxClockDifference = time.Second

func (n *node) clock(ctx context.Context) Check {
	began := time.Now()
	theirs, err := n.conn.Time(ctx).Result()
	took := time.Since(began)
	if err != nil {
		return unasked(NameClock, err, "the check needs the right +time")
	}
	return clock(theirs.Sub(began.Add(took/2)), took)
}

func clock(ahead, took time.Duration) Check {
	c := Check{Name: NameClock, Status: Healthy, Elapsed: took, Details: map[string]any{"server_ahead_ms": ahead.Milliseconds()}}
	if ahead.Abs() > maxClockDifference+took/2 {
		c.Find(Degraded, fmt.Sprintf("the server's clock and this computer's differ by %v: ages of messages are wrong by that", ahead.Abs().Round(time.Millisecond)), "let both follow NTP")
	}
	return c
}

// clip bounds what a server or a setting says.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

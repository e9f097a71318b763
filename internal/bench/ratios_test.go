package bench_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

var (
	pairs  = flag.Int("pairs", 1, "how many pairs to measure; fewer than 15 only show that the rows work")
	update = flag.Bool("update", false, "write baseline.txt from the results")
	only   = flag.String("row", "", "run the rows whose name matches this regular expression")
)

const baselineFile = "baseline.txt"

// TestRatios measures every row of the comparison. See the package comment.
func TestRatios(t *testing.T) {
	require.Positive(t, *pairs, "-pairs")
	wanted, err := regexp.Compile(*only)
	require.NoError(t, err, "-row")
	server := realredis.Start(t)
	before := machine(t, server)

	var results []*result
	for _, row := range rows {
		if !wanted.MatchString(row.name) {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			r := row.run(t, server)
			require.NotEmpty(t, r.values)
			r.row = row
			results = append(results, r)
		})
	}
	if t.Failed() || len(results) == 0 {
		return
	}

	text, err := os.ReadFile(baselineFile)
	require.NoError(t, err)
	baseline, err := parseBaseline(string(text))
	require.NoError(t, err)
	fmt.Println(before)
	report(os.Stdout, results, baseline, *pairs)
	if *update {
		require.True(t, *pairs >= minPairs && *only == "", "-update wants all rows and at least %d pairs", minPairs)
		require.NoError(t, os.WriteFile(baselineFile, []byte(baselineText(results, before)), 0o644))
	}
}

// judging tells whether the run is long enough to judge by; else it is for
// sanity only, and small.
func judging() bool { return *pairs >= minPairs }

// slice is how many operations a slice has: many, or few for sanity.
func slice(many, few int) int {
	if judging() {
		return many
	}
	return few
}

var rows = []row{
	{
		name: "publish/raw", measure: "publish, matches given as raw JSON", against: "`json.Valid` + `PUBLISH` of the same bytes",
		run: publishRaw, demands: []demand{reaches(1)},
	},
	{
		name: "publish/status", measure: "publish, status", against: "`PUBLISH` of the same bytes",
		run: publishStatus, demands: []demand{reaches(0.9), moreAllocs(6)},
	},
	{
		name: "publish/typed", measure: "publish, matches as Go values", against: "`json.Marshal` + `PUBLISH`",
		run: publishTyped, demands: []demand{reaches(0.9)},
	},
	{
		name: "receive/snapshot", measure: "receive, typed handler, snapshot", against: "receive + `json.Unmarshal`, same reading",
		run: receiveSnapshot, demands: []demand{reaches(2)},
	},
	{
		name: "receive/status", measure: "receive, typed handler, status", against: "receive + `json.Unmarshal`, same reading",
		run: receiveStatus, demands: []demand{reaches(0.95)},
	},
	{
		name: "unhandled/snapshot", measure: "receive, type without handler, snapshot", against: "bare receive loop",
		run: unhandledSnapshot, demands: []demand{reaches(0.8)},
	},
	{
		name: "unhandled/status", measure: "receive, type without handler, status", against: "bare receive loop",
		run: unhandledStatus, demands: []demand{reaches(0.8)},
	},
	{
		name: "latency/receive", measure: "latency (p50) at 1 000 statuses a second, from `PUBLISH` to handler", against: "bare loop",
		run: latencyReceive, demands: []demand{reaches(1 / 1.1), moreCPU(10)},
	},
	{
		name: "latency/read", measure: "the same", against: "a loop that reads it by `json.Unmarshal`",
		run: latencyRead, demands: []demand{reaches(1 / 1.1), moreCPU(10)},
	},
	{
		name: "latency/both", measure: "the same from `Publish` to handler", against: "`PUBLISH` of the same bytes, bare loop",
		run: latencyBoth, demands: []demand{reaches(1 / 1.1), moreCPU(10)},
	},
	{
		name: "durable/publish", measure: "durable publish of a status, receipt included", against: "`MULTI` of `XADD` and `PUBLISH` of the same bytes",
		run: durablePublish, demands: []demand{reaches(0.9)},
	},
	{
		name: "durable/consume", measure: "consume and acknowledge statuses, handler that does nothing", against: "`XREADGROUP COUNT 100` + one `XACK` a batch, nothing decoded",
		run: durableConsume, demands: []demand{reaches(0.8)},
	},
	{
		name: "durable/replay", measure: "replay of 1 000 snapshots of 40 matches, decoded", against: "`XRANGE`, decoded by the SDK",
		run: durableReplay, demands: []demand{reaches(0.9)},
	},
	{
		name: "outbox/put", measure: "outbox put of a snapshot, synced", against: "bbolt update of the same bytes",
		run: outboxPut, demands: []demand{reaches(0.8)},
	},
	{
		name: "return", measure: "kill of the connection to handling again", against: "-",
		run: returnAfterKill, demands: []demand{within(10, "ms")},
	},
	{
		name: "heap/idle", measure: "heap of an idle publisher and subscriber", against: "-",
		run: idleHeap, demands: []demand{within(10, "MB")},
	},
	{
		name: "heap/growth", measure: "growth of the heap over 100 000 messages", against: "-",
		run: heapGrowth, demands: []demand{within(1, "B/message")},
	},
}

package faults_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
)

var (
	seedsFlag   = flag.String("seeds", "", "the seeds `a-b` to run in place of six, appending to the results")
	resultsFlag = flag.String("results", "results.jsonl", "the `file` of results")
	keepFlag    = flag.String("keep", "", "a `folder` for the journals and logs of all seeds")
)

// chosen are the seeds to run, and whether their results are kept.
func chosen(t *testing.T) (list []uint64, kept bool) {
	if *seedsFlag == "" {
		return []uint64{1, 2, 3, 403, 404, 405}, false
	}
	first, last, isRange := strings.Cut(*seedsFlag, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 64)
	require.NoError(t, err, "-seeds takes a-b")
	to, err := strconv.ParseUint(last, 10, 64)
	require.NoError(t, err, "-seeds takes a-b")
	for ; from <= to; from++ {
		list = append(list, from)
	}
	return list, true
}

func TestSeeds(t *testing.T) {
	list, kept := chosen(t)
	var mu sync.Mutex
	var results []faults.Result
	t.Run("seed", func(t *testing.T) {
		for _, seed := range list {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				r := runSeed(t, seed)
				mu.Lock()
				defer mu.Unlock()
				results = append(results, r)
				if kept {
					keep(t, r)
				}
			})
		}
	})
	t.Logf("what happened:\n%s", faults.Table(results))
}

func runSeed(t *testing.T, seed uint64) faults.Result {
	dir := t.ArtifactDir()
	if *keepFlag != "" {
		dir = filepath.Join(*keepFlag, strconv.FormatUint(seed, 10))
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}
	w := newWorld(t, faults.NewPlan(seed), dir)
	v, records := w.run()
	for i, f := range v.Faults {
		if i == 20 {
			t.Errorf("… and %d more", len(v.Faults)-i)
			break
		}
		t.Error(f)
	}
	if t.Failed() {
		t.Logf("this repeats the seed and keeps its journal: go test -count=1 -run '^TestSeeds$' -v ./internal/faults -args -seeds %d -keep FOLDER", seed)
	}
	r := faults.Tally(w.plan, v, records)
	var line bytes.Buffer
	require.NoError(t, faults.WriteResult(&line, r))
	t.Logf("%slongest recovery: %s", line.Bytes(), v.Stalled)
	return r
}

func keep(t *testing.T, r faults.Result) {
	f, err := os.OpenFile(*resultsFlag, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	require.NoError(t, faults.WriteResult(f, r))
	require.NoError(t, f.Close())
}

// TestResults prints the sum of all results that are kept.
func TestResults(t *testing.T) {
	t.Parallel()
	results, err := faults.ReadResults(bytes.NewReader(readFile(t, *resultsFlag)))
	require.NoError(t, err)
	require.NotEmpty(t, results)
	t.Logf("%s:\n%s", *resultsFlag, faults.Table(results))
}

// The rows of docs/benchmarks.md are rows of that sum.
func TestResults_areTheFiguresOfThePage(t *testing.T) {
	t.Parallel()
	results, err := faults.ReadResults(bytes.NewReader(readFile(t, "results.jsonl")))
	require.NoError(t, err)
	var table []string
	for line := range strings.Lines(faults.Table(results)) {
		table = append(table, strings.Join(strings.Fields(line), " "))
	}
	_, page, _ := strings.Cut(string(readFile(t, "../../docs/benchmarks.md")), "## Random faults")
	page, _, found := strings.Cut(page, "## Speed")
	require.True(t, found)
	rows := 0
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(line, "|\n "), " | ")
		if len(cells) != 4 || cells[1] == "plain" {
			continue
		}
		rows++
		require.Contains(t, table, strings.Join(cells, " "))
	}
	require.Greater(t, rows, 10)
}

func TestTable(t *testing.T) {
	t.Parallel()
	records := history(t, `pub publishes 1
		pub publishes 2
		pub publishing 3
		fault on 1 Redis full
		a does 1
		a killed
		b does 1
		b does 2
		fault off 1
		wait 3s
		pub published 3
		wait 2s
		b does 3`)
	records = append(records, faults.Record{Who: "publisher.1", What: faults.Dies, At: records[len(records)-1].At})
	p := faults.Plan{Seed: 4, Mode: faults.Plain}
	r := faults.Tally(p, faults.Check(p.Mode, records, []faults.Key{{Type: message.TypeProcessingStatus, N: 9}}), records)
	require.Equal(t, 3, r.Messages)
	require.Equal(t, map[string]int{"stream": 3}, r.Receipts)
	require.Equal(t, 1, r.Faults[faults.ServerFull])
	require.Equal(t, 1, r.Faults[faults.PublisherDeath])
	require.Zero(t, r.Broken)

	var file bytes.Buffer
	other := r
	other.Mode, other.Gaps = faults.Trim, map[string]int{"trimmed unread": 2}
	for _, r := range []faults.Result{r, r, other} {
		require.NoError(t, faults.WriteResult(&file, r))
	}
	results, err := faults.ReadResults(&file)
	require.NoError(t, err)
	lines := map[string]string{}
	for line := range strings.Lines(faults.Table(results)) {
		fields := strings.Fields(line)
		lines[strings.Join(fields[:len(fields)-3], " ")] = strings.Join(fields[len(fields)-3:], " ")
	}
	require.Equal(t, "2 1 0", lines["seeds"])
	require.Equal(t, "6 3 0", lines["messages"])
	require.Equal(t, "6 3 0", lines["receipt by stream"])
	require.Equal(t, "2 1 0", lines["dead letters"])
	require.Equal(t, "2 1 0", lines["first process killed"])
	require.Equal(t, "0 2 0", lines["gaps reported of a stream"])
	require.Equal(t, "2 1 0", lines["Redis full"])
	require.Equal(t, "2.0 2.0 0.0", lines["longest recovery, in seconds"])

	_, err = faults.ReadResults(strings.NewReader("{}\nx\n"))
	require.ErrorContains(t, err, "line 2")
}

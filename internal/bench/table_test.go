package bench_test

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"
)

// minPairs is how many pairs it takes to judge a row.
const minPairs = 15

// report writes the results as text and as Markdown, with the medians of the
// committed baseline beside them.
func report(w io.Writer, results []*result, baseline map[string]float64, pairs int) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "row\tmedian\twas\tp25 to p75\tmin to max\tallocs SDK/hand\tCPU µs SDK/hand\tdecides\t")
	for _, r := range results {
		was := "-"
		if old, ok := baseline[r.name]; ok {
			was = fmt.Sprintf("%.2f", old)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.2f to %.2f\t%.2f to %.2f\t%s\t%s\t%s\t\n", r.name, figure(median(r.values), r.unit), was,
			quantile(r.values, 0.25), quantile(r.values, 0.75), quantile(r.values, 0), quantile(r.values, 1),
			r.perOp(cost.allocsPerOp), r.perOp(cost.cpuPerOp), r.verdict(pairs, demand.judged))
	}
	table.Flush()
	for _, r := range results {
		for _, fact := range r.facts {
			fmt.Fprintf(w, "%s: %s\n", r.name, fact)
		}
	}

	fmt.Fprintln(w, "\n| measure | against | wanted | median (p25 to p75) | allocations, SDK / by hand | CPU µs, SDK / by hand | verdict |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, r := range results {
		var wanted []string
		for _, d := range r.demands {
			wanted = append(wanted, d.wanted())
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s (%.2f to %.2f) | %s | %s | %s |\n", r.measure, r.against, strings.Join(wanted, ", "),
			figure(median(r.values), r.unit), quantile(r.values, 0.25), quantile(r.values, 0.75),
			r.perOp(cost.allocsPerOp), r.perOp(cost.cpuPerOp), r.verdict(pairs, demand.judged))
	}

	if pairs < minPairs {
		fmt.Fprintf(w, "\n%d rows work; nothing is judged by fewer than %d pairs\n", len(results), minPairs)
		return
	}
	holding := 0
	for _, r := range results {
		if r.holds() {
			holding++
		}
	}
	fmt.Fprintf(w, "\n%d of %d rows hold\n", holding, len(results))
}

// perOp is a figure of both sides, where there are two.
func (r *result) perOp(figure func(cost) float64) string {
	if !r.compared {
		return "-"
	}
	return fmt.Sprintf("%.1f / %.1f", figure(r.sdk), figure(r.hand))
}

func (r *result) verdict(pairs int, text func(demand, *result) string) string {
	if pairs < minPairs {
		return "not judged"
	}
	verdict := "holds"
	if !r.holds() {
		verdict = "short"
	}
	for i, d := range r.demands {
		separator := ": "
		if i > 0 {
			separator = ", "
		}
		verdict += separator + text(d, r)
	}
	return verdict
}

// baselineText is what baseline.txt holds: a line for each row, with its
// median first.
func baselineText(results []*result, machine string) string {
	var b strings.Builder
	for line := range strings.Lines(machine) {
		b.WriteString("# " + line)
	}
	b.WriteString("#\n")
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "# row\tmedian\tp25\tp75\tmin\tmax\tallocs SDK\tallocs hand")
	for _, r := range results {
		fmt.Fprintf(table, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.1f\t%.1f\n", r.name, median(r.values), quantile(r.values, 0.25),
			quantile(r.values, 0.75), quantile(r.values, 0), quantile(r.values, 1), r.sdk.allocsPerOp(), r.hand.allocsPerOp())
	}
	table.Flush()
	return b.String()
}

// parseBaseline gives the median of each row.
func parseBaseline(text string) (map[string]float64, error) {
	medians := map[string]float64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) < 2 {
			return nil, fmt.Errorf("baseline: row %q has no median", fields[0])
		}
		value, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return nil, fmt.Errorf("baseline: row %q: %w", fields[0], err)
		}
		medians[fields[0]] = value
	}
	return medians, nil
}

func testResults() []*result {
	return []*result{
		{
			row: row{name: "fast", measure: "a", against: "b", demands: []demand{reaches(0.9), moreAllocs(6)}}, compared: true,
			values: []float64{0.8, 1, 1.2}, sdk: cost{ops: 2, allocs: 20}, hand: cost{ops: 2, allocs: 10},
		},
		{
			row:  row{name: "slow", measure: "c", against: "-", demands: []demand{within(10, "ms")}},
			unit: "ms", values: []float64{11}, facts: []string{"too slow"},
		},
	}
}

func TestReport_judges_with_enough_pairs_only(t *testing.T) {
	t.Parallel()
	var judged, sanity strings.Builder
	report(&judged, testResults(), map[string]float64{"fast": 0.95}, minPairs)
	require.Contains(t, judged.String(), "holds: p75 1.10 ≥ 0.90, more allocations 5.00 ≤ 6.00")
	require.Contains(t, judged.String(), "short: median 11.00 ms not ≤ 10.00 ms")
	require.Contains(t, judged.String(), "0.95")
	require.Contains(t, judged.String(), "slow: too slow\n")
	require.Contains(t, judged.String(), "| a | b | p75 ≥ 0.90, more allocations ≤ 6.00 | 1.00 (0.90 to 1.10) | 10.0 / 5.0 |")
	require.True(t, strings.HasSuffix(judged.String(), "\n1 of 2 rows hold\n"))

	report(&sanity, testResults(), nil, 1)
	require.NotContains(t, sanity.String(), "holds")
	require.True(t, strings.HasSuffix(sanity.String(), "\n2 rows work; nothing is judged by fewer than 15 pairs\n"))
}

func TestBaseline_is_read_as_written(t *testing.T) {
	t.Parallel()
	medians, err := parseBaseline(baselineText(testResults(), "1 CPU\ngo1\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"fast": 1, "slow": 11}, medians)

	_, err = parseBaseline("fast quick\n")
	require.ErrorContains(t, err, "fast")
}

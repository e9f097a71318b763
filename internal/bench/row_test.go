package bench_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// row is one line of the comparison.
type row struct {
	name    string // for -row, and in baseline.txt
	measure string
	against string
	run     func(t *testing.T, server *realredis.Server) *result
	// demands tell what the row must reach.
	demands []demand
}

// result is what a row measured.
type result struct {
	row
	compared  bool      // values are ratios, one from each pair; else in unit
	unit      string    // of values that are no ratios
	values    []float64 // at least one
	sdk, hand cost
	moreCPU   []float64 // of the SDK for an operation in each pair, in µs
	facts     []string  // further figures, to be reported
}

// demand is one figure of a result and its bound.
type demand struct {
	name   string
	figure func(*result) float64
	atMost bool
	bound  float64
	unit   string
}

// reaches demands a ratio of rates of at least bound.
func reaches(bound float64) demand {
	return demand{name: "p75", figure: func(r *result) float64 { return quantile(r.values, 0.75) }, bound: bound}
}

// within demands a median of at most bound.
func within(bound float64, unit string) demand {
	return demand{name: "median", figure: func(r *result) float64 { return median(r.values) }, atMost: true, bound: bound, unit: unit}
}

// moreAllocs demands at most so many allocations for each operation over the
// hand-written side's. The runtime's own few are rounded away.
func moreAllocs(bound float64) demand {
	return demand{name: "more allocations", figure: func(r *result) float64 {
		return math.Round(10*(r.sdk.allocsPerOp()-r.hand.allocsPerOp())) / 10
	}, atMost: true, bound: bound}
}

// moreCPU demands at most so many microseconds of CPU time for each operation
// over the hand-written side's, by the median of the pairs.
func moreCPU(bound float64) demand {
	return demand{name: "more CPU", figure: func(r *result) float64 { return median(r.moreCPU) }, atMost: true, bound: bound, unit: "µs"}
}

func (d demand) holds(r *result) bool {
	if d.atMost {
		return d.figure(r) <= d.bound
	}
	return d.figure(r) >= d.bound
}

// wanted is the demand as text, judged is it with the figure.
func (d demand) wanted() string {
	sign := "≥"
	if d.atMost {
		sign = "≤"
	}
	return fmt.Sprintf("%s %s %s", d.name, sign, figure(d.bound, d.unit))
}

func (d demand) judged(r *result) string {
	sign := "≥"
	if d.atMost {
		sign = "≤"
	}
	if !d.holds(r) {
		sign = "not " + sign
	}
	return fmt.Sprintf("%s %s %s %s", d.name, figure(d.figure(r), d.unit), sign, figure(d.bound, d.unit))
}

func (r *result) holds() bool {
	for _, d := range r.demands {
		if !d.holds(r) {
			return false
		}
	}
	return true
}

// add adds a pair with its ratio.
func (r *result) add(ratio float64, sdk, hand cost) {
	r.values = append(r.values, ratio)
	r.moreCPU = append(r.moreCPU, sdk.cpuPerOp()-hand.cpuPerOp())
	r.sdk, r.hand = r.sdk.plus(sdk), r.hand.plus(hand)
}

func (r *result) fact(format string, args ...any) {
	r.facts = append(r.facts, fmt.Sprintf(format, args...))
}

// figure writes a value with its unit.
func figure(value float64, unit string) string {
	text := fmt.Sprintf("%.2f", value)
	if unit != "" {
		text += " " + unit
	}
	return text
}

package bench_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// quantile is the value that the fraction q of all values does not exceed,
// between two of them by their distance.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values  []float64
		q, want float64
	}{
		{[]float64{7}, 0.75, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 4, 2, 3}, 0.75, 4},
		{[]float64{1, 2, 3, 4}, 0.75, 3.25},
		{[]float64{2, 1}, 0, 1},
		{[]float64{2, 1}, 1, 2},
		{nil, 0.5, 0},
	} {
		require.InDelta(t, test.want, quantile(test.values, test.q), 1e-9, "%v of %v", test.q, test.values)
	}
}

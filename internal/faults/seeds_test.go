package faults_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
)

var (
	seedsFlag = flag.String("seeds", "", "the seeds `a-b` to run, instead of three; their results are kept")
	keepFlag  = flag.String("keep", "", "a folder for the journals and logs of all seeds")
)

func seeds(t *testing.T) (list []uint64) {
	if *seedsFlag == "" {
		return []uint64{1, 2, 3}
	}
	first, last, isRange := strings.Cut(*seedsFlag, "-")
	from, err := strconv.ParseUint(first, 10, 64)
	require.NoError(t, err, "-seeds takes a-b")
	to := from
	if isRange {
		to, err = strconv.ParseUint(last, 10, 64)
		require.NoError(t, err, "-seeds takes a-b")
	}
	for ; from <= to; from++ {
		list = append(list, from)
	}
	return list
}

func TestSeeds(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			dir := t.ArtifactDir()
			if *keepFlag != "" {
				dir = filepath.Join(*keepFlag, strconv.FormatUint(seed, 10))
				require.NoError(t, os.RemoveAll(dir))
				require.NoError(t, os.MkdirAll(dir, 0o700))
			}
			w := newWorld(t, faults.NewPlan(seed), dir)
			v, _ := w.run()
			t.Logf("seed %d: %+v", seed, v)
			for i, f := range v.Faults {
				if i == 20 {
					t.Errorf("… and %d more", len(v.Faults)-i)
					break
				}
				t.Error(f)
			}
			if t.Failed() {
				t.Logf("go test -count=1 -run '^TestSeeds$' -v ./internal/faults -args -seeds %d -keep FOLDER repeats this seed", seed)
			}
		})
	}
}

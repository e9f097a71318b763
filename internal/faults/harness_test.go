package faults_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func readJournal(path string) ([]faults.Record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	records, _, err := faults.ReadJournal(bytes.NewReader(b))
	return records, err
}

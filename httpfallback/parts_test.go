package httpfallback

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
)

// walked counts what is read and what is written to make all parts of a message
// with n matches and as many changes.
func walked(t *testing.T, n int) (read, written int) {
	t.Helper()
	list := func(format string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(format, 6200000+i)
		}
		return strings.Join(items, ",")
	}
	body := `{"message_id":"x","type":"match_updates","payload":{"matches":[` + list(`{"matchid":%d}`) +
		`],"detailed_changes":[` + list(`{"match_id":%d,"category":"time"}`) + `],"metadata":{}}}`
	d := delivery{
		client: &Client{opts: Options{BatchSize: 1}}, form: parts,
		msg: message.Outgoing{ID: "x", Type: message.TypeMatchUpdates, Body: []byte(body)},
	}
	for {
		part, err := d.body()
		require.NoError(t, err)
		written += len(part)
		from := d.envelope
		if d.next > 0 {
			from = d.frame
		}
		read += len(from.Payload)
		e, err := message.Decode(part)
		require.NoError(t, err)
		require.Equal(t, message.Part{N: d.next + 1, Of: n}, e.Part)
		require.Equal(t, fmt.Sprintf(`{"matchid":%d}`, 6200000+d.next), string(e.RawMatches()[0]))
		if d.next++; d.next == d.of() {
			return read, written
		}
	}
}

func TestDelivery_body_partsCostNoMoreThanTheirMatches(t *testing.T) {
	t.Parallel()
	read, written := walked(t, 200)
	read10, written10 := walked(t, 2000)
	require.Less(t, read10, 11*read)
	require.Less(t, written10, 11*written)
}

// What a body lacks is found without keeping its keys.
func TestMissing_keepsNoKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"k":0`)
	for i := range 100_000 {
		fmt.Fprintf(&b, `,"%x":0`, i)
	}
	b.WriteString("}")
	data := []byte(b.String())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Equal(t, missingMatches, missing(data))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(data)+1<<20))
}

package faults_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
)

// history makes a journal of statuses from lines such as
//
//	pub publishes 1     pub published 1 stream     pub refused 1
//	a begins 1 [http] [deaf]     a ends 1 [failed]     a does 1 (begins, ends)
//	a lost     a killed     a stopped     a gap <missing> <cause>
//	fault on 1     fault off 1     wait 10s
//	pub runs plain     pub left 1 stream     pub told     run risk 1 gone     run kept 1     a refuses 1
//
// Records are a millisecond apart.
func history(t *testing.T, text string) (records []faults.Record) {
	t.Helper()
	at := time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "wait" {
			d, err := time.ParseDuration(words[1])
			require.NoError(t, err)
			at = at.Add(d)
			continue
		}
		has := func(word string) bool { return strings.Contains(line, word) }
		number := func(i int) int {
			if i >= len(words) {
				return 0
			}
			n, err := strconv.Atoi(words[i])
			require.NoError(t, err, line)
			return n
		}
		r := faults.Record{Who: words[0], Type: message.TypeProcessingStatus, Via: string(message.ViaStream), Stubborn: has("deaf")}
		if has("http") {
			r.Via = string(message.ViaHTTP)
		}
		if has("pubsub") {
			r.Via = string(message.ViaPubSub)
		}
		detail := faults.EndedWell
		if has("failed") {
			detail = faults.EndedFailed
		}
		add := func(what, detail string, n int) {
			at = at.Add(time.Millisecond)
			r.At, r.What, r.Detail, r.N = at, what, detail, n
			records = append(records, r)
		}
		switch words[1] {
		case "publishes":
			add(faults.Publishing, "", number(2))
			add(faults.Published, "", number(2))
		case "publishing", "published", "refused":
			add(words[1], "", number(2))
		case "runs", "told":
			add(words[1], strings.Join(words[2:], " "), 0)
		case "left":
			r.Via = words[3]
			add(faults.Left, "", number(2))
		case "risk":
			add(faults.AtRisk, strings.Join(words[3:], " "), number(2))
		case "kept":
			add(faults.Kept, "", number(2))
		case "refuses":
			add(faults.ReceiverRefused, "", number(2))
		case "dies":
			add(faults.Dies, "", 0)
		case "begins":
			add(faults.Began, "", number(2))
		case "ends":
			add(faults.Ended, detail, number(2))
		case "does":
			add(faults.Began, "", number(2))
			add(faults.Ended, detail, number(2))
		case "lost", "killed", "stopped", "up":
			add(words[1], "", 0)
		case "gap":
			add(faults.Gap, strings.Join(words[3:], " "), number(2))
		case "on":
			add(faults.FaultOn, strings.Join(words[3:], " "), number(2))
		case "off":
			add(faults.FaultOff, "", number(2))
		default:
			t.Fatalf("no such line: %s", line)
		}
	}
	return records
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		mode   faults.Mode
		text   string
		dead   []int
		faults []string // what each says, in order
		check  func(t *testing.T, v faults.Verdict)
	}{
		"all is well": {text: "pub publishes 1\npub publishes 2\na does 1\na does 2", check: func(t *testing.T, v faults.Verdict) {
			require.Equal(t, 2, v.Published)
			require.Equal(t, 2, v.Handled)
			require.Equal(t, map[string]int{"stream": 2}, v.Routes)
		}},
		"handled before the receipt was written": {text: "pub publishing 1\na does 1\npub published 1"},
		"lost":                                   {text: "pub publishes 1\npub publishes 2\na does 2", faults: []string{"processing_status 1 was lost"}},
		"lost, the handler failed":               {text: "pub publishes 1\na does 1 failed", faults: []string{"was lost"}},
		"lost, its process died within it":       {text: "pub publishes 1\na begins 1\na killed", faults: []string{"was lost"}},
		"lost, never ended":                      {text: "pub publishes 1\na begins 1", faults: []string{"was lost"}},
		"not promised":                           {text: "pub publishing 1\npub refused 1\npub publishing 2", check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Refused) }},
		"a dead letter":                          {text: "pub publishes 1\na does 1 failed", dead: []int{1}, check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Dead) }},
		"two receipts":                           {text: "pub publishes 1\npub publishes 1\na does 1", faults: []string{"two receipts"}},
		"handled out of nothing":                 {text: "a does 1", faults: []string{"before it was published"}},
		"ended and never begun":                  {text: "pub publishes 1\na ends 1\na does 1", faults: []string{"had not begun"}},
		"lost in a trim seed without a gap":      {mode: faults.Trim, text: "pub publishes 1", faults: []string{"1 messages were lost, and the gaps report 0"}},
		"lost in a trim seed and reported":       {mode: faults.Trim, text: "pub publishes 1\na gap 1 trimmed unread", check: lost(1)},
		"lost in a flush seed, nobody knows":     {mode: faults.Flush, text: "pub publishes 1\na on 1 FLUSHALL\na gap -1 stream vanished", check: lost(1)},
		"lost in a flush seed, no gap":           {mode: faults.Flush, text: "pub publishes 1\na on 1 FLUSHALL", faults: []string{"1 messages of processing_status were lost"}},
		"lost in a flush seed, a new holder":     {mode: faults.Flush, text: "pub publishes 1\na on 1 FLUSHALL\nb up\nb gap -1 new group", check: lost(1)},
		"lost in a flush seed, told too early":   {mode: faults.Flush, text: "a gap -1 new group\npub publishes 1\na on 1 FLUSHALL\nb up", faults: []string{"no gap tells of it"}},
		"order over a flush and HTTP":            {mode: faults.Flush, text: "pub publishes 1\npub publishes 2\na does 2 http\na does 1", check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Late) }},
		"what a flush took, from pub/sub":        {mode: faults.Flush, text: "pub publishes 1\npub publishes 2\na does 2\na does 1 pubsub", check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Late) }},
		"a group's first start":                  {text: "a gap -1 new group\npub publishes 1\na does 1"},
		"a group's second start":                 {text: "a gap -1 new group\npub publishes 1\na does 1\nb gap -1 new group", faults: []string{"b reports a gap in processing_status: new group"}},
		"a new group hides no trimmed one":       {mode: faults.Trim, text: "a gap -1 new group\npub publishes 1", faults: []string{"1 messages were lost, and the gaps report 0"}},
		"a gap where none may be":                {text: "pub publishes 1\na does 1\na gap 3 trimmed unread", faults: []string{"a reports a gap in processing_status: trimmed unread, missing 3"}},
		"a gap of a pub/sub connection":          {text: "pub publishes 1\na does 1\na gap 0 connection lost"},

		"twice in one process":      {text: "pub publishes 1\na does 1\na does 1", faults: []string{"by one process"}},
		"twice in two for nothing":  {text: "pub publishes 1\na does 1\nb does 1", faults: []string{"lives on"}},
		"twice after a kill":        {text: "pub publishes 1\na does 1\na killed\nwait 10s\nb does 1", check: twice(faults.ByKill)},
		"twice long after a kill":   {text: "pub publishes 1\na does 1\nwait 6s\na killed\nb does 1", faults: []string{"it could have been acknowledged"}},
		"twice, Redis away":         {text: "pub publishes 1\na does 1\nfault on 1\nwait 60s\na killed\nfault off 1\nb does 1", check: twice(faults.ByKill)},
		"twice after a lost lease":  {text: "pub publishes 1\na does 1\na lost\nb does 1", check: twice(faults.ByLease)},
		"twice, lost within":        {text: "pub publishes 1\na begins 1\na lost\na ends 1\nb does 1", check: twice(faults.ByLease)},
		"twice, lost before":        {text: "pub publishes 1\na lost\na does 1\nb does 1", faults: []string{"lives on"}},
		"twice, told a moment late": {text: "pub publishes 1\na does 1\nb does 1\nwait 3s\na lost", check: twice(faults.ByLease)},
		"twice, told too late":      {text: "pub publishes 1\na does 1\nb does 1\nwait 6s\na lost", faults: []string{"lives on"}},
		"twice after a stop":        {text: "pub publishes 1\na does 1\na stopped\nb does 1", faults: []string{"lives on"}},
		"twice after a stop in an outage": {text: "pub publishes 1\na does 1\nfault on 1\na stopped\nfault off 1\nb does 1",
			check: twice(faults.ByStop)},
		"twice by HTTP":                {text: "pub publishes 1\na does 1 http\nb does 1", check: twice(faults.ByHTTP)},
		"twice by HTTP in one process": {text: "pub publishes 1\na does 1 http\na does 1", faults: []string{"by one process"}},
		"thrice": {text: "pub publishes 1\na does 1\na killed\nb does 1\nc does 1", faults: []string{"lives on"},
			check: twice(faults.ByKill)},
		"killed within, then handled": {text: "pub publishes 1\na begins 1\na killed\nb does 1", check: func(t *testing.T, v faults.Verdict) { require.Empty(t, v.Twice) }},

		"at once":               {text: "pub publishes 1\na begins 1\nb begins 1\na ends 1 failed\nb ends 1", faults: []string{"two handlers at once"}},
		"two messages at once":  {text: "pub publishes 1\npub publishes 2\na begins 1\nb begins 2\na ends 1\nb ends 2", faults: []string{"two handlers at once"}},
		"at once by HTTP":       {text: "pub publishes 1\na begins 1\nb begins 1 http\na ends 1 failed\nb ends 1", check: atOnce(faults.ByHTTP)},
		"the first one is deaf": {text: "pub publishes 1\na begins 1 deaf\na lost\nb begins 1\na ends 1 failed\nb ends 1", check: atOnce(faults.ByDeaf)},
		"the second is deaf":    {text: "pub publishes 1\na begins 1\nb begins 1 deaf\na ends 1 failed\nb ends 1", faults: []string{"two handlers at once"}},
		"two in one process": {text: "pub publishes 1\npub publishes 2\na begins 1\na begins 2\na ends 2\nb does 1",
			faults: []string{"while processing_status 1", "two handlers at once", "out of order"}},
		"one after another": {text: "pub publishes 1\na begins 1\na ends 1 failed\nb begins 1\nb ends 1"},

		"out of order": {text: "pub publishes 1\npub publishes 2\na does 2\na does 1", faults: []string{"out of order: processing_status 1"}},
		"out of order over two processes": {text: "pub publishes 1\npub publishes 2\na does 2\na killed\nb does 1",
			faults: []string{"out of order"}},
		"again, in order": {text: "pub publishes 1\npub publishes 2\na does 1\na does 2\na killed\nb does 1\nb does 2"},
		"out of order, not promised": {text: "pub publishing 1\npub refused 1\npub publishes 2\na does 2\na does 1",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Late) }},
		"early, not promised": {text: "pub publishes 1\npub publishing 2\npub refused 2\na does 2\na does 1"},

		"gone with the outbox, and told": {mode: faults.Sending, text: "pub publishes 1\nrun risk 1 gone\npub told outbox failed",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Told); require.Empty(t, v.Lost) }},
		"gone with the outbox in silence": {mode: faults.Sending, text: "pub publishes 1\npub told\nrun risk 1 gone",
			faults: []string{"nobody told", "was lost"}, check: lost(1)},
		"gone with the outbox, told of the next fault": {mode: faults.Sending, text: "pub publishes 1\nrun risk 1 gone\nrun on 1 outbox removed\npub told",
			faults: []string{"nobody told", "was lost"}, check: lost(1)},
		"a takeover, published without streams": {mode: faults.Sending, text: "pub runs plain\npub publishes 1 pubsub\na does 1 pubsub\na gap 1 takeover"},
		"a takeover, all in streams":            {mode: faults.Sending, text: "pub runs durable\npub publishes 1\na does 1\na gap 1 takeover", faults: []string{"takeover"}},
		"gone with the outbox, killed at once": {mode: faults.Sending, text: "pub publishes 1\nrun risk 1 gone\npublisher.1 dies",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Told) }},
		"removed while nobody ran": {mode: faults.Sending, text: "pub publishes 1\nrun risk 1 " + faults.RiskUnseen,
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Told) }},
		"lost, though its file was whole": {mode: faults.Sending, text: "pub publishes 1\nrun risk 1 whole\npub told", faults: []string{"was lost"}},
		"put after the file was hurt":     {mode: faults.Sending, text: "pub publishes 2\nrun risk 2 gone\npub told\npub publishes 1\na does 2", faults: []string{"status 1 was lost"}},
		"kept for an operator": {mode: faults.Sending, text: "pub publishes 1\nrun kept 1",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Kept) }},
		"kept excuses nothing in a plain seed": {text: "pub publishes 1\nrun kept 1", faults: []string{"was lost"}},
		"left the outbox by pub/sub and not heard": {mode: faults.Sending, text: "pub runs plain\npub publishes 1\npub left 1 pubsub",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Unheard) }},
		"left the outbox by the stream and lost": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub left 1 stream", faults: []string{"was lost"}},
		"order in streams":                       {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub publishes 2\na does 2\na does 1", faults: []string{"out of order"}},
		"order over two modes":                   {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub runs plain\npub publishes 2\na does 2\na does 1"},
		"order past a refusal for good": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub publishes 2\na refuses 1\na does 2 http\na does 1\na does 2",
			check: func(t *testing.T, v faults.Verdict) {
				require.Equal(t, 1, v.Late)
				require.Equal(t, map[faults.Cause]int{faults.ByOwed: 1}, v.Twice)
			}},
		"older news last": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub publishes 2\na refuses 1\na does 2 http\na does 1",
			faults: []string{"older news last: processing_status 1"}},
		"older news last, but without streams": {mode: faults.Sending, text: "pub runs plain\npub publishes 1\npub publishes 2\na refuses 1\na does 2 http\na does 1"},
		"again behind one that had not been refused": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub publishes 2\na does 2 http\na refuses 1\na does 1\na does 2",
			faults: []string{"by one process", "out of order"}},
		"again behind one that was handled before": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\npub publishes 2\na refuses 1\na does 1\na does 2 http\na does 2",
			faults: []string{"by one process"}},
		"order past a file that was hurt": {mode: faults.Sending, text: "pub runs durable\npub publishes 1\nrun risk 1 whole\npub publishes 2\na does 2\na does 1",
			check: func(t *testing.T, v faults.Verdict) { require.Equal(t, 1, v.Late) }},
		"twice by pub/sub":             {mode: faults.Sending, text: "pub publishes 1\na does 1 pubsub\nb does 1", check: twice(faults.ByPubSub)},
		"twice by the stream, sending": {mode: faults.Sending, text: "pub publishes 1\na does 1\nb does 1", faults: []string{"lives on"}},

		"recovery": {text: "pub publishes 1\nwait 2s\na does 1\nwait 10s\npub publishes 2\nfault on 1\nwait 20s\nfault off 1\nwait 4s\na does 2",
			check: func(t *testing.T, v faults.Verdict) { require.InDelta(t, 4, v.Recovery.Seconds(), 0.1) }},
		"recovery is not the time in a handler": {text: "pub publishes 1\npub publishes 2\na begins 1\nwait 20s\na ends 1\nwait 1s\na does 2",
			check: func(t *testing.T, v faults.Verdict) { require.InDelta(t, 1, v.Recovery.Seconds(), 0.1) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.mode == "" {
				row.mode = faults.Plain
			}
			var dead []faults.Key
			for _, n := range row.dead {
				dead = append(dead, faults.Key{Type: message.TypeProcessingStatus, N: n})
			}
			v := faults.Check(row.mode, history(t, row.text), dead)
			require.Len(t, v.Faults, len(row.faults), "%q", v.Faults)
			for i, text := range row.faults {
				require.Contains(t, v.Faults[i], text)
			}
			if row.check != nil {
				row.check(t, v)
			}
		})
	}
}

func lost(n int) func(*testing.T, faults.Verdict) {
	return func(t *testing.T, v faults.Verdict) { require.Len(t, v.Lost, n) }
}

func twice(cause faults.Cause) func(*testing.T, faults.Verdict) {
	return func(t *testing.T, v faults.Verdict) { require.Equal(t, map[faults.Cause]int{cause: 1}, v.Twice) }
}

func atOnce(cause faults.Cause) func(*testing.T, faults.Verdict) {
	return func(t *testing.T, v faults.Verdict) { require.Equal(t, map[faults.Cause]int{cause: 1}, v.AtOnce) }
}

func TestReadJournal_leavesOutWhatDeathCutShort(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/journal"
	a, err := faults.OpenJournal(path, "a")
	require.NoError(t, err)
	b, err := faults.OpenJournal(path, "b")
	require.NoError(t, err)
	require.NoError(t, a.Write(faults.Record{What: faults.Up}))
	whole := readFile(t, path)
	cut := append(append([]byte{}, whole...), whole[:len(whole)-9]...)
	require.NoError(t, b.Write(faults.Record{What: faults.Up, N: 2}))
	cut = append(cut, readFile(t, path)[len(whole):]...)
	records, size, err := faults.ReadJournal(bytes.NewReader(append(cut, "{\"at\""...)))
	require.NoError(t, err)
	require.EqualValues(t, len(cut), size)
	require.Len(t, records, 2)
	require.Equal(t, "a", records[0].Who)
	require.Equal(t, "b", records[1].Who)
	require.Equal(t, 2, records[1].N)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())

	_, _, err = faults.ReadJournal(strings.NewReader("{\"what\":}\n"))
	require.ErrorContains(t, err, "no record")
}

func TestNewPlan_isFixedByItsSeed(t *testing.T) {
	t.Parallel()
	kinds, deaths := map[faults.Kind]int{}, 0
	for seed := range uint64(200) {
		p := faults.NewPlan(seed)
		require.Equal(t, p, faults.NewPlan(seed))
		deaths += len(p.Deaths)
		for _, f := range p.Faults {
			kinds[f.Kind]++
			require.Less(t, f.At, p.Length)
		}
		behaviours := map[faults.Kind]int{}
		for n := range 800 {
			b := faults.BehaviourOf(seed, message.TypeMatchUpdates, n)
			require.Equal(t, b, faults.BehaviourOf(seed, message.TypeMatchUpdates, n))
			behaviours[b.Kind()]++
		}
		require.NotZero(t, behaviours[faults.SlowHandler])
		require.Less(t, 700, behaviours[""])
	}
	require.Greater(t, deaths, 200)
	require.Len(t, kinds, 18, fmt.Sprint(kinds))
}

func TestNewPlan_sendingSeedsHaveEachKindAndEndInStreams(t *testing.T) {
	t.Parallel()
	kinds, runs, betweens := map[faults.Kind]int{}, map[string]int{}, 0
	for seed := uint64(faults.FirstSending); seed <= faults.LastSending; seed++ {
		p := faults.NewPlan(seed)
		require.Equal(t, p, faults.NewPlan(seed))
		require.Equal(t, faults.Sending, p.Mode)
		require.Equal(t, faults.RunsDurable, p.Runs[len(p.Runs)-1])
		for _, mode := range p.Runs {
			runs[mode]++
		}
		for _, f := range p.Faults {
			kinds[f.Kind]++
			if f.Arg == faults.Between {
				betweens++
			}
			require.Less(t, f.At, p.Length)
		}
	}
	for _, kind := range []faults.Kind{faults.OutboxRemoved, faults.OutboxCut, faults.OutboxDamaged, faults.PublisherStop,
		faults.ServerMoved, faults.ServerMisconf, faults.ReceiverHangs} {
		require.Greater(t, kinds[kind], 50, kind)
	}
	require.Greater(t, betweens, 50)
	require.Len(t, runs, 4)
}

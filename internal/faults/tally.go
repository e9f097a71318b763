package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Dies is what a process writes that kills itself, with the step in
// Record.Detail.
const Dies = "dies"

// Result is what became of a seed, as a line of the results says it.
type Result struct {
	Seed     uint64         `json:"seed"`
	Mode     Mode           `json:"mode"`
	Messages int            `json:"messages"` // that Publish was called for
	Receipts map[string]int `json:"receipts"` // by route
	Refused  int            `json:"refused"`
	Handled  int            `json:"handled"`
	Dead     int            `json:"dead"`
	Lost     int            `json:"lost"`
	Kept     int            `json:"kept,omitempty"`
	Told     int            `json:"told,omitempty"`
	Unheard  int            `json:"unheard,omitempty"`
	Twice    map[Cause]int  `json:"twice,omitempty"`
	AtOnce   map[Cause]int  `json:"at_once,omitempty"`
	Late     int            `json:"late,omitempty"`
	Gaps     map[string]int `json:"gaps,omitempty"`
	Missing  int            `json:"missing,omitempty"`
	Recovery float64        `json:"recovery_s"`
	Faults   map[Kind]int   `json:"faults"`
	// Broken is how many violations the checker named.
	Broken int     `json:"broken"`
	Took   float64 `json:"took_s"`
}

// Tally sums up a seed.
func Tally(p Plan, v Verdict, records []Record) Result {
	r := Result{
		Seed: p.Seed, Mode: p.Mode, Receipts: v.Routes, Refused: v.Refused, Handled: v.Handled, Dead: v.Dead, Lost: len(v.Lost),
		Kept: v.Kept, Told: v.Told, Unheard: v.Unheard,
		Twice: v.Twice, AtOnce: v.AtOnce, Late: v.Late, Gaps: v.Gaps, Missing: v.Missing,
		Recovery: seconds(v.Recovery), Faults: map[Kind]int{}, Broken: len(v.Faults),
	}
	if len(records) > 0 {
		r.Took = seconds(records[len(records)-1].At.Sub(records[0].At))
	}
	published, handled := map[Key]bool{}, map[Key]bool{}
	for _, record := range records {
		key := Key{record.Type, record.N}
		switch record.What {
		case FaultOn:
			if kind := Kind(record.Detail); kind != HandlerKill { // which is an attempt
				r.Faults[kind]++
			}
		case Dies:
			if strings.HasPrefix(record.Who, "publisher") {
				r.Faults[PublisherDeath]++
			} else {
				r.Faults[HandlerKill]++
			}
		case Publishing:
			published[key] = true
		case ReceiverRefused:
			r.Faults[ReceiverRefuses]++
		case Began:
			if kind := BehaviourOf(p.Seed, key.Type, key.N).Kind(); kind != "" && !handled[key] {
				r.Faults[kind]++
			}
			handled[key] = true
		}
	}
	r.Messages = len(published)
	return r
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// WriteResult appends a result as one line.
func WriteResult(w io.Writer, r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// ReadResults reads what WriteResult has written.
func ReadResults(in io.Reader) (results []Result, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("faults: line %d of the results: %w", len(results)+1, err)
		}
		results = append(results, r)
	}
	return results, lines.Err()
}

// Table sums results up: plain seeds in the first column, sending seeds in the
// last.
func Table(results []Result) string {
	var columns [3]Result
	var seeds [3]int
	for _, r := range results {
		i := 1
		switch r.Mode {
		case Plain:
			i = 0
		case Sending:
			i = 2
		}
		seeds[i]++
		columns[i].add(r)
	}
	var b strings.Builder
	row := func(name string, cell func(i int, r Result) any) {
		fmt.Fprintf(&b, "%-44s", name)
		for i, r := range columns {
			fmt.Fprintf(&b, " %12v", cell(i, r))
		}
		b.WriteByte('\n')
	}
	number := func(name string, of func(Result) int) {
		row(name, func(_ int, r Result) any { return of(r) })
	}
	heads := []string{"plain", "trim, flush", "sending"}
	row("", func(i int, _ Result) any { return heads[i] })
	row("seeds", func(i int, _ Result) any { return seeds[i] })
	number("messages", func(r Result) int { return r.Messages })
	rows(&b, "  receipt by ", columns, func(r Result) map[string]int { return r.Receipts })
	number("  Publish returned an error", func(r Result) int { return r.Refused })
	number("handled", func(r Result) int { return r.Handled })
	number("dead letters", func(r Result) int { return r.Dead })
	number("lost", func(r Result) int { return r.Lost })
	number("kept in the outbox for an operator", func(r Result) int { return r.Kept })
	number("gone with the outbox or not sent, and told", func(r Result) int { return r.Told })
	number("published without streams and not heard", func(r Result) int { return r.Unheard })
	number("handled twice", func(r Result) int { return sum(r.Twice) })
	rows(&b, "  ", columns, func(r Result) map[Cause]int { return r.Twice })
	number("two handlers at once", func(r Result) int { return sum(r.AtOnce) })
	rows(&b, "  ", columns, func(r Result) map[Cause]int { return r.AtOnce })
	number("out of order, not promised otherwise", func(r Result) int { return r.Late })
	number("gaps reported of a stream", func(r Result) int { return sum(r.Gaps) })
	rows(&b, "  ", columns, func(r Result) map[string]int { return r.Gaps })
	number("faults", func(r Result) int { return sum(r.Faults) })
	rows(&b, "  ", columns, func(r Result) map[Kind]int { return r.Faults })
	row("longest recovery, in seconds", func(_ int, r Result) any { return fmt.Sprintf("%.1f", r.Recovery) })
	number("violations", func(r Result) int { return r.Broken })
	return b.String()
}

func (r *Result) add(o Result) {
	r.Messages += o.Messages
	r.Refused += o.Refused
	r.Handled += o.Handled
	r.Dead += o.Dead
	r.Lost += o.Lost
	r.Kept += o.Kept
	r.Told += o.Told
	r.Unheard += o.Unheard
	r.Late += o.Late
	r.Broken += o.Broken
	r.Recovery = max(r.Recovery, o.Recovery)
	r.Took += o.Took
	add(&r.Receipts, o.Receipts)
	add(&r.Twice, o.Twice)
	add(&r.AtOnce, o.AtOnce)
	add(&r.Gaps, o.Gaps)
	add(&r.Faults, o.Faults)
}

func add[K comparable](to *map[K]int, from map[K]int) {
	if *to == nil {
		*to = map[K]int{}
	}
	for k, n := range from {
		(*to)[k] += n
	}
}

func sum[K comparable](counts map[K]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// rows writes a row for each key of any column's map.
func rows[K ~string](b *strings.Builder, indent string, columns [3]Result, of func(Result) map[K]int) {
	var all map[K]int
	for _, r := range columns {
		add(&all, of(r))
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(b, "%-44s", indent+string(k))
		for _, r := range columns {
			fmt.Fprintf(b, " %12d", of(r)[k])
		}
		b.WriteByte('\n')
	}
}

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

// Table sums results up: plain seeds in one column, the others in a second.
func Table(results []Result) string {
	var plain, others Result
	counts := map[Mode]int{}
	for _, r := range results {
		counts[r.Mode]++
		if r.Mode == Plain {
			plain.add(r)
		} else {
			others.add(r)
		}
	}
	var b strings.Builder
	row := func(name string, a, b1 any) { fmt.Fprintf(&b, "%-44s %12v %12v\n", name, a, b1) }
	row("", "plain", "trim, flush")
	row("seeds", counts[Plain], counts[Trim]+counts[Flush])
	row("messages", plain.Messages, others.Messages)
	rows(row, "  receipt by ", plain.Receipts, others.Receipts)
	row("  Publish returned an error", plain.Refused, others.Refused)
	row("handled", plain.Handled, others.Handled)
	row("dead letters", plain.Dead, others.Dead)
	row("lost", plain.Lost, others.Lost)
	row("handled twice", sum(plain.Twice), sum(others.Twice))
	rows(row, "  ", plain.Twice, others.Twice)
	row("two handlers at once", sum(plain.AtOnce), sum(others.AtOnce))
	rows(row, "  ", plain.AtOnce, others.AtOnce)
	row("out of order, not promised otherwise", plain.Late, others.Late)
	row("gaps reported of a stream", sum(plain.Gaps), sum(others.Gaps))
	rows(row, "  ", plain.Gaps, others.Gaps)
	row("faults", sum(plain.Faults), sum(others.Faults))
	rows(row, "  ", plain.Faults, others.Faults)
	row("longest recovery, in seconds", fmt.Sprintf("%.1f", plain.Recovery), fmt.Sprintf("%.1f", others.Recovery))
	row("violations", plain.Broken, others.Broken)
	return b.String()
}

func (r *Result) add(o Result) {
	r.Messages += o.Messages
	r.Refused += o.Refused
	r.Handled += o.Handled
	r.Dead += o.Dead
	r.Lost += o.Lost
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

// rows prints a row for each key of either map.
func rows[K ~string](row func(string, any, any), indent string, a, b map[K]int) {
	all := maps.Clone(a)
	add(&all, b)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		row(indent+string(k), a[k], b[k])
	}
}

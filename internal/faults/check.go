package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

const (
	// settleTime is in how much time without a fault what was handled must
	// have been acknowledged: an attempt of two seconds that a fault had hit,
	// its pause, and one more.
	settleTime = 5 * time.Second
	// renewTime is how much later than the server a holder may learn that its
	// lease is over.
	renewTime = 5 * time.Second
)

// Key names a message.
type Key struct {
	Type message.Type
	N    int
}

func (k Key) String() string { return fmt.Sprintf("%s %d", k.Type, k.N) }

// Cause is why a message was rightly handled twice.
type Cause string

const (
	ByKill  Cause = "first process killed"
	ByLease Cause = "lease lost"
	ByStop  Cause = "stopped while Redis could not be told"
	ByHTTP  Cause = "came by HTTP too"
	// ByPubSub is for what sending seeds publish without streams.
	ByPubSub Cause = "came by pub/sub too"
	// ByOwed is for what was posted ahead of an older message that the receiver
	// refused for good: it is handled at once, and again behind that one.
	ByOwed Cause = "came again behind a refused one"
	// ByDeaf is not a message handled twice but two handlers of a type at once.
	ByDeaf Cause = "first handler ignored its context"
)

// Verdict is what a journal says.
type Verdict struct {
	Published int
	Refused   int // calls of Publish that returned an error
	Routes    map[string]int
	Handled   int // messages, at least once
	Dead      int // messages that are dead letters
	// Of sending seeds, messages that were not handled and are not lost: the
	// outbox keeps them for an operator; the publisher told that they are gone;
	// pub/sub had them, which promises nothing.
	Kept, Told, Unheard int
	Lost                []Key
	Twice               map[Cause]int
	// AtOnce counts messages in two handlers at once of which one came by
	// HTTP, and overlaps that ByDeaf explains.
	AtOnce map[Cause]int
	// Late counts messages that came out of order and were not promised in
	// order: Publish did not return nil, or FLUSHALL was between.
	Late     int
	Gaps     map[string]int
	Missing  int // messages that the gaps report; -1 when one does not know
	Recovery time.Duration
	// Stalled tells where in the journal the recovery was.
	Stalled string
	// Faults are violations of what is promised.
	Faults []string
}

// handling is one call of a handler.
type handling struct {
	Key
	who      string
	via      string
	began    int // places in the journal
	ended    int // that of the process's end if it was killed; past the end if it runs on
	detail   string
	stubborn bool
}

func (h handling) overHTTP() bool { return h.via == string(message.ViaHTTP) }

func (h handling) overPubSub() bool { return h.via == string(message.ViaPubSub) }

func (h handling) String() string {
	return fmt.Sprintf("%s in %s by %s (lines %d-%d, %s)", h.Key, h.who, h.via, h.began, h.ended, h.detail)
}

// checker reads a journal.
type checker struct {
	Verdict
	mode    Mode
	records []Record
	// calm is the time without any fault up to each record.
	calm  []time.Duration
	quiet []bool // no fault is at work at the record
	// receipts is where Publish returned nil, begun where it was called.
	receipts map[Key]int
	begun    map[Key]int
	dead     map[Key]bool
	all      []*handling
	first    map[Key]*handling // that was successful
	// Of sending seeds.
	sent       map[Key]*sent
	unstreamed map[message.Type]bool // pub/sub alone had some of the type
	hurts      []int                 // where the outbox was hurt
}

// Check judges a journal. dead are the dead letters.
func Check(mode Mode, records []Record, dead []Key) Verdict {
	c := &checker{
		mode: mode, records: records,
		receipts: map[Key]int{}, begun: map[Key]int{}, dead: map[Key]bool{}, first: map[Key]*handling{},
	}
	c.Routes, c.Twice, c.AtOnce, c.Gaps = map[string]int{}, map[Cause]int{}, map[Cause]int{}, map[string]int{}
	for _, k := range dead {
		c.dead[k] = true
	}
	c.Dead = len(c.dead)
	c.read()
	if mode == Sending {
		c.readSending()
	}
	c.checkLost()
	c.checkTwice()
	c.checkAtOnce()
	c.checkOrder()
	if mode == Sending {
		c.checkNewestLast()
	}
	c.checkGaps()
	c.recover()
	return c.Verdict
}

func (c *checker) fault(format string, args ...any) {
	c.Faults = append(c.Faults, fmt.Sprintf(format, args...))
}

// read finds receipts, handlings and quiet times.
func (c *checker) read() {
	open := map[string]map[message.Type]*handling{}
	active := map[int]bool{}
	var calm time.Duration
	for i, r := range c.records {
		if i > 0 && len(active) == 0 {
			calm += r.At.Sub(c.records[i-1].At)
		}
		key := Key{r.Type, r.N}
		switch r.What {
		case FaultOn:
			active[r.N] = true
		case FaultOff:
			delete(active, r.N)
		case Publishing:
			if _, again := c.begun[key]; !again {
				c.begun[key] = i
			}
		case Published:
			if _, twice := c.receipts[key]; twice {
				c.fault("the publisher has two receipts of %s", key)
			}
			c.receipts[key] = i
			c.Routes[r.Via]++
		case Refused:
			c.Refused++
		case Began:
			if h := open[r.Who][r.Type]; h != nil {
				c.fault("%s began in %s while %s ran", key, r.Who, h)
			}
			if _, known := c.begun[key]; !known {
				c.fault("%s was handled before it was published (line %d)", key, i)
			}
			h := &handling{Key: key, who: r.Who, via: r.Via, began: i, ended: len(c.records), detail: "runs", stubborn: r.Stubborn}
			if open[r.Who] == nil {
				open[r.Who] = map[message.Type]*handling{}
			}
			open[r.Who][r.Type] = h
			c.all = append(c.all, h)
		case Ended:
			h := open[r.Who][r.Type]
			if h == nil || h.Key != key {
				c.fault("%s ended in %s and had not begun (line %d)", key, r.Who, i)
				break
			}
			h.ended, h.detail = i, r.Detail
			delete(open[r.Who], r.Type)
			if r.Detail == EndedWell && c.first[key] == nil {
				c.first[key] = h
			}
		case Killed, Stopped:
			for _, h := range open[r.Who] {
				h.ended, h.detail = i, r.What
			}
			delete(open, r.Who)
		}
		c.calm = append(c.calm, calm)
		c.quiet = append(c.quiet, len(active) == 0)
	}
	c.Published, c.Handled = len(c.receipts), len(c.first)
}

func (c *checker) checkLost() {
	for k := range c.receipts {
		if c.first[k] == nil && !c.dead[k] && !c.excused(k) {
			c.Lost = append(c.Lost, k)
		}
	}
	slices.SortFunc(c.Lost, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.N, b.N))
	})
	if c.mode == Plain || c.mode == Sending {
		for _, k := range c.Lost {
			c.fault("%s was lost: published by %s (line %d), never handled", k, c.records[c.receipts[k]].Via, c.receipts[k])
		}
	}
}

// checkTwice looks for the cause of each successful handling after the first.
func (c *checker) checkTwice() {
	last := map[Key]*handling{}
	for _, h := range c.all {
		if h.detail != EndedWell {
			continue
		}
		before := last[h.Key]
		last[h.Key] = h
		if before == nil {
			continue
		}
		switch cause, why := c.cause(before, h); {
		case cause != "":
			c.Twice[cause]++
		default:
			c.fault("%s was handled twice: %s, then %s: %s", h.Key, before, h, why)
		}
	}
}

func (c *checker) cause(first, second *handling) (Cause, string) {
	if c.mode == Sending && c.owed(first, second) {
		return ByOwed, ""
	}
	if first.who == second.who {
		return "", "by one process"
	}
	if first.overHTTP() || second.overHTTP() {
		return ByHTTP, ""
	}
	if c.mode == Sending && (first.overPubSub() || second.overPubSub()) {
		return ByPubSub, ""
	}
	latest := c.records[second.began].At.Add(renewTime)
	disturbed := false
	for i := first.began; i < len(c.records); i++ {
		r := c.records[i]
		if i < first.ended {
			// What was lost within the handler could not be acknowledged after it.
			if r.Who == first.who && r.What == Lost && r.Type == first.Type {
				return ByLease, ""
			}
			continue
		}
		disturbed = disturbed || !c.quiet[i]
		if i > second.began && r.At.After(latest) {
			break
		}
		if r.Who != first.who {
			continue
		}
		var cause Cause
		switch {
		case r.What == Killed:
			cause = ByKill
		case r.What == Lost && r.Type == first.Type:
			cause = ByLease
		case r.What == Stopped && disturbed:
			cause = ByStop
		default:
			continue
		}
		if calm := c.calm[i] - c.calm[first.ended]; calm > settleTime {
			return "", fmt.Sprintf("%s: but only after %s in which it could have been acknowledged", cause, calm.Round(time.Millisecond))
		}
		return cause, ""
	}
	return "", "the first process lives on and has its lease"
}

// checkAtOnce looks for handlings of a type that overlap in two processes.
func (c *checker) checkAtOnce() {
	byType := map[message.Type][]*handling{}
	for _, h := range c.all {
		byType[h.Type] = append(byType[h.Type], h)
	}
	for _, list := range byType {
		var running []*handling
		for _, h := range list {
			running = slices.DeleteFunc(running, func(r *handling) bool { return r.ended < h.began })
			for _, r := range running {
				switch {
				case r.who == h.who:
				case r.overHTTP() || h.overHTTP():
					if r.Key == h.Key {
						c.AtOnce[ByHTTP]++
					}
				case r.stubborn:
					c.AtOnce[ByDeaf]++
				default:
					c.fault("two handlers at once: %s and %s", r, h)
				}
			}
			running = append(running, h)
		}
	}
}

// checkOrder compares the order of the first handlings with that of publishing.
func (c *checker) checkOrder() {
	newest := map[message.Type]*handling{}
	firsts := slices.SortedFunc(maps.Values(c.first), func(a, b *handling) int { return cmp.Compare(a.began, b.began) })
	for _, h := range firsts {
		before := newest[h.Type]
		late := before != nil && before.N > h.N
		_, promised := c.receipts[h.Key]
		if c.mode == Sending && promised {
			promised = c.inOrder(h, before)
		}
		if late && c.mode == Flush && (before.overHTTP() || h.via == string(message.ViaPubSub)) {
			// The IDs of the new stream may begin below, and what the old one had
			// is handled as soon as it is found to be missing.
			promised = false
		}
		switch {
		case late && promised:
			c.fault("out of order: %s after %s", h, before)
		case late:
			c.Late++
		case promised:
			newest[h.Type] = h
		}
	}
}

// sessionCauses are the gaps of pub/sub connections: what has an entry in a
// stream is in none of them.
var sessionCauses = map[string]bool{
	string(subscriber.CauseConnection): true, string(subscriber.CauseTimeout): true, string(subscriber.CauseNotDelivering): true,
	string(subscriber.CauseRefused): true, string(subscriber.CauseRestart): true, string(subscriber.CauseSequence): true,
}

func (c *checker) checkGaps() {
	groups := map[message.Type]bool{}
	for i, r := range c.records {
		if r.What != Gap || sessionCauses[r.Detail] {
			continue
		}
		c.Gaps[r.Detail]++
		if r.Detail == string(subscriber.CauseNewGroup) && !groups[r.Type] {
			groups[r.Type] = true // its first start
			continue
		}
		switch {
		case r.N < 0:
			c.Missing = -1
		case c.Missing >= 0:
			c.Missing += r.N
		}
		if c.mode == Plain || c.mode == Sending && (r.Detail != string(subscriber.CauseTakeover) || !c.unstreamed[r.Type]) {
			// A takeover tells of what was published without streams meanwhile.
			c.fault("%s reports a gap in %s: %s, missing %d (line %d)", r.Who, r.Type, r.Detail, r.N, i)
		}
	}
	switch lost := len(c.Lost); {
	case c.mode == Trim && c.Missing >= 0 && c.Missing < lost:
		c.fault("%d messages were lost, and the gaps report %d", lost, c.Missing)
	case c.mode == Flush:
		c.checkFlush()
	}
}

// checkFlush demands for each type that lost messages a gap that was reported
// after FLUSHALL.
func (c *checker) checkFlush() {
	lost, told := map[message.Type]int{}, map[message.Type]bool{}
	for _, k := range c.Lost {
		lost[k.Type]++
	}
	flushed := false
	for _, r := range c.records {
		switch {
		case r.What == FaultOn && r.Detail == string(ServerFlush):
			flushed = true
		case r.What == Gap && !sessionCauses[r.Detail] && flushed:
			told[r.Type] = true
		}
	}
	for t, n := range lost {
		if !told[t] {
			c.fault("%d messages of %s were lost, and no gap tells of it", n, t)
		}
	}
}

// recover finds the longest time for which messages of a type waited while no
// handler of it ran and no fault was at work.
func (c *checker) recover() {
	type state struct {
		waiting map[int]bool
		running int
		stalled time.Duration
		since   int // the record before the stall
	}
	states := map[message.Type]*state{}
	of := func(t message.Type) *state {
		if states[t] == nil {
			states[t] = &state{waiting: map[int]bool{}}
		}
		return states[t]
	}
	begins, ends := map[int]*handling{}, map[int][]*handling{}
	for _, h := range c.all {
		begins[h.began] = h
		ends[h.ended] = append(ends[h.ended], h)
	}
	for i, r := range c.records {
		if i > 0 {
			passed := c.calm[i] - c.calm[i-1]
			for t, s := range states {
				if len(s.waiting) == 0 || s.running > 0 {
					s.stalled, s.since = 0, i
					continue
				}
				if s.stalled += passed; s.stalled > c.Recovery {
					c.Recovery, c.Stalled = s.stalled, fmt.Sprintf("%s, lines %d-%d", t, s.since, i)
				}
			}
		}
		key := Key{r.Type, r.N}
		if first := c.first[key]; r.What == Published && !c.dead[key] && (c.mode != Sending || first != nil) && (first == nil || first.ended > i) {
			of(r.Type).waiting[r.N] = true
		}
		if h := begins[i]; h != nil {
			of(h.Type).running++
			of(h.Type).stalled, of(h.Type).since = 0, i
		}
		for _, h := range ends[i] {
			of(h.Type).running--
			if c.first[h.Key] == h {
				delete(of(h.Type).waiting, h.N)
			}
		}
	}
}

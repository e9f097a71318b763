package faults

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Sending seeds are FirstSending to LastSending. Their faults hit what a
// publisher leans on: the file of its outbox, its receiver, the address of its
// Redis; and it is started in another mode now and then.
const (
	Sending Mode = "sending"

	FirstSending = 401
	LastSending  = 500
)

// The kinds of sending seeds alone.
const (
	OutboxRemoved   Kind = "outbox removed"
	OutboxCut       Kind = "outbox truncated"
	OutboxDamaged   Kind = "outbox record damaged"
	PublisherStop   Kind = "publisher restarted in another mode"
	ServerMoved     Kind = "address moved to another master"
	ServerMisconf   Kind = "MISCONF"
	ReceiverHangs   Kind = "receiver hung"
	ReceiverRefuses Kind = "receiver refused for good"
)

// outboxFaults are those that hurt the file of the outbox.
var outboxFaults = []Kind{OutboxRemoved, OutboxCut, OutboxDamaged}

// Between as the argument of a fault of the outbox has it come while no
// publisher runs; else one runs.
const Between = "between"

// The modes in which a publisher of a sending seed runs.
const (
	RunsDurable  = "durable"
	RunsAuto     = "auto"
	RunsPlain    = "plain"
	RunsDisabled = "disabled"
)

// inStreams tells whether a publisher of a mode keeps messages in streams.
func inStreams(runs string) bool { return runs == RunsDurable || runs == RunsAuto }

// newSendingPlan makes the plan of a sending seed.
func newSendingPlan(seed uint64) Plan {
	rng := rand.New(rand.NewPCG(seed, 0x5e9d))
	p := Plan{
		Seed: seed, Mode: Sending, Slots: 2, Length: 9 * time.Second,
		FallbackAll: rng.IntN(2) == 0, Salvage: rng.IntN(2) == 0, Requeue: rng.IntN(2) == 0,
	}
	usual := []Kind{ServerKill, ServerSleep, ClientKill, HandlerKill, SubscriberKill, SubscriberStop, PublisherDeath, Cut, Reset, BlackHole, SwallowOn, Refuse}
	for range 2 + rng.IntN(5) {
		kind := usual[rng.IntN(len(usual))]
		if kind == PublisherDeath {
			p.Deaths = append(p.Deaths, newDeath(rng))
			continue
		}
		f := Fault{At: time.Duration(rng.Int64N(int64(p.Length))), Kind: kind, Slot: rng.IntN(p.Slots)}
		f.fill(rng)
		p.Faults = append(p.Faults, f)
	}
	for range 1 + rng.IntN(2) {
		f := Fault{At: time.Second + time.Duration(rng.Int64N(int64(6*time.Second))), Kind: []Kind{ServerMoved, ServerMisconf}[rng.IntN(2)]}
		if f.Kind == ServerMisconf {
			f.For = 200*time.Millisecond + time.Duration(rng.Int64N(int64(3*time.Second)))
		}
		p.Faults = append(p.Faults, f)
	}
	files := slices.Clone(outboxFaults)
	rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	at := time.Second
	modes := []string{RunsDurable, RunsAuto, RunsPlain, RunsDisabled, RunsPlain}
	for _, kind := range files[:2] {
		p.Runs = append(p.Runs, modes[rng.IntN(len(modes))])
		at += time.Second + time.Duration(rng.Int64N(int64(time.Second)))
		f := Fault{At: at, Kind: kind, Cut: rng.IntN(1000)}
		if rng.IntN(2) == 0 {
			f.Arg = Between
		}
		p.Faults = append(p.Faults, f)
		// Something is to lie in the file.
		p.Faults = append(p.Faults, Fault{At: at - time.Second, For: 2 * time.Second, Kind: Refuse, Link: LinkPublisher})
		if rng.IntN(3) > 0 {
			p.Faults = append(p.Faults, Fault{At: at - time.Second, For: 2 * time.Second, Kind: ReceiverHangs})
		}
		if f.Arg != Between {
			at += time.Second
			p.Faults = append(p.Faults, Fault{At: at, Kind: PublisherStop})
		}
	}
	p.Runs = append(p.Runs, RunsDurable) // which must bring all there is
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range p.Faults {
		p.Faults[i].N = i + 1
	}
	return p
}

// RefusalOf is the status with which the receiver refuses a message for good, 0
// if it takes it.
func RefusalOf(seed uint64, t message.Type, n int) int {
	if seed < FirstSending || seed > LastSending {
		return 0
	}
	rng := rand.New(rand.NewPCG(seed^0x4ef0, uint64(n)<<8^uint64(len(t))))
	switch rng.IntN(40) {
	case 0:
		return 422
	case 1:
		return 413
	}
	return 0
}

// MessageID is the ID of the message with a number.
func MessageID(k Key) string { return string(k.Type) + strconv.Itoa(k.N) }

// KeyOf is the message with an ID; its number is zero if that is not one of
// MessageID.
func KeyOf(t message.Type, id string) Key {
	k := Key{Type: t}
	if len(id) > len(t) {
		k.N, _ = strconv.Atoi(id[len(t):])
	}
	return k
}

// sent is what a journal of a sending seed says of one message beside its
// receipt.
type sent struct {
	runs   map[string]bool // the modes in which it was sent
	heard  bool            // pub/sub was all that had it
	kept   bool            // at the end the outbox, or a file set aside, has it
	held   bool            // was in the outbox when its file was hurt
	gone   []int           // records that say that a file lost it
	unseen bool            // when nobody ran who could tell
	// refused is where the receiver did so for good, 0 if it did not: what is
	// behind it overtakes, and comes again.
	refused int
}

// readSending collects what was said.
func (c *checker) readSending() {
	c.sent, c.unstreamed = map[Key]*sent{}, map[message.Type]bool{}
	of := func(k Key) *sent {
		if c.sent[k] == nil {
			c.sent[k] = &sent{runs: map[string]bool{}}
		}
		return c.sent[k]
	}
	runs := map[string]string{}
	for i, r := range c.records {
		k := Key{r.Type, r.N}
		switch r.What {
		case Runs:
			runs[r.Who] = r.Detail
		case Publishing:
			of(k).runs[runs[r.Who]] = true
		case Published:
			if r.Via == "pubsub" {
				of(k).heard, c.unstreamed[r.Type] = true, true
			}
		case Left:
			of(k).runs[runs[r.Who]] = true
			if r.Via == "pubsub" {
				of(k).heard, c.unstreamed[r.Type] = true, true
			}
		case ReceiverRefused:
			if of(k).refused == 0 {
				of(k).refused = i
			}
		case FaultOn:
			if slices.Contains(outboxFaults, Kind(r.Detail)) {
				c.hurts = append(c.hurts, i)
			}
		case Kept:
			of(k).kept = true
		case AtRisk:
			s := of(k)
			s.held = true
			switch r.Detail {
			case RiskGone:
				s.gone = append(s.gone, i)
			case RiskUnseen:
				s.unseen = true
			}
		}
	}
}

// excused tells why a message that was not handled is not lost, and counts it.
func (c *checker) excused(k Key) bool {
	if c.mode != Sending {
		return false
	}
	s := c.sent[k]
	switch {
	case s == nil:
		return false
	case s.kept:
		c.Kept++
	case c.records[c.receipts[k]].Via == "none", s.unseen:
		c.Told++
	case len(s.gone) > 0:
		if !slices.ContainsFunc(s.gone, c.told) {
			c.fault("%s vanished with the outbox, and nobody told (line %d)", k, s.gone[0])
			return false
		}
		c.Told++
	case s.heard:
		c.Unheard++
	default:
		return false
	}
	return true
}

// told reports whether a publisher told of what befell its outbox at a record
// before the next thing befell it, or was killed before it could.
func (c *checker) told(at int) bool {
	for i := at; i < len(c.records); i++ {
		r := c.records[i]
		switch {
		case slices.Contains(c.hurts, i):
			return false
		case r.What == Told:
			return true
		case r.What == Dies && len(r.Who) > 9 && r.Who[:9] == "publisher":
			return true
		}
	}
	return false
}

// inOrder tells whether the order of a message is promised: all that sent it
// kept it in streams, its file was whole, and no receiver refused it for good
// before what is newer came.
func (c *checker) inOrder(h, newer *handling) bool {
	s := c.sent[h.Key]
	overtaken := s != nil && s.refused > 0 && newer != nil && s.refused < newer.began
	return s != nil && !overtaken && !h.overPubSub() && c.streamed(h.Key)
}

// streamed tells whether all that sent a message kept it in streams, and nothing
// befell it in the outbox.
func (c *checker) streamed(k Key) bool {
	s := c.sent[k]
	if s == nil || s.held || s.kept {
		return false
	}
	for runs := range s.runs {
		if !inStreams(runs) {
			return false
		}
	}
	return true
}

// owed tells whether a message was handled a second time since it had been
// posted ahead of an older one that the receiver had refused for good.
func (c *checker) owed(first, second *handling) bool {
	if !first.overHTTP() || second.via != string(message.ViaStream) {
		return false
	}
	for k, s := range c.sent {
		if k.Type != second.Type || k.N >= second.N || s.refused == 0 || s.refused > first.began {
			continue
		}
		if older := c.first[k]; older == nil || older.began > first.began {
			return true
		}
	}
	return false
}

// checkNewestLast demands that what was posted ahead of a message that the
// receiver refused for good was handled again behind it, so that no receiver
// ends with the older news.
func (c *checker) checkNewestLast() {
	last := map[Key]int{}
	for _, h := range c.all {
		if h.detail == EndedWell {
			last[h.Key] = h.began
		}
	}
	for k, s := range c.sent {
		older := c.first[k]
		if s.refused == 0 || older == nil || !c.streamed(k) {
			continue
		}
		for key, newer := range c.first {
			_, promised := c.receipts[key]
			ahead := key.Type == k.Type && key.N > k.N && newer.overHTTP() && newer.began > s.refused && newer.began < older.began
			if ahead && promised && !c.dead[key] && c.streamed(key) && last[key] < older.began {
				c.fault("older news last: %s, refused over HTTP, was handled behind %s, and that not again", older, newer)
			}
		}
	}
}

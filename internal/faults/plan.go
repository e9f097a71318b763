package faults

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// Messages is how many messages a seed publishes, over all types.
const Messages = 2000

// Types are what is published, and how many of each in a hundred.
var Types = []struct {
	Type  message.Type
	Share int
}{
	{message.TypeMatchUpdates, 40},
	{message.TypeProcessingStatus, 40},
	{message.TypeSystemAlert, 20},
}

// Mode says what a seed may show.
type Mode string

const (
	Plain Mode = "plain"
	Trim  Mode = "trim"  // streams and dead letters are bounded
	Flush Mode = "flush" // FLUSHALL in the middle
)

// Kind is a kind of fault.
type Kind string

// The kinds. Those with a target hit the link of one process.
const (
	ServerKill  Kind = "server killed"
	ServerSleep Kind = "DEBUG SLEEP"
	ServerFull  Kind = "Redis full"
	ServerClock Kind = "clock step"
	ServerFlush Kind = "FLUSHALL"
	ScriptFlush Kind = "SCRIPT FLUSH"
	ClientKill  Kind = "CLIENT KILL"

	HandlerKill    Kind = "killed in a handler"
	SubscriberKill Kind = "subscriber killed"
	SubscriberStop Kind = "subscriber restarted"
	PublisherDeath Kind = "publisher died between steps"

	Cut       Kind = "cut"
	Reset     Kind = "reset"
	BlackHole Kind = "black hole"
	HalfFrame Kind = "half frame"
	Swallow   Kind = "answers swallowed"
	SwallowOn Kind = "answer of one command swallowed"
	Slow      Kind = "slow link"
	Refuse    Kind = "connections refused"

	SlowHandler    Kind = "slow handler"
	FailingHandler Kind = "handler failed 1-3 times"
	PoisonHandler  Kind = "handler failed always"
	DeafHandler    Kind = "handler ignored its context"
)

// Fault is one entry of a schedule.
type Fault struct {
	At   time.Duration // since the start
	For  time.Duration // zero: a moment
	Kind Kind
	// Link names the connections that are hit: Publisher, HTTP, or those of a
	// subscriber by its number.
	Link string
	Slot int // the subscriber that is hit
	Arg  string
	N    int
	Cut  int // where a file is hurt, in thousandths
}

// The links that are not a subscriber's.
const (
	LinkPublisher = "publisher"
	LinkHTTP      = "http"
)

// Death tells a publisher when to die: at the step so many of the seam.
type Death struct {
	Seam string // "redis", "outbox", "http", or "" for any
	Step int
}

// Plan is what a seed fixes.
type Plan struct {
	Seed   uint64
	Mode   Mode
	Slots  int           // subscribers
	Length time.Duration // of publishing
	Faults []Fault
	Deaths []Death
	// FallbackAll lets all types go over HTTP, not match updates alone.
	FallbackAll bool
	// Again has the publisher's caller publish again, with the same ID, what
	// Publish returned an error for; else it goes on with the next.
	Again bool

	// Of sending seeds: the modes in which the publisher runs one after another;
	// whether at the end what was set aside is put back, whole files and single
	// records.
	Runs             []string `json:",omitempty"`
	Salvage, Requeue bool     `json:",omitempty"`
}

// NewPlan makes the plan of a seed.
func NewPlan(seed uint64) Plan {
	if seed >= FirstSending && seed <= LastSending {
		return newSendingPlan(seed)
	}
	rng := rand.New(rand.NewPCG(seed, 0x0f09))
	p := Plan{
		Seed: seed, Mode: Plain, Slots: 2 + rng.IntN(2), Length: 9 * time.Second,
		FallbackAll: rng.IntN(2) == 0, Again: rng.IntN(3) > 0,
	}
	switch seed % 10 {
	case 8:
		p.Mode = Trim
	case 9:
		p.Mode = Flush
	}
	kinds := []Kind{
		ServerKill, ServerKill, ServerSleep, ServerFull, ServerClock, ScriptFlush, ClientKill, ClientKill,
		HandlerKill, SubscriberKill, SubscriberStop, PublisherDeath, PublisherDeath, PublisherDeath,
		Cut, Reset, BlackHole, BlackHole, HalfFrame, HalfFrame, Swallow, SwallowOn, SwallowOn, SwallowOn, Slow, Refuse,
	}
	for range 12 + rng.IntN(10) {
		kind := kinds[rng.IntN(len(kinds))]
		if kind == PublisherDeath {
			p.Deaths = append(p.Deaths, newDeath(rng))
			continue
		}
		f := Fault{At: time.Duration(rng.Int64N(int64(p.Length))), Kind: kind, Slot: rng.IntN(p.Slots)}
		f.fill(rng)
		p.Faults = append(p.Faults, f)
	}
	if p.Mode == Flush {
		p.Faults = append(p.Faults, Fault{At: p.Length/3 + time.Duration(rng.Int64N(int64(p.Length/3))), Kind: ServerFlush})
	}
	slices.SortFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range p.Faults {
		p.Faults[i].N = i + 1
	}
	return p
}

func newDeath(rng *rand.Rand) Death {
	switch rng.IntN(6) {
	case 0:
		return Death{"outbox", 1 + rng.IntN(12)}
	case 1:
		return Death{"http", 1 + rng.IntN(6)}
	case 2:
		return Death{"", 1 + rng.IntN(300)}
	default:
		return Death{"redis", 1 + rng.IntN(2000)}
	}
}

// fill draws the rest of a fault.
func (f *Fault) fill(rng *rand.Rand) {
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(most-least)))
	}
	// Most outages are short; some outlive a lease.
	outage := func() time.Duration {
		if rng.IntN(5) == 0 {
			return between(6*time.Second, 11*time.Second)
		}
		return between(50*time.Millisecond, 2*time.Second)
	}
	link := func() string {
		switch rng.IntN(5) {
		case 0:
			return LinkHTTP
		case 1, 2:
			return LinkPublisher
		}
		return strconv.Itoa(f.Slot)
	}
	switch f.Kind {
	case ServerKill:
		f.For = outage()
	case ServerSleep:
		f.For = outage()
	case ServerFull:
		f.For = between(100*time.Millisecond, 3*time.Second)
	case ServerClock:
		steps := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, time.Hour, 26 * time.Hour}
		step := steps[rng.IntN(len(steps))]
		if rng.IntN(2) == 0 {
			step = -step
		}
		f.Arg = step.String()
	case ClientKill:
		f.Arg = []string{"normal", "pubsub"}[rng.IntN(2)]
	case HandlerKill:
		f.Arg = []string{Began, "inside", Ended}[rng.IntN(3)]
	case BlackHole:
		f.Link, f.For = link(), outage()
	case Cut, Reset:
		f.Link = link()
	case HalfFrame:
		f.Link, f.For = link(), between(50*time.Millisecond, 2*time.Second)
	case Swallow:
		f.Link, f.For = link(), between(50*time.Millisecond, 2*time.Second)
	case SwallowOn:
		f.Link = link()
		switch f.Link {
		case LinkPublisher:
			f.Arg = []string{"xadd", "evalsha", "publish"}[rng.IntN(3)]
		case LinkHTTP:
			f.Arg = "post"
		default:
			f.Arg = []string{"xreadgroup", "evalsha", "ping"}[rng.IntN(3)]
		}
		f.For = time.Second // it waits for the command so long
	case Slow:
		f.Link, f.For = link(), between(100*time.Millisecond, 2*time.Second)
		f.Arg = strconv.Itoa(1000 << rng.IntN(6))
	case Refuse:
		f.Link, f.For = link(), outage()
	}
}

// Behaviour is what a handler does with a message.
type Behaviour struct {
	Wait  time.Duration
	Deaf  bool // does not heed its context while it waits
	Fails int  // so many times in one process; -1 is always
	// Pad is how many bytes the message is made longer by.
	Pad int
}

// Kind is the fault that the behaviour is, "" for none.
func (b Behaviour) Kind() Kind {
	switch {
	case b.Fails < 0:
		return PoisonHandler
	case b.Fails > 0:
		return FailingHandler
	case b.Deaf:
		return DeafHandler
	case b.Wait > 0:
		return SlowHandler
	}
	return ""
}

// BehaviourOf is fixed by the seed and the message.
func BehaviourOf(seed uint64, t message.Type, n int) (b Behaviour) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()^uint64(n)))
	if rng.IntN(20) == 0 {
		b.Pad = rng.IntN(20_000)
	}
	switch p := rng.IntN(1000); {
	case p < 2:
		b.Fails = -1
	case p < 12:
		b.Fails = 1 + rng.IntN(3)
	case p < 14:
		b.Wait, b.Deaf = time.Duration(rng.IntN(1500))*time.Millisecond, true
	case p < 34:
		b.Wait = time.Duration(20+rng.IntN(130)) * time.Millisecond
	case p < 36:
		b.Wait = time.Duration(500+rng.IntN(2000)) * time.Millisecond
	}
	return b
}

package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// patience is how long what was promised may take when no fault is at work any
// more.
const patience = time.Minute

// world is a seed on its way. Its methods belong to the test's goroutine.
type world struct {
	t       *testing.T
	plan    faults.Plan
	dir     string
	path    string // of the journal
	journal *faults.Journal
	server  *realredis.Server
	admin   *redis.Client
	clock   string // the file that the server's clock is read from
	offset  time.Duration
	links   map[string]*faultnet.Proxy
	subs    []*child // by slot; nil while it is away
	listens []string // where each slot serves HTTP
	pub     *child
	started map[string]int // processes by name
	deaths  []faults.Death
	other   *realredis.Server // a replica, in sending seeds
	runs    int               // which of the plan's modes the publisher has
	between []func()          // what is to be done when the publisher has ended
	blocked string            // stands where a snapshot is to be, during MISCONF
	copies  int               // of the outbox's file
	begin   time.Time
	actions []action // sorted
	exits   chan *child
	ending  bool // nobody is started any more
	// broken is what went wrong beside what the journal tells.
	broken []string
}

type action struct {
	at time.Time
	do func()
}

// child is a process of this binary that plays a role.
type child struct {
	who   string
	slot  int // -1 for the publisher
	cmd   *exec.Cmd
	in    io.WriteCloser
	asked bool // to end
	err   error
}

func newWorld(t *testing.T, plan faults.Plan, dir string) *world {
	w := &world{
		t: t, plan: plan, dir: dir, path: filepath.Join(dir, "journal.jsonl"), clock: filepath.Join(dir, "clock"),
		links: map[string]*faultnet.Proxy{}, started: map[string]int{}, deaths: plan.Deaths, exits: make(chan *child, 64),
	}
	journal, err := faults.OpenJournal(w.path, "run")
	require.NoError(t, err)
	w.journal = journal
	t.Cleanup(func() { _ = journal.Close() })
	w.setClock(0)
	w.server = w.newServer()
	w.admin = w.newAdmin()
	if plan.Mode == faults.Sending {
		w.other = w.newServer()
		w.other.Follow(w.server)
	}
	t.Cleanup(func() { _ = w.admin.Close() })
	w.links[faults.LinkPublisher] = faultnet.New(t, w.server.Addr())
	for slot := range plan.Slots {
		w.links[strconv.Itoa(slot)] = faultnet.New(t, w.server.Addr())
		w.listens = append(w.listens, faultnet.Reserve(t))
	}
	w.links[faults.LinkHTTP] = faultnet.New(t, w.listens[int(plan.Seed)%plan.Slots])
	w.subs = make([]*child, plan.Slots)
	t.Cleanup(w.killAll)
	return w
}

// newServer starts a server whose clock the world sets.
func (w *world) newServer() *realredis.Server {
	s := realredis.New(w.t, "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local", "--repl-diskless-sync-delay", "0")
	// The C library's malloc stands before that of jemalloc, whose start asks
	// for the time before libfaketime is ready.
	s.Setenv("LD_PRELOAD="+requireFaketime(w.t)+" libc.so.6", "FAKETIME_TIMESTAMP_FILE="+w.clock,
		"FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	s.Start()
	return s
}

func (w *world) newAdmin() *redis.Client {
	o := w.server.Options()
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.DialerRetries = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, 1
	return redis.NewClient(o)
}

// requireFaketime returns the library that changes a program's clock.
func requireFaketime(t *testing.T) string {
	for _, pattern := range []string{"/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	realredis.Require(t, "libfaketimeMT.so.1") // skips or fails
	return ""
}

// run plays the seed and returns what the journal says.
func (w *world) run() (faults.Verdict, []faults.Record) {
	w.begin = time.Now()
	for slot := range w.subs {
		w.startSubscriber(slot)
	}
	w.startPublisher()
	for _, f := range w.plan.Faults {
		w.at(w.begin.Add(f.At), func() { w.inject(f) })
	}
	end := w.begin.Add(w.plan.Length)
	for _, f := range w.plan.Faults {
		if over := w.begin.Add(f.At + f.For); over.After(end) {
			end = over
		}
	}
	w.until(end.Add(100*time.Millisecond), nil)
	w.heal()
	done := func() bool { return w.pub == nil && w.started["publisher"] > 0 && !w.pending("publisher") }
	for before, ended := int64(-1), false; !ended; {
		size := w.journalSize()
		if size == before { // on a slow machine it is late, and goes on
			w.broken = append(w.broken, "the publisher was not done after the last fault, and nothing happened for a minute")
			break
		}
		before, ended = size, w.until(time.Now().Add(patience), done)
	}
	if w.plan.Mode == faults.Sending {
		w.noteKept()
	}
	var dead []faults.Key
	if !w.until(time.Now().Add(patience), func() bool { dead = w.deadLetters(); return w.unsettled(dead) == "" }) {
		w.broken = append(w.broken, "a minute after the last fault: "+w.unsettled(dead))
	}
	w.ending = true
	for _, c := range w.subs {
		if c != nil {
			w.ask(c)
		}
	}
	if !w.until(time.Now().Add(20*time.Second), func() bool { return !slices.ContainsFunc(w.subs, func(c *child) bool { return c != nil }) }) {
		w.broken = append(w.broken, "a subscriber did not end")
	}
	records, err := readJournal(w.path)
	require.NoError(w.t, err)
	v := faults.Check(w.plan.Mode, records, w.deadLetters())
	v.Faults = append(v.Faults, w.broken...)
	w.searchLogs()
	return v, records
}

// journalSize tells whether anything happened.
func (w *world) journalSize() int64 {
	info, err := os.Stat(w.path)
	require.NoError(w.t, err)
	return info.Size()
}

// searchLogs looks in what the processes logged for what the messages hold.
func (w *world) searchLogs() {
	logs, err := filepath.Glob(filepath.Join(w.dir, "*.log"))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, logs)
	for _, log := range logs {
		logcheck.Clean(w.t, filepath.Base(log), string(readFile(w.t, log)))
	}
}

// at has something done at a time.
func (w *world) at(at time.Time, do func()) {
	i, _ := slices.BinarySearchFunc(w.actions, at, func(a action, at time.Time) int {
		return cmp.Or(a.at.Compare(at), -1) // behind those of the same time
	})
	w.actions = slices.Insert(w.actions, i, action{at, do})
}

// until does what is due until the deadline, or until done.
func (w *world) until(deadline time.Time, done func() bool) bool {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		for len(w.actions) > 0 && !w.actions[0].at.After(time.Now()) {
			do := w.actions[0].do
			w.actions = w.actions[1:]
			do()
		}
		next := deadline
		if len(w.actions) > 0 && w.actions[0].at.Before(next) {
			next = w.actions[0].at
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case c := <-w.exits:
			w.exited(c)
		case <-timer.C:
		case <-tick.C:
			if done != nil && done() {
				timer.Stop()
				return true
			}
		case <-w.t.Context().Done():
			w.t.FailNow()
		}
		timer.Stop()
		if !time.Now().Before(deadline) {
			return false
		}
	}
}

func (w *world) note(r faults.Record) { require.NoError(w.t, w.journal.Write(r)) }

// start starts a process of this binary.
func (w *world) start(name string, r role) *child {
	w.started[name]++
	who := name + "." + strconv.Itoa(w.started[name])
	r.Who, r.Plan, r.Journal, r.Start = who, w.plan, w.path, w.begin
	text, err := json.Marshal(r)
	require.NoError(w.t, err)
	exe, err := os.Executable()
	require.NoError(w.t, err)
	c := &child{who: who, slot: -1, cmd: exec.Command(exe)}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+string(text), "GOMAXPROCS=2")
	log, err := os.Create(filepath.Join(w.dir, who+".log"))
	require.NoError(w.t, err)
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.in, err = c.cmd.StdinPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, c.cmd.Start())
	go func() {
		c.err = c.cmd.Wait()
		w.exits <- c
	}()
	return c
}

func (w *world) startSubscriber(slot int) {
	if w.ending || w.subs[slot] != nil {
		return
	}
	c := w.start("subscriber-"+strconv.Itoa(slot), role{
		Name: "subscriber", Redis: w.links[strconv.Itoa(slot)].Addr(), HTTP: w.listens[slot],
	})
	c.slot = slot
	w.subs[slot] = c
}

func (w *world) startPublisher() {
	r := role{Name: "publisher", Redis: w.links[faults.LinkPublisher].Addr(), HTTP: "http://" + w.links[faults.LinkHTTP].Addr() + "/",
		Outbox: filepath.Join(w.dir, "outbox")}
	if len(w.plan.Runs) > 0 {
		r.Runs, r.Last = w.plan.Runs[w.runs], w.runs == len(w.plan.Runs)-1
	}
	if len(w.deaths) > 0 {
		r.Death, w.deaths = w.deaths[0], w.deaths[1:]
	}
	w.pub = w.start("publisher", r)
}

// pending tells that the publisher is to be started again.
func (w *world) pending(string) bool { return len(w.actions) > 0 }

// exited notes the end of a process, and has it started again.
func (w *world) exited(c *child) {
	state, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	r := faults.Record{Who: c.who, What: faults.Stopped}
	switch {
	case state.Signaled() && state.Signal() == syscall.SIGKILL:
		r.What = faults.Killed
	case state.Signaled() && c.asked: // before it heeded the signal
	case c.err != nil:
		r.Detail = c.err.Error()
		w.broken = append(w.broken, fmt.Sprintf("%s ended by itself: %v\n%s", c.who, c.err, w.tail(c.who)))
	}
	w.note(r)
	if c.slot >= 0 {
		w.subs[c.slot] = nil
		w.at(time.Now().Add(time.Duration(100+300*c.slot)*time.Millisecond), func() { w.startSubscriber(c.slot) })
		return
	}
	w.pub = nil
	again := r.What == faults.Killed || c.err != nil || c.asked
	for _, do := range w.between {
		do()
	}
	w.between = nil
	if again && !w.ending {
		w.at(time.Now().Add(50*time.Millisecond), w.startPublisher)
	}
}

// tail is the end of a process's log.
func (w *world) tail(who string) string {
	b, err := os.ReadFile(filepath.Join(w.dir, who+".log"))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(len(lines)-10, 0):], []byte("\n")))
}

func (w *world) kill(c *child) { _ = c.cmd.Process.Kill() }

// ask asks a process to end in order.
func (w *world) ask(c *child) {
	c.asked = true
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
}

func (w *world) killAll() {
	w.ending = true
	for _, c := range append(w.subs, w.pub) {
		if c != nil {
			w.kill(c)
		}
	}
	for slices.ContainsFunc(append(w.subs, w.pub), func(c *child) bool { return c != nil }) {
		c := <-w.exits
		if c.slot < 0 {
			w.pub = nil
		} else {
			w.subs[c.slot] = nil
		}
	}
}

// unsettled tells what of that which was promised has not come about, "" if all
// has.
func (w *world) unsettled(dead []faults.Key) string {
	records, err := readJournal(w.path)
	require.NoError(w.t, err)
	done := map[faults.Key]bool{}
	for _, k := range dead {
		done[k] = true
	}
	for _, r := range records {
		if r.What == faults.Ended && r.Detail == faults.EndedWell {
			done[faults.Key{Type: r.Type, N: r.N}] = true
		}
	}
	if w.plan.Mode == faults.Sending {
		if v := faults.Check(w.plan.Mode, records, dead); len(v.Lost) > 0 {
			return fmt.Sprintf("%s was published and not handled", v.Lost[0])
		}
	}
	for _, r := range records {
		if r.What == faults.Published && !done[faults.Key{Type: r.Type, N: r.N}] && w.plan.Mode == faults.Plain {
			return fmt.Sprintf("%s %d was published and not handled", r.Type, r.N)
		}
	}
	for _, t := range faults.Types {
		key := durable.StreamKey(t.Type.DefaultChannel())
		stream, err := w.admin.XInfoStream(context.Background(), key).Result()
		if err != nil {
			return err.Error()
		}
		groups, err := w.admin.XInfoGroups(context.Background(), key).Result()
		if err != nil {
			return err.Error()
		}
		if len(groups) == 0 {
			return fmt.Sprintf("%s: no group", t.Type)
		}
		for _, g := range groups {
			// Not by the lag, which Redis 7.0 forgets when it loads its file.
			if g.Pending > 0 || g.LastDeliveredID != stream.LastGeneratedID {
				lease := w.admin.PTTL(context.Background(), "{"+t.Type.DefaultChannel()+"}:lease:"+group).Val()
				return fmt.Sprintf("%s: %d entries are pending, read up to %s of %s; the lease lasts %s", t.Type, g.Pending, g.LastDeliveredID, stream.LastGeneratedID, lease)
			}
		}
	}
	return ""
}

func (w *world) deadLetters() (keys []faults.Key) {
	o := w.server.Options()
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	defer client.Close()
	for _, t := range faults.Types {
		dead, err := durable.NewDeadLetters(client, t.Type.DefaultChannel())
		require.NoError(w.t, err)
		for letter, err := range dead.List(context.Background(), durable.Filter{}) {
			require.NoError(w.t, err)
			e, err := message.Decode(letter.Entry.Body)
			require.NoError(w.t, err)
			n, err := numberOf(e)
			require.NoError(w.t, err)
			keys = append(keys, faults.Key{Type: t.Type, N: n})
		}
	}
	return keys
}

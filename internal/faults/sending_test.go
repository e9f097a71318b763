package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/outbox"
)

func (w *world) outboxPath() string { return filepath.Join(w.dir, "outbox") }

// nextRun has the publisher end, and started in the next mode when do was done.
func (w *world) nextRun(do func()) {
	w.runs++
	if do != nil {
		w.between = append(w.between, do)
	}
	if w.pub != nil { // else it is about to be started
		w.ask(w.pub)
		return
	}
	for _, do := range w.between {
		do()
	}
	w.between = nil
}

// hurtOutbox removes the outbox's file, cuts it or changes a byte of a record. A
// publisher that runs stands still meanwhile, so that it is known what the file
// held.
func (w *world) hurtOutbox(f faults.Fault, noted func()) {
	if f.Arg == faults.Between {
		if w.runs+1 < len(w.plan.Runs) {
			w.nextRun(func() { w.hurt(f, noted) })
		}
		return
	}
	if w.pub == nil {
		return
	}
	p := w.pub.cmd.Process
	if p.Signal(syscall.SIGSTOP) != nil {
		return
	}
	if stands(p.Pid) {
		w.hurt(f, noted)
	}
	_ = p.Signal(syscall.SIGCONT)
}

// stands waits until every thread of a process that was sent SIGSTOP stands
// still: one that waits for the disk does so only after that.
func stands(pid int) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if len(threads) > 0 && !slices.ContainsFunc(threads, func(name string) bool { return !stopped(name) }) {
			return true
		}
	}
	return false
}

// stopped tells from a thread's stat file that it stands still, or is gone.
func stopped(stat string) bool {
	text, err := os.ReadFile(stat)
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ") // the name before it may hold anything
	return strings.HasPrefix(state, "T")
}

func (w *world) hurt(f faults.Fault, noted func()) {
	path := w.outboxPath()
	before, err := outbox.Read(path)
	if err != nil {
		return // it is hurt already, or not there yet
	}
	noted()
	image := readFile(w.t, path)
	w.copies++
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("before-%d", w.copies)), image, 0o600))
	gone := faults.RiskGone
	var after []outbox.Record
	switch f.Kind {
	case faults.OutboxRemoved:
		require.NoError(w.t, os.Remove(path))
		if f.Arg == faults.Between {
			gone = faults.RiskUnseen
		}
	case faults.OutboxCut:
		size := int64(len(image)) * int64(f.Cut) / 1000
		if f.Cut < 200 {
			size = 0
			if f.Arg == faults.Between {
				gone = faults.RiskUnseen // an empty file is a new one
			}
		}
		require.NoError(w.t, os.Truncate(path, size))
		after, _ = outbox.Read(path)
	case faults.OutboxDamaged:
		w.flip(path, image, f.Cut)
		after, _ = outbox.Read(path) // the error tells of the record
	}
	whole := map[faults.Key]bool{}
	for _, r := range after {
		whole[faults.KeyOf(r.Type, r.ID)] = r.State != outbox.Damaged
	}
	lost := 0
	for _, r := range before {
		k := faults.KeyOf(r.Type, r.ID)
		risk := faults.RiskWhole
		if !whole[k] {
			risk = gone
			lost++
		}
		w.note(faults.Record{What: faults.AtRisk, Type: k.Type, N: k.N, Detail: risk})
	}
	if f.Kind == faults.OutboxDamaged && lost > 1 {
		w.broken = append(w.broken, fmt.Sprintf("one damaged byte cost %d records", lost))
	}
}

// flip changes a byte within the body of a record.
func (w *world) flip(path string, image []byte, which int) {
	text := []byte("anna@example.com")
	n := bytes.Count(image, text)
	if n == 0 {
		return
	}
	at := -1
	for range 1 + which%n {
		at += 1 + bytes.Index(image[at+1:], text)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(w.t, err)
	_, err = file.WriteAt([]byte{'A'}, int64(at))
	require.NoError(w.t, err)
	require.NoError(w.t, file.Close())
}

// noteKept writes down what lies in the outbox and in files set aside.
func (w *world) noteKept() {
	names, err := filepath.Glob(w.outboxPath() + ".*")
	require.NoError(w.t, err)
	for _, name := range append(names, w.outboxPath()) {
		if strings.HasSuffix(name, ".lock") || strings.Contains(name, ".salvaged-") {
			continue
		}
		records, _ := outbox.Read(name) // what is whole, of a damaged file
		for _, r := range records {
			k := faults.KeyOf(r.Type, r.ID)
			w.note(faults.Record{What: faults.Kept, Type: k.Type, N: k.N, Detail: string(r.State)})
		}
	}
}

// moveServer has the replica take the master's place in good order, and leads
// new connections there. Those that are open stay at the old master.
func (w *world) moveServer() bool {
	ctx := context.Background()
	host, port, _ := strings.Cut(w.other.Addr(), ":")
	if w.other.PID() == 0 || w.admin.Do(ctx, "FAILOVER", "TO", host, port, "TIMEOUT", "2000").Err() != nil {
		return false
	}
	client := redis.NewClient(w.other.Options())
	defer client.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		info, err := client.Info(ctx, "replication").Result()
		if err == nil && strings.Contains(info, "role:master") {
			break
		}
		if mine, err := w.admin.Info(ctx, "replication").Result(); err == nil && strings.Contains(mine, "role:master") &&
			strings.Contains(mine, "master_failover_state:no-failover") || time.Now().After(deadline) {
			return false
		}
	}
	w.configure()
	w.server, w.other = w.other, w.server
	_ = w.admin.Close()
	w.admin = w.newAdmin()
	for name, link := range w.links {
		if name != faults.LinkHTTP {
			link.Retarget(w.server.Addr())
		}
	}
	return true
}

// misconfigure has the server's snapshots fail, so that it refuses to write.
func (w *world) misconfigure() bool {
	ctx := context.Background()
	dir, err := w.admin.ConfigGet(ctx, "dir").Result()
	if err != nil {
		return false
	}
	// A directory that is not empty stands where the snapshot is to be.
	w.blocked = filepath.Join(dir["dir"], "dump.rdb")
	require.NoError(w.t, os.RemoveAll(w.blocked)) // what a replica has received
	require.NoError(w.t, os.MkdirAll(filepath.Join(w.blocked, "x"), 0o700))
	if w.admin.ConfigSet(ctx, "save", "3600 1").Err() != nil {
		return false
	}
	return w.admin.BgSave(ctx).Err() == nil
}

// configure ends MISCONF; a server that sleeps is asked again.
func (w *world) configure() {
	if w.blocked != "" {
		_ = os.RemoveAll(w.blocked)
	}
	if w.server.PID() == 0 {
		return // it comes back without snapshots
	}
	if w.admin.ConfigSet(context.Background(), "save", "").Err() != nil {
		w.at(time.Now().Add(200*time.Millisecond), w.configure)
	}
}

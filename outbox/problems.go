package outbox

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

const asideSuffix = ".set-aside-"

// Problems lists what an operator should do something about, each with its
// cure: damaged files that lie beside this one, records that were set aside, a
// file that cannot be used any more. It quotes no message. A program shows them
// when it starts and in its health.
func (f *File) Problems() iter.Seq2[string, string] {
	return func(yield func(problem, cure string) bool) {
		for _, p := range f.problems() {
			if !yield(p[0], p[1]) {
				return
			}
		}
	}
}

func (f *File) problems() (all [][2]string) {
	if err := f.use("problems", func() error { return nil }); err != nil {
		all = append(all, [2]string{err.Error(), "restart, after looking at the file"})
	}
	if f.notice != "" {
		all = append(all, [2]string{f.notice, "look at its disk"})
	}
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		all = append(all, [2]string{"the outbox's directory cannot be read: " + err.Error(), "allow this user to read it"})
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), filepath.Base(f.path)+asideSuffix) {
			name := filepath.Join(filepath.Dir(f.path), entry.Name())
			all = append(all, [2]string{
				"a damaged outbox file was set aside, its messages were not sent: " + name,
				"fogis-pubsub outbox list --path " + name + ", then outbox salvage",
			})
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var refused, damaged int
	f.index.aside.each(f.index.aside.types(), func(e *entry) bool {
		if e.State == Damaged {
			damaged++
		} else {
			refused++
		}
		return false
	})
	if refused > 0 {
		all = append(all, [2]string{fmt.Sprintf("messages that were refused for good are set aside in the outbox: %d", refused),
			"fogis-pubsub outbox list, then requeue or discard"})
	}
	if damaged > 0 {
		all = append(all, [2]string{fmt.Sprintf("damaged records are set aside in the outbox: %d", damaged),
			"fogis-pubsub outbox list and show, then discard; look at the disk"})
	}
	return all
}

package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Salvaged says what [File.Salvage] did.
type Salvaged struct {
	Records int // put back
	Doubles int // not put back, because the outbox has their ID, or the file has it twice
	// Name is where the file lies now: ".salvaged-" stands for ".set-aside-".
	// It holds personal data still; delete it when nobody needs it any more.
	Name string
	// Damage is what could not be read; nil if all of it was.
	Damage error
}

// Salvage puts the whole records of a file that was set aside back: in their
// order and with their marks, in front of those that wait, since they are
// older. Those whose ID the outbox has are left out. It needs no room of
// Options.MaxBytes, and all of it happens or nothing.
func (f *File) Salvage(path string) (done Salvaged, err error) {
	err = f.use("salvage", func() error {
		path, err := resolve(path)
		if err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		if path == f.path {
			return errors.New("it is the outbox itself; name a file that was set aside")
		}
		if err := lockFile(file, path); err != nil {
			return err
		}
		defer release(file)
		found, err := readWhole(file)
		if err != nil && !isDamage(err) {
			return err
		}
		done.Damage = err
		var items []item
		known := map[name]bool{}
		for _, e := range found {
			switch {
			case e.State == Damaged:
				done.Damage = errors.Join(done.Damage, fmt.Errorf("message %s: %w", e.ID, ErrDamaged))
			case f.index.find(Waiting, e.Type, e.ID) != nil, f.index.find(SetAside, e.Type, e.ID) != nil,
				known[e.name()]: // damaged pages can show a record where it was before, too
				done.Doubles++
			default:
				known[e.name()] = true
				items = append(items, item{Record: e.Record})
			}
		}
		done.Records = len(items)
		if len(items) > 0 {
			if err := f.rewriteWith(items); err != nil {
				return err
			}
		}
		done.Name = path
		if at := strings.LastIndex(path, asideSuffix); at > len(filepath.Dir(path)) {
			done.Name = path[:at] + ".salvaged-" + path[at+len(asideSuffix):]
			return errors.Join(os.Rename(path, done.Name), syncDir(filepath.Dir(path)))
		}
		return nil
	})
	return done, err
}

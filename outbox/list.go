package outbox

import (
	"iter"
)

// All lists the records: those that wait, type by type and in order within
// each, then those set aside. Their bodies are the caller's. It is no snapshot:
// the file may be used and changed while it is listed, also from within the
// loop, and a record that is put or removed meanwhile may be listed or not.
// After an error the listing ends. Ranging again reads again.
func (f *File) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var entries []*entry
		err := f.use("all", func() error {
			for _, s := range []*shelf{&f.index.waiting, &f.index.aside} {
				for _, t := range s.types() {
					entries = append(entries, s.queues[t].entries...)
				}
			}
			return nil
		})
		for _, e := range entries {
			var r Record
			var gone bool
			err := f.use("all", func() error {
				now := f.index.find(e.State, e.Type, e.ID)
				if gone = now == nil || now.n != e.n; gone {
					return nil
				}
				body, err := f.body(now)
				if err != nil {
					gone = true
					return f.quarantineIf(now, err)
				}
				r = now.Record
				r.Body = body
				return nil
			})
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !gone && !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(Record{}, err)
		}
	}
}

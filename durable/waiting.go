package durable

// waiting is the entries that were delivered and are not settled. They are
// settled nearly in the order in which they came.
type waiting struct {
	list   []delivered // from the first one that is not settled
	newest string      // the greatest ID ever added
}

type delivered struct {
	id      string
	settled bool
}

func (w *waiting) add(entries []Entry) {
	for _, e := range entries {
		w.list = append(w.list, delivered{id: e.StreamID})
	}
	if last := entries[len(entries)-1].StreamID; newer(last, w.newest) {
		w.newest = last
	}
}

func (w *waiting) has(id string) bool {
	for i := range w.list {
		if w.list[i].id == id {
			return !w.list[i].settled
		}
	}
	return false
}

// settle takes entries out. floor is the last one before which all that were
// added are settled, if that is another one now.
func (w *waiting) settle(ids []string) (floor string) {
	at := 0
	for _, id := range ids {
		// Where the one before was, the next one mostly is the next.
		for i := range w.list {
			d := &w.list[(at+i)%len(w.list)]
			if d.id == id {
				d.settled = true
				at = (at + i + 1) % len(w.list)
				break
			}
		}
	}
	done := 0
	for done < len(w.list) && w.list[done].settled {
		done++
	}
	if done == 0 {
		return ""
	}
	floor = w.list[done-1].id
	w.list = append(w.list[:0], w.list[done:]...)
	return floor
}

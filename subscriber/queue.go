package subscriber

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue is what waits in a lane: bounded by number and bytes, though one
// message always fits. It also knows how many messages are being handled, so
// that one can pass it when there is nothing to wait for.
type queue struct {
	maxMessages int
	maxBytes    int64
	maxRunning  int
	// ready holds a token while there may be something to take.
	ready chan struct{}

	mu     sync.Mutex
	items  []*delivery // from head on
	head   int
	bytes  int64
	closed bool
	// running counts what next and pass have given out and leave has not got
	// back.
	running int
	space   chan struct{} // closed when a putter may try again; nil when none waits
}

func newQueue(maxMessages int, maxBytes int64, maxRunning int) *queue {
	return &queue{maxMessages: maxMessages, maxBytes: maxBytes, maxRunning: maxRunning, ready: make(chan struct{}, 1)}
}

// offer appends d if there is room. When there is none, the channel is closed
// as soon as there may be; it is nil when the queue is closed.
func (q *queue) offer(d *delivery) (wait <-chan struct{}, ok bool) {
	q.mu.Lock()
	count := len(q.items) - q.head
	if q.closed || count > 0 && (count >= q.maxMessages || q.bytes+int64(d.size) > q.maxBytes) {
		if !q.closed {
			if q.space == nil {
				q.space = make(chan struct{})
			}
			wait = q.space
		}
		q.mu.Unlock()
		return wait, false
	}
	q.append(d)
	q.mu.Unlock()
	q.signal()
	return nil, true
}

// put waits for room and tells how long it waited. When ctx ends first, d goes
// over the limit: it was read from the connection, so this is its only copy.
func (q *queue) put(ctx context.Context, d *delivery) (waited time.Duration) {
	wait, ok := q.offer(d)
	if ok {
		return 0
	}
	began := time.Now()
	for !ok && wait != nil {
		select {
		case <-wait:
			wait, ok = q.offer(d)
		case <-ctx.Done():
			q.mu.Lock()
			q.append(d)
			q.mu.Unlock()
			q.signal()
			ok = true
		}
	}
	return time.Since(began)
}

func (q *queue) append(d *delivery) {
	if q.head > 64 && q.head > len(q.items)/2 {
		kept := copy(q.items, q.items[q.head:])
		clear(q.items[kept:])
		q.items, q.head = q.items[:kept], 0
	}
	q.items = append(q.items, d)
	q.bytes += int64(d.size)
}

// pass lets a message be handled now if none waits and none is handled. The
// caller must then call leave.
func (q *queue) pass() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.running > 0 || q.head < len(q.items) {
		return false
	}
	q.running++
	return true
}

// leave counts out a message that next or pass has counted in.
func (q *queue) leave() {
	q.mu.Lock()
	q.running--
	// A closed queue too: a worker that waited for its turn must see the end,
	// also when the drain or a Dispatch has taken the last message away.
	wake := q.closed || q.head < len(q.items)
	q.mu.Unlock()
	if wake {
		q.signal()
	}
}

// take removes the oldest message, or returns nil; done is true when there
// will never be another one. A worker gets one only when it may handle it.
func (q *queue) take(worker bool) (d *delivery, done bool) {
	q.mu.Lock()
	if q.head == len(q.items) {
		done = q.closed
		q.mu.Unlock()
		return nil, done
	}
	if worker {
		if q.running >= q.maxRunning {
			q.mu.Unlock()
			return nil, false
		}
		q.running++
	}
	d = q.items[q.head]
	q.items[q.head] = nil
	q.head++
	space, left := q.removed(d)
	q.mu.Unlock()
	if space != nil {
		close(space)
	}
	if left > 0 {
		q.signal()
	}
	return d, false
}

// withdraw removes d, unless it has been taken.
func (q *queue) withdraw(d *delivery) bool {
	q.mu.Lock()
	at := slices.Index(q.items[q.head:], d)
	if at < 0 {
		q.mu.Unlock()
		return false
	}
	q.items = slices.Delete(q.items, q.head+at, q.head+at+1)
	space, _ := q.removed(d)
	q.mu.Unlock()
	if space != nil {
		close(space)
	}
	return true
}

// removed counts d out. The channel that it returns, if any, must be closed.
func (q *queue) removed(d *delivery) (space chan struct{}, left int) {
	q.bytes -= int64(d.size)
	left = len(q.items) - q.head
	if left == 0 {
		q.items, q.head = q.items[:0], 0
	}
	// A putter is woken for a quarter of the room, not for each message.
	if q.space != nil && left <= q.maxMessages*3/4 && q.bytes <= q.maxBytes*3/4 {
		space, q.space = q.space, nil
	}
	return space, left
}

// next waits for a message to handle, after which leave must be called. It
// returns nil when the queue is closed and empty.
func (q *queue) next() *delivery {
	for {
		d, done := q.take(true)
		if d != nil {
			return d
		}
		if done {
			q.signal() // for the other workers
			return nil
		}
		<-q.ready
	}
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// close refuses further messages; what waits can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	space := q.space
	q.space = nil
	q.mu.Unlock()
	if space != nil {
		close(space)
	}
	q.signal()
}

func (q *queue) depth() (messages int, bytes int64, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.bytes, q.running
}

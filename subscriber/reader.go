package subscriber

import (
	"sync/atomic"
	"time"
)

const (
	// watchPeriod is how often a running handler is looked at: it delays the
	// reading of the connection for at least one and at most two of them.
	watchPeriod = 25 * time.Millisecond
	// quietLine is how long a read must have waited for its bytes for the
	// session to have nothing else to read.
	quietLine = 100 * time.Microsecond
)

// reader is the role of reading a session's connection. One goroutine has it
// at a time. When a message arrives on a quiet line, its handler has always
// been quick of late and its lane is idle, the reader handles it itself. If
// that takes long after all, the reader is relieved: another goroutine becomes
// the reader and this one ends with the handler.
type reader struct {
	// turn is odd while the reader is in a handler. Who changes it from odd to
	// even decides: the reader, that it reads on; watch, that it does not.
	turn     atomic.Uint64
	watching atomic.Bool   // whether watch looks at turn
	armed    chan struct{} // wakes watch

	over chan struct{} // closed when the session has been read to its end
	err  error         // why it ended; set before
}

// read reads until the session ends or this goroutine is relieved.
func (s *session) read() {
	left := false // by the end of the session, or to another reader
	defer func() {
		if !left { // a callback ended the goroutine, by runtime.Goexit
			s.reader.err = errCallbackExit
			close(s.reader.over)
		}
	}()
	for {
		s.conn.waited = 0
		reply, err := s.pubsub.ReceiveTimeout(s.ctx, s.idle)
		if err == nil {
			err = s.ctx.Err() // what is read from now on belongs to the gap
		}
		m, err := s.take(reply, err)
		if err != nil {
			left = true
			s.reader.err = err
			close(s.reader.over)
			return
		}
		if m == nil {
			continue
		}
		l, d := s.receive(m)
		if d == nil {
			continue
		}
		left = true // a handler's end is seen to in handOver
		if !s.handOver(l, d) {
			return
		}
		left = false
	}
}

// handOver gives a message to its lane, or handles it here and now. It returns
// false when another goroutine has become the reader meanwhile.
func (s *session) handOver(l *lane, d *delivery) (reader bool) {
	if s.conn.waited < quietLine || l.quick.Load() < quickCalls || !l.queue.pass() {
		s.enqueue(l, d)
		return true
	}
	turn := s.reader.turn.Add(1)
	if s.ctx.Err() != nil && s.reader.turn.CompareAndSwap(turn, turn+1) {
		l.queue.leave() // watch may have looked for the last time
		s.enqueue(l, d)
		return true
	}
	if !s.reader.watching.Load() {
		s.reader.watching.Store(true)
		select {
		case s.reader.armed <- struct{}{}:
		default:
		}
	}
	handled := false
	defer func() {
		if !handled { // the handler ended the goroutine, by runtime.Goexit
			s.relieve(turn)
		}
	}()
	l.handle(d)
	handled = true
	return s.reader.turn.CompareAndSwap(turn, turn+1)
}

// watch relieves a reader that is in a handler for long, or when the session
// ends. It sleeps while no messages come.
func (s *session) watch() {
	tick := time.NewTimer(watchPeriod)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case <-s.reader.armed:
			tick.Reset(watchPeriod)
		case <-tick.C:
			turn := s.reader.turn.Load()
			if turn == last {
				if turn%2 == 1 {
					s.relieve(turn)
				}
				s.reader.watching.Store(false)
				if s.reader.turn.Load() == turn {
					continue
				}
				s.reader.watching.Store(true)
			}
			last = turn
			tick.Reset(watchPeriod)
		case <-s.ctx.Done():
			if turn := s.reader.turn.Load(); turn%2 == 1 {
				s.relieve(turn)
			}
			<-s.reader.over
			return
		case <-s.reader.over:
			return
		}
	}
}

// relieve makes another goroutine the reader, unless the handler has ended.
func (s *session) relieve(turn uint64) {
	if s.reader.turn.CompareAndSwap(turn, turn+1) {
		s.k.run.workers.Go(s.read)
	}
}

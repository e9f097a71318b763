package outbox

import "github.com/PitchConnect/fogispubsub/message"

// Head returns the oldest record of the queues.
func (f *File) Head(types ...message.Type) (m message.Outgoing, after string, http bool, err error) {
	q, err := f.First(func(message.Queued) bool { return true }, types...)
	return q.Outgoing, q.After, q.Posted, err
}

// Unposted returns the oldest record that the fallback did not take.
func (f *File) Unposted(types ...message.Type) (m message.Outgoing, err error) {
	q, err := f.First(func(q message.Queued) bool { return !q.Posted }, types...)
	return q.Outgoing, err
}

// MarkHTTP records that the fallback took a message.
func (f *File) MarkHTTP(t message.Type, id string) error {
	q := f.known(t, id)
	q.Posted = true
	return f.Mark(q)
}

// SetAfter records a place in the stream.
func (f *File) SetAfter(t message.Type, id, after string) error {
	q := f.known(t, id)
	q.After = after
	return f.Mark(q)
}

func (f *File) known(t message.Type, id string) message.Queued {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.index.find(Waiting, t, id); e != nil {
		return e.Queued
	}
	return message.Queued{Outgoing: message.Outgoing{ID: id, Type: t}}
}

package subscriber

import (
	"maps"
	"slices"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// State says how far a subscription has got. It follows from what Redis has
// answered, never from what was asked for.
type State string

// The states of a session, and of the Subscriber.
const (
	StateDisabled   State = "disabled"   // nothing is to be subscribed
	StateConnecting State = "connecting" // not subscribed yet in this Run
	StateSubscribed State = "subscribed" // every channel is confirmed
	StateDegraded   State = "degraded"   // was subscribed and is not now
	StateStopped    State = "stopped"    // Run does not run
)

// ProbeState says what is known from probes.
type ProbeState string

// The states of a session's probe.
const (
	ProbeOff     ProbeState = "off"     // by Options.ProbeInterval
	ProbePending ProbeState = "pending" // none was necessary yet
	ProbeOK      ProbeState = "ok"      // the last one came back
	ProbeFailed  ProbeState = "failed"  // the last one could not be published
	ProbeRefused ProbeState = "refused" // the Redis user lacks the permission
)

// Status is a snapshot of what the Subscriber knows about itself.
type Status struct {
	// State is degraded when any session is, else connecting when any is. With
	// Options.Durable it is degraded, too, while an entry's handler fails and
	// while a stream cannot be used.
	State State `json:"state"`
	// Durable tells whether streams are read, "" without Options.Durable and
	// while Run does not run.
	Durable DurableState `json:"durable,omitempty"`
	// Polling tells that Options.Poll's source is asked now and then.
	Polling bool `json:"polling,omitempty"`
	// Sessions are those of the running Run, the types' in alphabetical order.
	Sessions []SessionStatus `json:"sessions"`
	// Lanes are those of the running Run, in alphabetical order.
	Lanes []LaneStatus `json:"lanes"`
	// Streams are those of the running Run under Options.Durable, in
	// alphabetical order of their channels.
	Streams []StreamStatus `json:"streams,omitempty"`
}

// SessionStatus is the state of one session. Times are zero for what has not
// happened yet; durations are in nanoseconds.
type SessionStatus struct {
	// Name is the session's type, several joined by + when they share a
	// channel, or "channels" for the session of Options.Channels.
	Name      string       `json:"name"`
	Type      message.Type `json:"type,omitempty"`
	State     State        `json:"state"`
	Since     time.Time    `json:"since"`
	Channels  []string     `json:"channels"`
	Confirmed []string     `json:"confirmed"` // on the current connection
	Epoch     int          `json:"epoch"`     // sessions that were up in this Run
	Attempts  int          `json:"attempts"`  // connections tried since the last one that was up
	LastError string       `json:"last_error,omitempty"`

	LastMessage time.Time     `json:"last_message,omitzero"` // of the current connection
	LastPing    time.Time     `json:"last_ping,omitzero"`    // when the last answer came
	PingRTT     time.Duration `json:"ping_rtt_ns,omitempty"`
	PingError   string        `json:"ping_error,omitempty"` // what Redis answered to the last PING instead of PONG
	Probe       ProbeState    `json:"probe"`
	ProbeError  string        `json:"probe_error,omitempty"`
	LastProbe   time.Time     `json:"last_probe,omitzero"`
	ProbeRTT    time.Duration `json:"probe_rtt_ns,omitempty"`
}

// LaneStatus is what waits in a lane.
type LaneStatus struct {
	Type        message.Type `json:"type"`
	Queued      int          `json:"queued"`
	QueuedBytes int64        `json:"queued_bytes"`
	Handling    int          `json:"handling"` // messages in their handler or between two attempts
}

// Status returns a snapshot. It holds no password and nothing of a message.
func (s *Subscriber) Status() Status {
	st := Status{State: StateStopped, Sessions: []SessionStatus{}, Lanes: []LaneStatus{}}
	r := s.current()
	if r == nil {
		return st
	}
	st.State = StateSubscribed
	for _, k := range r.keepers {
		session := k.snapshot()
		st.Sessions = append(st.Sessions, session)
		if session.State != StateSubscribed && st.State != StateDegraded {
			st.State = session.State
		}
	}
	if len(r.keepers) == 0 {
		st.State = StateDisabled
	}
	st.Durable, st.Polling = r.durableState(), s.polling.Load()
	for _, channel := range slices.Sorted(maps.Keys(r.followers)) {
		if st.Durable == DurableUnsupported {
			break
		}
		stream, degraded := r.followers[channel].snapshot(time.Now())
		st.Streams = append(st.Streams, stream)
		if degraded && st.State == StateSubscribed {
			st.State = StateDegraded
		}
	}
	for _, t := range sortedTypes(r.lanes) {
		l := r.lanes[t]
		queued, bytes, running := l.queue.depth()
		st.Lanes = append(st.Lanes, LaneStatus{Type: t, Queued: queued, QueuedBytes: bytes, Handling: running})
	}
	return st
}

func (k *keeper) snapshot() SessionStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	status := k.status
	status.Name, status.Attempts = k.name, k.attempts
	status.Channels = slices.Clone(status.Channels)
	status.Confirmed = append([]string{}, status.Confirmed...)
	if k.session != nil && k.session.up {
		if last := k.session.last.Load(); last > 0 {
			status.LastMessage = k.session.began.Add(time.Duration(last))
		}
	}
	return status
}

package peers

import (
	"encoding/json"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// Order asks for one message.
type Order struct {
	Shape string `json:"shape"`
	// Channel is where to publish; "" is where the service sent this shape.
	Channel string            `json:"channel,omitempty"`
	Matches []json.RawMessage `json:"matches,omitempty"`
	Changes []json.RawMessage `json:"changes,omitempty"`
}

// Sent is a published message.
type Sent struct {
	Channel   string
	Receivers int
	Body      []byte
}

// Publisher is a program that publishes as the Python services do.
type Publisher struct{ p *process }

// StartPublisher runs the program on the Redis at url. It skips or fails the
// test without Python and redis-py, as [realredis.Require] says.
func StartPublisher(tb testing.TB, url string) *Publisher {
	tb.Helper()
	return &Publisher{start(tb, realredis.RequirePython(tb, "redis"), script(tb, "publisher.py"), url)}
}

// Shapes returns the names of all shapes.
func (p *Publisher) Shapes() []string {
	p.p.tb.Helper()
	var answer struct{ Shapes []string }
	p.p.send(Order{Shape: "?"})
	p.p.next(&answer)
	return answer.Shapes
}

// Publish returns when Redis has taken the message.
func (p *Publisher) Publish(o Order) Sent {
	p.p.tb.Helper()
	var sent Sent
	p.p.send(o)
	p.p.next(&sent)
	return sent
}

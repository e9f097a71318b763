package faults_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// reaper ends a publisher at a step that its plan gives. Steps are counted
// where the publisher meets what it was given: its Dialer, its Fallback, its
// Outbox.
type reaper struct {
	p    *process
	left atomic.Int64
}

func newReaper(p *process) *reaper {
	r := &reaper{p: p}
	r.left.Store(int64(p.Death.Step))
	return r
}

// step counts one step of a seam.
func (r *reaper) step(name string) {
	if r.p.Death.Step == 0 || !strings.HasPrefix(name, r.p.Death.Seam) {
		return
	}
	if r.left.Add(-1) == 0 {
		r.p.die(name)
	}
}

// dial is a Dialer whose connections are counted.
func (r *reaper) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.step("redis: before a dial")
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	r.step("redis: after a dial")
	if err != nil {
		return nil, err
	}
	return &countedConn{conn, r}, nil
}

type countedConn struct {
	net.Conn
	r *reaper
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.r.step("redis: before a write")
	n, err := c.Conn.Write(p)
	c.r.step("redis: after a write")
	return n, err
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.r.step("redis: after a read")
	return n, err
}

// countedOutbox is an outbox whose changes are counted.
type countedOutbox struct {
	*outbox.File
	r *reaper
	*ways
}

func (o *countedOutbox) Put(m message.Outgoing, after string) error {
	o.r.step("outbox: before a put")
	err := o.File.Put(m, after)
	o.r.step("outbox: after a put")
	return err
}

func (o *countedOutbox) Mark(m message.Queued) error {
	o.r.step("outbox: before a mark")
	err := o.File.Mark(m)
	o.r.step("outbox: after a mark")
	return err
}

func (o *countedOutbox) SetAside(t message.Type, id, why string) error {
	o.r.step("outbox: before a record is set aside")
	err := o.File.SetAside(t, id, why)
	o.r.step("outbox: after a record is set aside")
	return err
}

func (o *countedOutbox) Remove(t message.Type, id string) error {
	o.r.step("outbox: before a removal")
	err := o.File.Remove(t, id)
	if err == nil {
		o.left(t, id)
	}
	o.r.step("outbox: after a removal")
	return err
}

// countedFallback is a fallback whose calls are counted.
type countedFallback struct {
	*httpfallback.Client
	r *reaper
	*ways
}

func (f *countedFallback) Notify(ctx context.Context, m message.Outgoing) error {
	f.r.step("http: before a post")
	f.going(m)
	err := f.Client.Notify(ctx, m)
	f.went(m, err)
	f.r.step("http: after a post")
	return err
}

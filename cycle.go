package fogispubsub

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
)

// statusTimeout bounds the sending of one status. It does not depend on the
// cycle's context: a status is most wanted when that has ended.
const statusTimeout = 5 * time.Second

// ErrCycleEnded is returned by the methods of a [Cycle] that has sent its
// terminal status.
var ErrCycleEnded = errors.New("the processing cycle has ended")

// errNoOutcome is the failure that [Cycle.End] reports for a cycle that told
// no outcome.
var errNoOutcome = errors.New("the cycle ended without an outcome")

// CycleOptions describes a processing cycle. The zero value is ready to use.
type CycleOptions struct {
	// Number counts the service's cycles; zero leaves it out.
	Number int
	// Processor names the kind of cycle ("processor_type" on the wire); zero
	// leaves it out.
	Processor string
}

// Cycle is one run of a service that fetches matches and tells others. It
// sends the status "started" when it begins and exactly one terminal status,
// which a Python cycle that fails or finds nothing never does.
//
//	cycle := client.StartCycle(ctx, fogispubsub.CycleOptions{})
//	defer cycle.End()
//	matches, changes, err := fetch(ctx)
//	if err != nil {
//		return cycle.Fail(err)
//	}
//	if len(changes) == 0 {
//		return cycle.NoChange()
//	}
//	receipt, err := cycle.Complete(message.MatchUpdates{Matches: matches, Changes: changes})
//
// A status that could not be sent is logged and does not fail the cycle: the
// errors of a Cycle's methods speak of the match update. A Cycle is not for
// several goroutines at once.
type Cycle struct {
	client  *Client
	ctx     context.Context
	options CycleOptions
	began   time.Time
	started chan struct{} // closed when the status "started" was sent, or given up
	ended   bool
}

// StartCycle begins a processing cycle. It does not wait until its status
// "started" is sent, so a Redis that hangs does not delay the work or the match
// update; the terminal status follows it. ctx bounds the match update. Each status
// has 5 seconds, also after ctx ended. Every cycle needs a terminal status: defer
// [Cycle.End].
func (c *Client) StartCycle(ctx context.Context, opts CycleOptions) *Cycle {
	cycle := &Cycle{client: c, ctx: ctx, options: opts, began: time.Now(), started: make(chan struct{})}
	go func() {
		defer close(cycle.started)
		cycle.sendStatus(message.StatusStarted, map[string]any{})
	}()
	return cycle
}

// Complete publishes the snapshot and then sends the status "completed", which
// says whether a route took the snapshot. The receipt and the error are those of
// [Client.Publish].
func (c *Cycle) Complete(u message.MatchUpdates) (publisher.Receipt, error) {
	if c.ended {
		return publisher.Receipt{}, ErrCycleEnded
	}
	c.ended = true
	receipt, err := c.client.Publish(c.ctx, u)
	c.finish(message.StatusCompleted, map[string]any{
		"matches_processed":        len(u.Matches),
		"changes_detected":         u.HasChanges == nil || *u.HasChanges, // as it is sent
		"match_publishing_success": err == nil && receipt.Route != publisher.RouteNone,
		"redis_publishing": map[string]any{"match_updates": map[string]any{
			"success":     err == nil && receipt.Route.AtRedis(),
			"subscribers": receipt.Receivers,
			"message_id":  receipt.ID,
		}},
	})
	return receipt, err
}

// NoChange sends the status "completed" for a cycle that found nothing new.
// Its error is [ErrCycleEnded] or nil.
func (c *Cycle) NoChange() error {
	if c.ended {
		return ErrCycleEnded
	}
	c.ended = true
	c.finish(message.StatusCompleted, map[string]any{"changes_detected": false})
	return nil
}

// Fail sends the status "failed" and a system alert "processing_error", both
// with the text of err, and returns err. Do not put personal data into err. A
// cycle that has ended sends nothing more, and Fail still returns err.
func (c *Cycle) Fail(err error) error {
	switch {
	case c.ended && err == nil:
		return ErrCycleEnded
	case c.ended:
		return err
	case err == nil:
		err = errNoOutcome
	}
	c.ended = true
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	details := map[string]any{"error_type": errorType(err), "error_message": text}
	c.finish(message.StatusFailed, details)
	c.send(message.SystemAlert{
		AlertType: "processing_error",
		Severity:  "error",
		Message:   "Match processing failed: " + text,
		Details:   rawDetails(details),
	})
	return err
}

// End sends the status "failed" if no other terminal status was sent. It is
// meant for defer and may be called any number of times.
func (c *Cycle) End() {
	if !c.ended {
		_ = c.Fail(errNoOutcome)
	}
}

// finish sends a terminal status, behind "started".
func (c *Cycle) finish(status string, details map[string]any) {
	ended := time.Now()
	<-c.started
	details["start_time"] = c.began.UTC().Format(time.RFC3339Nano)
	details["end_time"] = ended.UTC().Format(time.RFC3339Nano)
	details["processing_duration_ms"] = ended.Sub(c.began).Milliseconds()
	c.sendStatus(status, details)
}

func (c *Cycle) sendStatus(status string, details map[string]any) {
	if c.options.Number != 0 {
		details["cycle_number"] = c.options.Number
	}
	if c.options.Processor != "" {
		details["processor_type"] = c.options.Processor
	}
	c.send(message.ProcessingStatus{Status: status, Details: rawDetails(details)})
}

func (c *Cycle) send(p message.Payload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), statusTimeout)
	defer cancel()
	if _, err := c.client.Publish(ctx, p); err != nil {
		c.client.logger.WarnContext(ctx, "a processing cycle could not send its status",
			slog.String("type", string(p.MessageType())), slog.Any("err", err))
	}
}

// rawDetails marshals numbers, booleans, strings and maps of them, which never
// fails.
func rawDetails(details map[string]any) map[string]json.RawMessage {
	raw := make(map[string]json.RawMessage, len(details))
	for key, value := range details {
		raw[key], _ = json.Marshal(value)
	}
	return raw
}

// errorType names the type of the innermost error, as Python's error_type
// names the exception's class.
func errorType(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return reflect.TypeOf(err).String()
		}
		err = inner
	}
}

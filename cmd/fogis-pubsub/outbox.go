package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// outboxLine is a record of an outbox without its message.
type outboxLine struct {
	MessageID string       `json:"message_id"`
	Type      message.Type `json:"type"`
	PutAt     time.Time    `json:"put_at"`
	State     outbox.State `json:"state"`
	Posted    bool         `json:"posted"`           // the fallback took it
	Reason    string       `json:"reason,omitempty"` // why it was refused or is damaged
	Bytes     int          `json:"bytes"`
	Message   *line        `json:"message,omitempty"` // of show
}

var outboxVerbs = []string{"list", "show", "drain", "requeue", "discard", "salvage"}

// outbox works on the file of FOGIS_OUTBOX_PATH.
func (c *command) outbox(ctx context.Context, args []string) error {
	if wantsHelp(args) {
		fmt.Fprint(c.stderr, usage)
		return nil
	}
	if len(args) == 0 || !slices.Contains(outboxVerbs, args[0]) {
		return fmt.Errorf("%w: outbox what? list, show, drain, requeue, discard or salvage", errUsage)
	}
	verb := args[0]
	f := c.sender("outbox " + verb)
	path := f.String("path", "", "`file` of the outbox; overrides FOGIS_OUTBOX_PATH")
	aside := f.Bool("aside", false, "with list: only the records that were set aside")
	all := f.Bool("all", false, "with requeue and discard: all records that were set aside")
	timeout := f.Duration("timeout", 30*time.Second, "with drain: end after this `time`")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &exitError{code: exitUsage} // package flag has said why
	}
	opts := c.options(f, map[string]string{outboxVariable: *path})
	name := opts.Getenv(outboxVariable)
	if name == "" {
		return fmt.Errorf("%w: which outbox? set FOGIS_OUTBOX_PATH or give --path", errUsage)
	}
	ids := f.Args()
	switch {
	case (verb == "list" || verb == "drain") && len(ids) > 0:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, ids[0])
	case verb == "show" && len(ids) == 0:
		return fmt.Errorf("%w: show what? give message IDs; outbox list has them", errUsage)
	case (verb == "requeue" || verb == "discard") && (len(ids) == 0) != *all:
		return fmt.Errorf("%w: %s what? give message IDs or --all", errUsage, verb)
	case verb == "salvage" && len(ids) != 1:
		return fmt.Errorf("%w: salvage what? give one file that was set aside", errUsage)
	}
	if verb == "list" || verb == "show" {
		return c.outboxRead(name, ids, *aside)
	}
	if verb != "salvage" { // a mistyped path is not made
		if _, err := os.Stat(name); err != nil {
			return err
		}
	}
	file, err := outbox.Open(name, outbox.Options{Logger: opts.Logger})
	if err != nil {
		return err
	}
	for problem, cure := range file.Problems() {
		fmt.Fprintf(c.stderr, "%s: %s\n", problem, cure)
	}
	switch verb {
	case "drain":
		err = c.drain(ctx, opts, file, *timeout)
	case "salvage":
		err = c.salvage(file, ids[0])
	default:
		err = c.asideEach(file, verb, ids)
	}
	return errors.Join(err, file.Close())
}

// outboxRead lists records, or shows those with the IDs. It changes nothing.
func (c *command) outboxRead(name string, ids []string, aside bool) error {
	for _, file := range filesAside(name) {
		fmt.Fprintf(c.stderr, asideProblem+": "+asideCure+"\n", file, file)
	}
	records, err := outbox.Read(name)
	shown := map[string]bool{}
	for _, r := range records {
		if len(ids) > 0 && !slices.Contains(ids, r.ID) || aside && r.State == outbox.Waiting {
			continue
		}
		l := outboxLine{MessageID: r.ID, Type: r.Type, PutAt: r.PutAt, State: r.State, Posted: r.Posted, Reason: r.Refused, Bytes: len(r.Body)}
		if len(ids) > 0 {
			shown[r.ID] = true
			e, err := message.Decode(r.Body)
			if err == nil {
				l.Message, err = decodedLine(e)
			}
			if err != nil {
				fmt.Fprintf(c.stderr, "%s cannot be read as a message: %v\n", r.ID, err)
			}
		}
		if err := printLine(c.stdout, l); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if !shown[id] {
			err = errors.Join(err, fmt.Errorf("no message %q in the outbox; outbox list has the IDs", id))
		}
	}
	return err
}

// asideEach requeues or discards records that were set aside.
func (c *command) asideEach(file *outbox.File, verb string, ids []string) error {
	var failed error
	left := map[string]bool{}
	for _, id := range ids {
		left[id] = true
	}
	var done, damaged int
	for r, err := range file.All() {
		if err != nil {
			return err
		}
		if r.State == outbox.Waiting || len(ids) > 0 && !left[r.ID] {
			continue
		}
		delete(left, r.ID)
		if verb == "discard" {
			err = file.Discard(r.Type, r.ID)
		} else if err = file.Requeue(r.Type, r.ID); errors.Is(err, outbox.ErrDamaged) && len(ids) == 0 {
			damaged++
			continue
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		done++
	}
	for id := range left {
		failed = errors.Join(failed, fmt.Errorf("message %q is not set aside, it may wait or not be there: outbox list --aside has the IDs", id))
	}
	if damaged > 0 {
		fmt.Fprintf(c.stderr, "%d damaged records stay set aside: look at them with outbox show, then discard them\n", damaged)
	}
	return errors.Join(failed, printLine(c.stdout, map[string]any{map[string]string{"requeue": "requeued", "discard": "discarded"}[verb]: done}))
}

// salvage puts back what is whole in a file that was set aside.
func (c *command) salvage(file *outbox.File, name string) error {
	done, err := file.Salvage(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "the file is now %s; it holds personal data, delete it when nobody needs it\n", done.Name)
	if err := printLine(c.stdout, map[string]any{"salvaged": done.Records, "doubles": done.Doubles, "file": done.Name}); err != nil {
		return err
	}
	if done.Damage != nil {
		return fmt.Errorf("a part of the file could not be read: %w", done.Damage)
	}
	return nil
}

// drain runs a publisher until nothing waits.
func (c *command) drain(ctx context.Context, opts fogispubsub.Options, file *outbox.File, timeout time.Duration) (err error) {
	opts.Publisher.Outbox = file
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	run, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	before := file.Stats().Aside
	ended := make(chan error, 1)
	go func() { ended <- client.Run(run) }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	told := time.Now()
	for client.Stats().Publisher.Waiting > 0 && run.Err() == nil {
		select {
		case <-look.C:
			if time.Since(told) > 5*time.Second {
				told = time.Now()
				fmt.Fprintf(c.stderr, "%d messages wait\n", client.Stats().Publisher.Waiting)
			}
		case <-run.Done():
		}
	}
	cancel()
	err = <-ended
	left := file.Stats() // of types without a route too
	printing := printLine(c.stdout, map[string]any{"drained": client.Stats().Publisher.Drained, "left": left.Len, "set_aside": left.Aside - before})
	if err = errors.Join(err, printing); err != nil {
		return err
	}
	if left.Aside > 0 {
		fmt.Fprintf(c.stderr, "%d messages are set aside: outbox list --aside says why\n", left.Aside)
	}
	if left.Len > 0 {
		var types []string
		for _, t := range file.Types() {
			types = append(types, string(t))
		}
		return fmt.Errorf("%d messages are left in the outbox (%s): no route took them; outbox list shows them, --verbose what each route answers", left.Len, strings.Join(types, ", "))
	}
	return nil
}

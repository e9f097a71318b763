package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

// purgeLine says what was deleted in one place, or under --dry-run would be. It
// holds nothing of a message.
type purgeLine struct {
	Place   string       `json:"place"` // stream, dead_letters or outbox
	Type    message.Type `json:"type,omitempty"`
	Channel string       `json:"channel,omitempty"`
	File    string       `json:"file,omitempty"`
	Purged  int64        `json:"purged"`
	// Unhandled is how many of the messages were not handled by a group, or not
	// sent from the outbox. Without --force their place is not purged.
	Unhandled int64 `json:"unhandled"`
	DryRun    bool  `json:"dry_run"`
}

// errUnsent is wrapped when a purge would delete what was never sent.
var errUnsent = errors.New("the outbox has not sent what is to be purged")

// purge deletes the messages of a match, or those before a time, wherever they
// rest. What fails in one place does not keep the others from being purged.
func (c *command) purge(ctx context.Context, args []string) (err error) {
	f := c.flags("purge", slog.LevelError)
	match := f.String("match", "", "the `ID` of a match: every message that holds it goes, whole")
	before := f.String("before", "", "a `time` as 2031-05-06T17:00:00Z, or how long ago, as 720h: older messages go")
	dryRun := f.Bool("dry-run", false, "count only")
	force := f.Bool("force", false, "also what a group has not handled, which it reports as a gap, and what the outbox has not sent")
	path := f.String("path", "", "`file` of the outbox; overrides FOGIS_OUTBOX_PATH")
	if err := f.parse(args); err != nil {
		return err
	}
	if (*match == "") == (*before == "") {
		return fmt.Errorf("%w: purge what? give --match or --before", errUsage)
	}
	choice := durable.PurgeOptions{Match: *match, DryRun: *dryRun, Force: *force}
	if *before != "" {
		if choice.Before, err = moment(*before, time.Now()); err != nil {
			return fmt.Errorf("%w: --before %w", errUsage, err)
		}
	}
	f.outbox = true
	opts := c.options(f, map[string]string{"REDIS_DURABLE": "false", outboxVariable: *path})
	name := opts.Getenv(outboxVariable)
	f.outbox = false // the client must not open it: a service may have it
	cfg, err := readSettings(opts.Getenv)
	if err != nil {
		return err
	}
	client, err := fogispubsub.New(cfg, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for _, t := range message.Types() {
		err = errors.Join(err, c.purgeChannel(ctx, client, t, cfg.Channel(t), choice))
	}
	if name != "" {
		err = errors.Join(err, c.purgeOutbox(name, *path != "", opts.Logger, choice))
	}
	return err
}

// purgeChannel purges the stream and the dead letters of a channel.
func (c *command) purgeChannel(ctx context.Context, client *fogispubsub.Client, t message.Type, channel string, choice durable.PurgeOptions) error {
	found, err := durable.Purge(ctx, client.Redis(), channel, choice)
	if err != nil && !errors.Is(err, durable.ErrUnsettled) && found == (durable.Purged{}) {
		return err // nothing is known of the place
	}
	l := purgeLine{Place: "stream", Type: t, Channel: channel, Purged: found.Entries, Unhandled: found.Unsettled, DryRun: choice.DryRun}
	letters := purgeLine{Place: "dead_letters", Type: t, Channel: channel, Purged: found.Letters, DryRun: choice.DryRun}
	return errors.Join(err, printLine(c.stdout, l), printLine(c.stdout, letters))
}

// purgeOutbox purges an outbox. A dry run only reads it, while a service has it.
func (c *command) purgeOutbox(name string, named bool, logger *slog.Logger, choice durable.PurgeOptions) error {
	l := purgeLine{Place: "outbox", File: name, DryRun: choice.DryRun}
	opened, err := l.purgeFile(name, logger, choice)
	if errors.Is(err, fs.ErrNotExist) && !named { // nothing was ever put there
		opened, err = true, nil
	}
	beside := filesBeside(name) // after Open, which renames a damaged file
	for _, file := range beside {
		fmt.Fprintf(c.stderr, "%s is not purged, and holds messages too: delete it, or put it back with outbox salvage and purge again\n", file)
	}
	if len(beside) > 0 {
		err = errors.Join(err, fmt.Errorf("%d files beside the outbox are not purged", len(beside)))
	}
	if opened {
		err = errors.Join(err, printLine(c.stdout, l))
	}
	return err
}

// purgeFile purges an outbox file, or counts what would go.
func (l *purgeLine) purgeFile(name string, logger *slog.Logger, choice durable.PurgeOptions) (opened bool, err error) {
	if choice.DryRun {
		records, err := outbox.Read(name)
		for _, r := range records {
			l.count(r, choice)
		}
		return len(records) > 0 || err == nil, err
	}
	if _, err := os.Stat(name); err != nil { // Open would make it
		return false, err
	}
	file, err := outbox.Open(name, outbox.Options{Logger: logger})
	if err != nil {
		err = fmt.Errorf("the outbox is not purged: %w", err)
		if errors.Is(err, outbox.ErrInUse) {
			err = fmt.Errorf("%w; purge again when that process has stopped", err)
		}
		return false, err
	}
	return true, errors.Join(l.purge(file, choice), file.Close())
}

// count counts a record that is chosen, and tells whether it is.
func (l *purgeLine) count(r outbox.Record, choice durable.PurgeOptions) bool {
	if !choice.Chooses(r.Body, r.PutAt) {
		return false
	}
	l.Purged++
	if r.State == outbox.Waiting {
		l.Unhandled++
	}
	return true
}

// purge deletes what is chosen of a file. If one of the messages still waits it
// deletes none, unless forced.
func (l *purgeLine) purge(file *outbox.File, choice durable.PurgeOptions) error {
	var chosen []outbox.Record
	for r, err := range file.All() {
		if err != nil {
			return err
		}
		if l.count(r, choice) {
			r.Body = nil
			chosen = append(chosen, r)
		}
	}
	l.Purged = 0
	if l.Unhandled > 0 && !choice.Force {
		return fmt.Errorf("%w: %d messages; send them with outbox drain, or force it", errUnsent, l.Unhandled)
	}
	for _, r := range chosen {
		remove := file.Discard
		if r.State == outbox.Waiting {
			remove = file.Remove
		}
		if err := remove(r.Type, r.ID); err != nil {
			return err
		}
		l.Purged++
	}
	if len(chosen) == 0 {
		return nil
	}
	return file.Compact() // their bytes would stay in the file
}

// filesBeside are the files next to an outbox that were made of it and hold
// messages, too.
func filesBeside(path string) (found []string) {
	found = filesAside(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return found
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), filepath.Base(path)+".salvaged-") {
			found = append(found, filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
	return found
}

// moment reads a time, or how long ago it was.
func moment(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("wants a time as 24h or 2031-05-06T17:00:00Z")
	}
	return at, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/health"
)

// minWatch keeps a watch from being a load.
const minWatch = time.Second

func (c *command) check(ctx context.Context, args []string) (err error) {
	f := c.flags("check", slog.LevelError)
	fallback := f.String("fallback", "", "`URL` of the HTTP fallback; overrides FOGIS_FALLBACK_URL")
	watch := f.Duration("watch", 0, "check again after each `duration`, until a signal; exit with the last state")
	quiet := f.Bool("json", false, "print the JSON only, nothing for people")
	if err := f.parse(args); err != nil {
		return err
	}
	if *watch < 0 || *watch > 0 && *watch < minWatch {
		return fmt.Errorf("%w: --watch must be %v or more", errUsage, minWatch)
	}
	// A check answers at once: the server's state now, not after retries.
	opts := c.options(f, map[string]string{"FOGIS_FALLBACK_URL": *fallback})
	opts.Redis = func(o *redis.Options) { o.DialerRetries = 1 }
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	overall := health.Unknown
	for {
		report := client.Health(ctx)
		if ctx.Err() != nil && overall != health.Unknown {
			break // the signal cut this one short
		}
		if path := c.getenv(outboxVariable); path != "" {
			report = health.NewReport(report.Timestamp, append(report.Checks, outboxHealth(path, report.Timestamp))...)
		}
		overall = report.Overall
		if err := printLine(c.stdout, report); err != nil {
			return err
		}
		if !*quiet {
			c.explain(report)
		}
		if *watch == 0 {
			break
		}
		timer := time.NewTimer(*watch)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		break
	}
	switch overall {
	case health.Healthy:
		return nil
	case health.Degraded:
		return &exitError{code: exitFailed}
	case health.Unhealthy:
		return &exitError{code: exitUnhealthy}
	default:
		return &exitError{code: exitUnknown}
	}
}

// explain prints the report for people: the summary, then what was found.
func (c *command) explain(r health.Report) {
	fmt.Fprintln(c.stderr, r.Summary)
	for _, check := range r.Checks {
		for _, finding := range check.Findings {
			mark := string(finding.Status)
			if finding.Status == health.Healthy {
				mark = "note"
			}
			fmt.Fprintf(c.stderr, "  %s (%s): %s\n", check.Name, mark, finding.Reason)
			if finding.Cure != "" {
				fmt.Fprintf(c.stderr, "    → %s\n", finding.Cure)
			}
		}
	}
}

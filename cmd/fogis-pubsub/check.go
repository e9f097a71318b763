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

// The lines that the deployment's validation prints.
const (
	lineHealthy  = "✅ Healthy: Redis pub/sub available"
	lineDegraded = "⚠️ Degraded: Redis unavailable - HTTP fallback active"
)

// report is the health report. Its keys are those of the FOGIS health monitor.
type report struct {
	Overall   health.State           `json:"overall_status"`
	Timestamp time.Time              `json:"timestamp"`
	Checks    map[string]reportCheck `json:"health_checks"`
	Summary   string                 `json:"summary"`
}

type reportCheck struct {
	Status         health.State `json:"status"`
	ResponseTimeMS float64      `json:"response_time_ms"`
	Error          string       `json:"error,omitempty"`
}

func (c *command) check(ctx context.Context, args []string) (err error) {
	f := c.flags("check", slog.LevelError)
	fallback := f.String("fallback", "", "`URL` of the HTTP fallback; overrides FOGIS_FALLBACK_URL")
	if err := f.parse(args); err != nil {
		return err
	}
	// A check answers at once: the server's state now, not after retries.
	opts := c.options(f, map[string]string{"FOGIS_FALLBACK_URL": *fallback})
	opts.Redis = func(o *redis.Options) { o.DialerRetries = 1 }
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	connection := health.Connection(ctx, client.Redis())
	roundTrip := health.Check{Status: health.Unknown, Err: errors.New("not tried: there is no connection")}
	if connection.Status == health.Healthy {
		roundTrip = health.RoundTrip(ctx, client.Redis())
	}
	r := report{
		Timestamp: time.Now().UTC(),
		Checks: map[string]reportCheck{
			"connectivity": newReportCheck(connection),
			"pubsub":       newReportCheck(roundTrip),
		},
	}
	reachable, configured := checkFallback(ctx, client)
	if configured {
		r.Checks["fallback"] = newReportCheck(reachable)
	}
	redisWorks := connection.Status == health.Healthy && roundTrip.Status == health.Healthy
	switch fallbackWorks := reachable.Status == health.Healthy; {
	case redisWorks && (fallbackWorks || !configured):
		r.Overall, r.Summary = health.Healthy, lineHealthy
	case redisWorks:
		r.Overall, r.Summary = health.Degraded, "⚠️ Degraded: Redis pub/sub available - HTTP fallback unreachable"
	case fallbackWorks:
		r.Overall, r.Summary = health.Degraded, lineDegraded
	default:
		r.Overall, r.Summary = health.Unhealthy, "❌ Unhealthy: Redis unavailable and no working HTTP fallback"
	}
	if err := printLine(c.stdout, r); err != nil {
		return err
	}
	fmt.Fprintln(c.stderr, r.Summary)
	for _, name := range []string{"connectivity", "pubsub", "fallback"} {
		if text := r.Checks[name].Error; text != "" {
			fmt.Fprintf(c.stderr, "  %s: %s\n", name, text)
		}
	}
	switch r.Overall {
	case health.Healthy:
		return nil
	case health.Degraded:
		return &exitError{code: exitFailed}
	default:
		return &exitError{code: exitUnhealthy}
	}
}

// checkFallback asks whether the fallback's server answers at all.
func checkFallback(ctx context.Context, client *fogispubsub.Client) (result health.Check, configured bool) {
	fallback := client.Fallback()
	if fallback == nil {
		return health.Check{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, health.DefaultTimeout)
	defer cancel()
	began := time.Now()
	if err := fallback.Check(ctx); err != nil {
		return health.Check{Status: health.Unhealthy, Err: err}, true
	}
	return health.Check{Status: health.Healthy, Elapsed: time.Since(began)}, true
}

func newReportCheck(c health.Check) reportCheck {
	r := reportCheck{Status: c.Status, ResponseTimeMS: float64(c.Elapsed.Microseconds()) / 1000}
	if c.Err != nil {
		r.Error = c.Err.Error()
	}
	return r
}

// Command fogis-pubsub publishes, subscribes and checks FOGIS messages from a
// shell.
//
// It writes one JSON object per line to standard output and speaks to people
// on standard error. It ends with 0 when done or healthy, 1 when it failed or
// something is degraded, 2 for wrong usage or an unhealthy system, 3 when the
// state is unknown. Settings come from the environment; --redis overrides
// REDIS_URL.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable() // behind Sentinel go-redis prints by a logger of its own what our errors say
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	c := command{
		getenv: os.Getenv,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
	}
	code := c.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

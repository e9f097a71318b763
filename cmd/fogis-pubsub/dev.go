package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/PitchConnect/fogispubsub/devserver"
)

func (c *command) dev(ctx context.Context, args []string) error {
	f := c.flags("dev", slog.LevelWarn)
	addr := f.String("addr", "127.0.0.1:6379", "`host:port` to listen on")
	if err := f.parse(args); err != nil {
		return err
	}
	server, err := devserver.Start(devserver.Options{Addr: *addr, Logger: c.options(f, nil).Logger})
	if err != nil {
		return err
	}
	defer server.Close()
	if err := printLine(c.stdout, map[string]string{"redis_url": server.URL()}); err != nil {
		return err
	}
	fmt.Fprintln(c.stderr, "an embedded Redis for development; it keeps nothing and ends with this command")
	<-ctx.Done()
	return nil
}
